# SPDX-License-Identifier: Apache-2.0
"""Every live system that has a row: that it is recognised, what ends first on it, and what is said to help."""

import re

import pytest

from overlaywatch.livesystem import BY_NAME, SYSTEMS, Now, recognise, static_folders
from overlaywatch.model import Verdict
from overlaywatch.topology import Topology, judge
from overlaywatch.watch import choose
from tests.sources.live_systems import MACHINES, Machine
from tests.sources.test_live_machines import survey


def verdicts(machine: Machine) -> dict[str, Verdict]:
    """What is said of the watched mounts, by mount point."""
    seen = survey(machine.view())
    system = recognise(seen.mounts)
    topology = Topology(seen.layers, seen.links)
    watched = choose(seen.mounts, static=static_folders(system))
    return {one.mount_point: judge(one, topology.chain(one.rests_on), seen.readings, system) for one in watched}


def test_every_row_has_a_machine_and_a_name_of_its_own() -> None:
    """And no machine is without a row."""
    assert [system.name for system in SYSTEMS] == list(BY_NAME)
    assert set(MACHINES) == set(BY_NAME)


@pytest.mark.parametrize("name", MACHINES)
def test_it_is_recognised(name: str) -> None:
    """By what its boot scripts leave behind; the first row that matches is the right one."""
    assert recognise(survey(MACHINES[name].view()).mounts) == name


@pytest.mark.parametrize("name", [name for name, machine in MACHINES.items() if machine.limit])
def test_what_ends_first_and_what_helps(name: str) -> None:
    """The limit is named, and the remedy is of the kind that the table promises for `/`."""
    machine, row = MACHINES[name], BY_NAME[name]

    found = verdicts(machine)["/"]

    assert found.limit == machine.limit
    assert re.match(KINDS[row.now], found.remedy), found.remedy
    if "remount" in found.remedy:
        assert re.search(rf"remount,size=\d+m {re.escape(str(found.limit).partition(':')[2])}(;|$)", found.remedy)
    assert found.remedy.endswith(f"; next boot: a larger {row.next_boot}" if row.next_boot else "")
    assert ("next boot" in found.remedy) == bool(row.next_boot)


KINDS = {
    Now.GROW: r"delete files on /, or mount -o remount,size=",
    Now.DELETE: r"delete files on /(;|$)",
    Now.TRIM: r"delete files on / and run fstrim /",
    Now.MEMORY: r"stop what uses memory",
    Now.NONE: r"none until reboot",
}


@pytest.mark.parametrize("name", MACHINES)
def test_static_mounts_are_not_watched(name: str) -> None:
    """Media, images and tmpfs that are made to measure are full by design; what takes data is watched."""
    watched = verdicts(MACHINES[name])

    folders = [f"{folder}/" for folder in BY_NAME[name].static]
    assert not [point for point in watched for folder in folders if f"{point}/".startswith(folder)]
    assert watched


def test_toram_and_copytoram_are_watched_nowhere() -> None:
    """Both are tmpfs that may be written to, and exactly full."""
    assert "/run/live/medium" not in verdicts(MACHINES["live-boot"])
    assert "/run/archiso/copytoram" not in verdicts(MACHINES["archiso"])


def test_a_hidden_upper_offers_no_remount() -> None:
    """No path leads to it; the path that once did leads to another tmpfs."""
    for name in ("casper", "live-boot-2017", "xcat", "systemd-volatile-overlay", "raspberrypi-overlay"):
        assert verdicts(MACHINES[name])["/"].remedy == "delete files on /"


def test_uppers_on_one_tmpfs_are_one_layer() -> None:
    """overlayroot makes an overlay of each file system of fstab: one tmpfs below all, and each is told of."""
    root = MACHINES["overlayroot"]
    more = "40 25 0:41 / /srv rw - overlay overlayroot rw,lowerdir=/x,upperdir=/media/root-rw/overlay/srv\n"

    found = verdicts(Machine(root.lines + more, root.upper))

    assert found["/"].limit == found["/srv"].limit == "tmpfs:/media/root-rw"
    assert found["/"].headroom_bytes == found["/srv"].headroom_bytes


def test_several_unions_are_each_their_own() -> None:
    """/usr was unlocked beside a root that is a disk: its overlay ends by itself."""
    found = verdicts(MACHINES["bootc-usr-overlay"])

    assert (found["/usr"].limit, found["/usr"].remedy) == ("tmpfs:0:30", "delete files on /usr")
    assert found["/"].limit == "filesystem:/"


def test_words_of_a_container_are_not_taken_for_a_live_system() -> None:
    """What matters is that `/` is an engine's overlay, whatever the names are."""
    line = "25 1 0:40 / / rw - overlay LiveOS_rootfs rw,upperdir=/var/lib/containers/storage/overlay/0af3/diff\n"

    assert recognise(survey(Machine(line).view()).mounts) is None


def test_an_ordinary_host_is_none() -> None:
    """A disk, with a tmpfs on /run."""
    lines = "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n26 25 0:24 / /run rw - tmpfs tmpfs rw\n"

    assert recognise(survey(Machine(lines).view()).mounts) is None
