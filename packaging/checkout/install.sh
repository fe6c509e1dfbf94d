#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the checkout without pip and without a network, as image builders want it:
# install.sh DESTDIR PREFIX. $PYTHON is the interpreter that the installed program runs with; it needs
# psutil, prometheus-client, pyroute2 and sdnotify (Debian: python3-psutil, python3-prometheus-client,
# python3-pyroute2, python3-sdnotify).
set -eu

root=$1$2
python=${PYTHON:-/usr/bin/python3}
cd "$(dirname "$0")/../.."

install -d "$root/bin" "$root/lib/overlaywatch" "$root/lib/systemd/system" "$root/lib/systemd/system-preset" \
    "$root/lib/sysusers.d" "$root/lib/overlaywatch/overlaywatch.d"

# The package, without caches, compiled for this interpreter: a live root has no room to do that later.
find overlaywatch -type f \( -name '*.py' -o -name 'py.typed' \) | while read -r file; do
    install -D -m 644 "$file" "$root/lib/overlaywatch/$file"
done
"$python" -m compileall -q -s "$1" "$root/lib/overlaywatch/overlaywatch"

# The program finds the package beside itself, wherever both were put. -I: nothing of the caller's
# environment or working directory is imported by a daemon that runs as root.
cat >"$root/bin/overlaywatch" <<END
#!$python -I
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib/overlaywatch"))

from overlaywatch.cli import main

sys.exit(main())
END
chmod 755 "$root/bin/overlaywatch"

install -m 644 systemd/overlaywatch.service "$root/lib/systemd/system/overlaywatch.service"
install -m 644 systemd/90-overlaywatch.preset "$root/lib/systemd/system-preset/90-overlaywatch.preset"
install -m 644 systemd/overlaywatch.sysusers "$root/lib/sysusers.d/overlaywatch.conf"
for page in docs/man/*.[1-8]; do
    [ -e "$page" ] || continue
    install -D -m 644 "$page" "$root/share/man/man${page##*.}/${page##*/}"
done
