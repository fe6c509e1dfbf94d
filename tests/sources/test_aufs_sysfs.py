# SPDX-License-Identifier: Apache-2.0
"""What of /sys/fs/aufs is touched, by whatever looks: reading there while a union comes or goes ends the kernel."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.engine.monitor import Monitor
from overlaywatch.kernel.captured import CapturedMachine, open_capture
from overlaywatch.kernel.kept_file import KeptFile
from overlaywatch.kernel.view import KernelView
from overlaywatch.registry import make_sources, open_reader, record

JESSIE = Path(__file__).parents[1] / "machines/live-boot-jessie"
OF_ROOT = "fs/aufs/si_2ee3ddabcba612f0"
OTHER = "99 23 0:77 / /mnt/union rw,noatime - aufs aufs rw,si=abc,noxino\n"


class Noting(CapturedMachine):
    """Notes all that is asked of sysfs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, open_capture(folder).manifest)
        self.noted: list[str] = []

    def keep(self, path: Path, at_once: bool = False) -> KeptFile:
        """See Machine."""
        self._note(path)
        return super().keep(path, at_once)

    def read(self, path: Path) -> bytes:
        """See Machine."""
        self._note(path)
        return super().read(path)

    def names(self, folder: Path) -> Sequence[str]:
        """See Machine."""
        self._note(folder)
        return super().names(folder)

    def link(self, path: Path) -> str:
        """See Machine."""
        self._note(path)
        return super().link(path)

    @property
    def of_aufs(self) -> list[str]:
        """What was asked of the folders of unions."""
        return [place for place in self.noted if place.startswith("fs/aufs") or place == "fs"]

    def _note(self, path: Path) -> None:
        if path.is_relative_to(self.root.sys):
            self.noted.append(str(path.relative_to(self.root.sys)))


@pytest.fixture
def machine(tmp_path: Path) -> Noting:
    """Debian 8 with a union on `/`, and another one that somebody may unmount at any moment."""
    folder = tmp_path / "machine"
    shutil.copytree(JESSIE, folder, symlinks=True)
    with (folder / "proc/1/mountinfo").open("a") as table:
        table.write(OTHER)
    shutil.copytree(folder / "sys" / OF_ROOT, folder / "sys/fs/aufs/si_abc")
    return Noting(folder)


ONCE = [f"{OF_ROOT}/br0", f"{OF_ROOT}/br1", f"{OF_ROOT}/br2"]


def test_a_daemon_reads_the_branches_of_the_root_once(machine: Noting) -> None:
    """Whatever comes and goes, and after each reload: nothing is listed, nothing read again, nothing of another."""
    table = machine.folder / "proc/1/mountinfo"
    whole = table.read_text()
    monitor: Monitor[KernelView] = Monitor(Settings(), make_sources(), lambda: 0.0)
    with closing(open_reader(Settings(), machine)) as reader:
        for look in range(4):
            table.write_text(whole if look % 2 == 0 else whole.removesuffix(OTHER))
            reader.invalidate()
            seen = monitor.step(reader.look(), float(look))
            assert "aufs:/" in [layer.id for layer in seen.survey.layers]
            monitor.reconfigure(Settings(), frozenset())

    assert machine.of_aufs == ONCE


def test_a_capture_reads_no_more_than_one_look(machine: Noting) -> None:
    """What is asked beyond that for a report is about block devices."""
    record(Settings(), machine)

    assert machine.of_aufs == ONCE
