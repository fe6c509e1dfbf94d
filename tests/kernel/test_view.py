# SPDX-License-Identifier: Apache-2.0
"""One look reads each thing once; looks after it reuse what has not changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.cmdline import parse_cmdline
from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.machine import LiveMachine
from overlaywatch.kernel.view import KernelReader

DATA = Path(__file__).with_name("data")
SWAPS = "Filename Type Size Used Priority\n/dev/vda2 partition 1000 0 -2\n/dev/zram0 partition 9000 0 5\n"


class CountingDm:
    """A second implementation of DmReader: devices that a test sets."""

    name = "test"
    can_peek = True

    def __init__(self) -> None:
        self.found: tuple[DmDevice, ...] = ()
        self.looks = 0
        self.invalidated = 0

    def devices(self) -> tuple[DmDevice, ...]:
        """What the test has set."""
        self.looks += 1
        return self.found

    def peek(self, major: int, minor: int) -> str | None:
        """A status of its own for each number."""
        return f"{major}:{minor}"

    def invalidate_tables(self) -> None:
        """Counted."""
        self.invalidated += 1

    def fileno(self) -> int | None:
        """None."""
        return None

    def arm_poll(self) -> None:
        """Nothing to arm."""

    def close(self) -> None:
        """Nothing to close."""


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def device(name: str, minor: int) -> DmDevice:
    """A device without a table."""
    return DmDevice(name, "", 254, minor, False, False, 0, 0, (), ())


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A captured machine."""
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/mountinfo").write_text((DATA / "mountinfo-dracut-snapshot.txt").read_text())
    (tmp_path / "proc/meminfo").write_text((DATA / "meminfo.txt").read_text())
    (tmp_path / "proc/swaps").write_text(SWAPS)
    (tmp_path / "proc/cmdline").write_text("root=live:LABEL=LIVE rd.live.image\n")
    add_loop(tmp_path, 2)
    return tmp_path


def add_loop(machine: Path, minor: int) -> None:
    """A bound loop device."""
    folder = machine / f"sys/block/loop{minor}"
    (folder / "loop").mkdir(parents=True)
    for name, text in {"size": "8", "ro": "0", "dev": f"7:{minor}"}.items():
        (folder / name).write_text(f"{text}\n")
    for name, text in {"backing_file": "/overlay", "offset": "0", "sizelimit": "0", "autoclear": "0"}.items():
        (folder / "loop" / name).write_text(f"{text}\n")


@pytest.fixture
def clock() -> Clock:
    """The reader's clock."""
    return Clock()


@pytest.fixture
def dm() -> CountingDm:
    """The reader's device-mapper."""
    return CountingDm()


@pytest.fixture
def reader(machine: Path, dm: CountingDm, clock: Clock) -> Iterator[KernelReader]:
    """A reader of the captured machine."""
    opened = KernelReader(CapturedMachine(machine), dm, clock=clock)
    yield opened
    opened.close()


def test_everything_is_there(reader: KernelReader) -> None:
    """What the sources ask for."""
    view = reader.look()
    assert "/dev/mapper/live-rw" in {mount.source for mount in view.mounts}
    assert view.meminfo.total == 996368 * 1024
    assert view.cmdline == ("root=live:LABEL=LIVE", "rd.live.image")
    assert view.loops[7, 2].backing_file == "/overlay"
    assert view.dm == {}
    assert view.dm_status(254, 3) == "254:3"


def test_one_look_does_not_change_under_the_eyes(reader: KernelReader, machine: Path, dm: CountingDm) -> None:
    """What was read once stays, and is read once; the next look is another."""
    view = reader.look()
    before = view.meminfo, view.mounts, view.dm
    (machine / "proc/meminfo").write_text((DATA / "meminfo.txt").read_text().replace("996368", "100"))
    (machine / "proc/1/mountinfo").write_text("")
    dm.found = (device("a", 0),)
    assert (view.meminfo, view.mounts, view.dm) == before
    assert dm.looks == 1
    later = reader.look()
    assert (later.meminfo.total, later.mounts, set(later.dm)) == (100 * 1024, (), {(254, 0)})


def test_unchanged_records_are_the_same_objects(reader: KernelReader, dm: CountingDm) -> None:
    """So that whoever draws conclusions from them can keep those, too."""
    dm.found = (device("a", 0), device("b", 1))
    one, other = reader.look(), reader.look()
    assert one.mounts is other.mounts
    assert one.loops is other.loops
    assert one.dm is other.dm


def test_errors_stay_as_well(reader: KernelReader, machine: Path) -> None:
    """A look in which a file could not be read fails the same way again; the next one may not."""
    (machine / "proc/meminfo").write_text("")
    view = reader.look()
    with pytest.raises(KernelTextError, match="MemTotal"):
        view.meminfo  # noqa: B018  # reading it is the test
    (machine / "proc/meminfo").write_text((DATA / "meminfo.txt").read_text())
    with pytest.raises(KernelTextError, match="MemTotal"):
        view.meminfo  # noqa: B018
    assert reader.look().meminfo.total == 996368 * 1024


def test_loops_are_kept_until_something_says_otherwise(reader: KernelReader, machine: Path, clock: Clock) -> None:
    """An event, a change of the mount table, or a minute gone by."""
    assert set(reader.look().loops) == {(7, 2)}
    add_loop(machine, 3)
    clock.now = 59.0
    assert set(reader.look().loops) == {(7, 2)}
    reader.invalidate()
    assert set(reader.look().loops) == {(7, 2), (7, 3)}
    add_loop(machine, 4)
    clock.now = 119.0
    assert (7, 4) in reader.look().loops
    add_loop(machine, 5)
    with (machine / "proc/1/mountinfo").open("a") as table:
        table.write("99 1 0:99 / /new rw - tmpfs tmpfs rw\n")
    assert (7, 5) in reader.look().loops


def test_events_invalidate_tables(reader: KernelReader, dm: CountingDm) -> None:
    """The reader of device-mapper is told, too."""
    reader.invalidate()
    assert dm.invalidated == 1


def test_swap_on_zram_is_left_out(reader: KernelReader, machine: Path) -> None:
    """With swap its areas are read; without any, nothing is."""
    assert reader.look().swap_free_bytes == 0
    text = (DATA / "meminfo.txt").read_text().replace("SwapTotal:             0 kB", "SwapTotal:         10000 kB")
    (machine / "proc/meminfo").write_text(text)
    assert reader.look().swap_free_bytes == 1000 * 1024


def test_captured_machine_is_never_mixed_with_this_one(reader: KernelReader) -> None:
    """Figures of this machine's file systems under the names of another would be lies."""
    view = reader.look()
    with pytest.raises(OSError, match="part of every capture"):
        view.statvfs("/")
    with pytest.raises(OSError, match="part of every capture"):
        view.stat_device("/")
    assert view.ustat(0, 5) is None
    assert view.file_allocation(view.loops[7, 2]) is None


def test_device_mapper_that_comes_later(machine: Path, clock: Clock) -> None:
    """A kernel without device-mapper is asked again every minute: the module may be loaded later."""
    later: list[CountingDm] = []
    reader = KernelReader(CapturedMachine(machine), None, lambda: later[0] if later else None, clock)
    assert reader.look().dm == {}
    assert reader.look().dm_status(254, 0) is None
    later.append(CountingDm())
    later[0].found = (device("a", 0),)
    assert reader.look().dm == {}
    clock.now = 60.0
    assert set(reader.look().dm) == {(254, 0)}
    reader.close()


def test_this_machine() -> None:
    """The live kernel is read through the same door."""
    reader = KernelReader(LiveMachine(), None)
    view = reader.look()
    assert view.meminfo.total > 0
    assert view.statvfs("/").blocks >= 0
    assert view.stat_device("/proc") in {mount.device for mount in view.mounts}
    assert view.cmdline == parse_cmdline(Path("/proc/cmdline").read_text())
    assert view.device_name(4000, 1) is None
    assert view.errors_count(4000, 1) is None
    assert view.size_bytes(4000, 1) is None
    assert view.pending_bytes(4000, 1) is None
    reader.close()
