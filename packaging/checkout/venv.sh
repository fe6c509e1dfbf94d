#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the checkout's own Python environment: venv.sh FOLDER
#
# $PYTHON, or the newest of python3.13, python3.12, python3.11, python3 that is 3.11 or later and runs.
# Debian ships venv apart from Python: as root it is installed, else the message says what to install.
set -eu

fail() {
    echo "overlaywatch: $*" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "cannot make an environment: no Python 3.11 or later found; install python3, or name one: make PYTHON=/path/to/python3"
}

has_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

install_venv() {
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        "$(dirname "$0")/packages.sh" "$version-venv"
    elif [ "$(id -u)" = 0 ] && command -v dnf >/dev/null; then
        "$(dirname "$0")/packages.sh" python3-libs python3-pip
    fi
    has_venv || fail "cannot make an environment: $python has no venv; as root: apt-get install $version-venv (Debian), dnf install python3-libs (Fedora); then run make again"
}

folder=$1
python=$(find_python)
if has_venv; then
    "$python" -m venv --clear "$folder"
elif command -v virtualenv >/dev/null; then
    virtualenv --quiet --python "$python" --clear "$folder"
else
    install_venv
    "$python" -m venv --clear "$folder"
fi
echo "overlaywatch: environment $folder of $("$python" --version)"
