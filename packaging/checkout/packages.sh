#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs packages of the distribution that lack, and starts no service of theirs: packages.sh NAME…
#
# As root through apt or dnf. Without root it says what to install and ends well: the tests that need it
# are skipped then (and fail where CI=true).
set -eu

is_installed() {
    if command -v dpkg-query >/dev/null; then
        dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
    else
        rpm --quiet --query --whatprovides "$1"
    fi
}

lacking=
for name in "$@"; do
    is_installed "$name" || lacking="$lacking $name"
done
[ -n "$lacking" ] || exit 0

if command -v apt-get >/dev/null; then
    manager="apt-get install --yes --no-install-recommends"
elif command -v dnf >/dev/null; then
    manager="dnf install --assumeyes --setopt=install_weak_deps=False"
else
    echo "overlaywatch: not installed:$lacking; this system has neither apt nor dnf: what needs them is skipped" >&2
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "overlaywatch: not installed:$lacking; what needs them is skipped; to have it: sudo $manager$lacking" >&2
    exit 0
fi

# Debian starts what it installs unless policy-rc.d forbids it (invoke-rc.d(8)); 101 is "forbidden".
policy=/usr/sbin/policy-rc.d
if command -v apt-get >/dev/null; then
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet --quiet
fi
echo "overlaywatch: installing$lacking"
# shellcheck disable=SC2086  # words are wanted
$manager $lacking >/tmp/overlaywatch-packages.log 2>&1 || {
    tail -n 20 /tmp/overlaywatch-packages.log >&2
    echo "overlaywatch: cannot install$lacking: see /tmp/overlaywatch-packages.log" >&2
    exit 1
}

# Nor shall the next boot of this machine start a monitoring server that only a test wanted.
for name in $lacking; do
    case $name in
    *prometheus*)
        if command -v systemctl >/dev/null; then
            systemctl --quiet disable "$name.service" 2>/dev/null || true
        fi
        ;;
    esac
done
