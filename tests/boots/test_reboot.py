# SPDX-License-Identifier: Apache-2.0
"""The last resort, for real: a live system whose root overflows is rebooted by the daemon, and comes back empty."""

import re
import sys
from pathlib import Path

import pytest

from tests.boots.conftest import BootGuest
from tests.lab.uml import Store

pytestmark = pytest.mark.boots

CONFIG = """
[action.reboot]
type = "reboot"
grace = "1s"
min_uptime = "1s"
[[policy]]
name = "root"
mount_point = "/"
[[policy.stage]]
name = "last-resort"
state_is = ["overflow", "invalid"]
actions = ["reboot"]
"""

# The unit as it is shipped; only the program comes from the checkout, because /usr is the host's.
SERVICE = f"""
mkdir -p /etc/overlaywatch /run/systemd/system/overlaywatch.service.d
cat >/etc/overlaywatch/overlaywatch.toml <<'END'
{CONFIG}
END
cp systemd/overlaywatch.service /run/systemd/system/
cp systemd/overlaywatch.sysusers /etc/overlaywatch.conf
systemd-sysusers /etc/overlaywatch.conf
cat >/run/systemd/system/overlaywatch.service.d/checkout.conf <<END
[Service]
ExecStart=
ExecStart={sys.executable} -m overlaywatch run
WorkingDirectory=$PWD
END
systemctl daemon-reload
systemctl start overlaywatch
"""

FILL = """
journalctl --follow --unit overlaywatch >/run/lab/daemon.log &
dmsetup status live-rw >/run/lab/before
dd if=/dev/zero of=/var/tmp/full bs=1M conv=fsync || true
dmsetup status live-rw >/run/lab/after
sleep 40
"""


@pytest.mark.parametrize(
    ("store", "word"), [("PO", "overflow"), ("P", "invalid"), ("N", "invalid")], ids=["PO", "P", "N"]
)
def test_overflowed_root_is_rebooted(boot_guest: BootGuest, results: Path, store: Store, word: str) -> None:
    """The root's snapshot is filled until the kernel gives it up; the daemon sees the word and reboots the machine."""
    second = 'test "$LAB_BOOT" = 1 || { dmsetup status live-rw >/run/lab/again; exit 0; }\n'
    command = ("sh", "-euc", second + SERVICE + FILL)
    ending = boot_guest(*command, timeout=90, memory="1G", init="systemd", root="snapshot", store=store, boots=2)
    assert (ending.status, ending.boots) == (0, 2), ending.explain()
    assert re.search(r"snapshot \d+/131072", (results / "before").read_text())
    daemon = (results / "daemon.log").read_text()
    assert f"dm-snapshot:live-rw is {word}, was ok" in daemon, daemon
    assert "last-resort" in daemon, daemon
    # A new boot has a new, empty overlay: nothing of what filled the old one is left.
    used = re.search(r"snapshot (\d+)/131072", (results / "again").read_text())
    assert used is not None
    assert int(used[1]) < 8192


CUT_OFF = """
[daemon]
interval = "1s"
[watch]
include = ["/mnt"]
[action.reboot]
type = "reboot"
grace = "20s"
min_uptime = "0s"
[[policy]]
name = "room"
mount_point = "/mnt"
[[policy.stage]]
name = "last-resort"
headroom_below = "1TiB"
actions = ["reboot"]
"""

# Nobody but the daemon holds the reboot: there is no service manager. `children` are what it leaves behind.
KILLED_IN_ITS_GRACE = f"""
test "$LAB_BOOT" = 1 || exit 0
mount -t tmpfs -o size=16m tmpfs /mnt
cat >/run/cut-off.toml <<'END'
{CUT_OFF}
END
run='{sys.executable} -m overlaywatch run --config /run/cut-off.toml --web.listen-address off'
$run 2>>/run/lab/log &
engine=$!
until dmesg | grep -q 'overlaywatch: rebooting.*(in 20 s)'; do sleep 0.2; done
children=$(cat /proc/$engine/task/$engine/children)
kill -9 $engine $children
cut -d' ' -f1 /proc/uptime >/run/lab/killed
$run 2>>/run/lab/log &
until dmesg | grep 'overlaywatch: rebooting.*(going on' >/run/lab/going-on; do sleep 0.2; done
sleep 60
"""


def test_reboot_goes_on_after_the_death_of_the_daemon(boot_guest: BootGuest, results: Path) -> None:
    """kill -9 in the grace, of the engine and all that it had started: the next daemon does what is left of it."""
    ending = boot_guest("sh", "-uc", KILLED_IN_ITS_GRACE, timeout=90, boots=2)
    log = (results / "log").read_text()
    assert (ending.status, ending.boots) == (0, 2), ending.explain() + log
    left = re.search(r"going on, in (\d+) s", (results / "going-on").read_text())
    assert left is not None
    assert 15 <= int(left[1]) < 20
    assert "Traceback" not in log, log
