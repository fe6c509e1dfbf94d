#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Called by guest.py, as process 1's child, before systemd starts: makes of the host's own installation
# a small system that has journald, dbus and logind, and ends in the command of the guest.
# It must not know what the guest tests. Usage: systemd.sh PYTHON GUEST.PY

python=$1 guest=$2

# What the host's administrator has enabled, mounted, and kept in a journal is no concern of the guest.
rm -rf /etc/systemd/system /var/log/journal /etc/fstab /.dockerenv
mkdir -p /etc/systemd/system /run/systemd/system
: >/etc/fstab

# The lab kernel has no SELinux, whatever the host has.
mkdir -p /etc/selinux
echo SELINUX=disabled >/etc/selinux/config

# Nothing in the guest needs devices to be announced, time to be set, or a terminal to log in.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-timesyncd.service systemd-networkd.service systemd-resolved.service \
    systemd-binfmt.service systemd-sysctl.service systemd-modules-load.service systemd-hwdb-update.service systemd-firstboot.service \
    systemd-journal-flush.service systemd-pcrphase.service dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount modprobe@.service ldconfig.service \
    keyboard-setup.service console-setup.service; do
    ln -s /dev/null "/etc/systemd/system/$unit"
done

# The checkout may lie below /tmp, which is emptied at boot.
mkdir -p /etc/tmpfiles.d
ln -sf /dev/null /etc/tmpfiles.d/tmp.conf

# Answers within the seconds that a test has.
mkdir -p /run/systemd/system.conf.d
cat >/run/systemd/system.conf.d/lab.conf <<END
[Manager]
ShowStatus=no
LogLevel=info
DefaultTimeoutStopSec=10s
CtrlAltDelBurstAction=none
RebootWatchdogSec=off
END

cat >/run/systemd/system/lab.target <<END
[Unit]
Description=A lab guest
Requires=basic.target dbus.socket systemd-logind.service
Wants=lab.service
After=basic.target
AllowIsolate=yes
END

cat >/run/systemd/system/lab.service <<END
[Unit]
Description=The command of a lab guest
After=basic.target dbus.socket systemd-logind.service
[Service]
Type=exec
ExecStart="$python" -I -S "$guest" run
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/tty0
KillMode=process
END
