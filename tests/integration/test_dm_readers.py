# SPDX-License-Identifier: Apache-2.0
"""Device-mapper is read two ways, and both must say the same of every kind of device."""

import contextlib
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_dmsetup import DmsetupReader
from overlaywatch.kernel.dm_ioctl import IoctlReader
from overlaywatch.kernel.dm_open import open_dm_reader
from overlaywatch.kernel.dm_target import parse_snapshot_status, parse_snapshot_table, parse_thin_pool_status
from overlaywatch.kernel.machine import LiveMachine
from overlaywatch.model import LayerState
from tests.integration import devices
from tests.integration.devices import MIB, SECTOR

pytestmark = pytest.mark.kernel

CONTROL = Path("/dev/mapper/control")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of `reader`."""
    return Clock()


@pytest.fixture
def reader(clock: Clock) -> Iterator[IoctlReader]:
    """A reader by ioctl that is used for the whole test, with what it remembers."""
    with contextlib.closing(IoctlReader(CONTROL, clock)) as opened:
        yield opened


def by_name(found: tuple[DmDevice, ...]) -> dict[str, DmDevice]:
    """Devices by name."""
    return {device.name: device for device in found}


def readable(reader: IoctlReader) -> bool:
    """Whether the reader's descriptor polls readable now."""
    control = reader.fileno()
    assert control is not None
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        return bool(selector.select(0))


def agreed(reader: IoctlReader) -> dict[str, DmDevice]:
    """What both ways say, which must be the same; what the reader remembers must be what a new one sees."""
    remembered = reader.devices()
    with contextlib.closing(IoctlReader(CONTROL)) as fresh:
        assert fresh.devices() == remembered
    assert DmsetupReader().devices() == remembered
    return by_name(remembered)


@pytest.mark.parametrize("persistent", ["N", "P", "PO"])
def test_snapshot_from_fresh_to_full(reader: IoctlReader, scratch: Path, persistent: str) -> None:
    """Table and numbers agree at every step, and the words after the last chunk."""
    metadata = 0 if persistent == "N" else 16
    with devices.snapshot(scratch, "ow-snap", persistent) as snapshot:
        device = agreed(reader)["ow-snap"]
        table = parse_snapshot_table(device.table[0].params)
        assert f"{table.origin[0]}:{table.origin[1]}" == snapshot.origin.number
        assert f"{table.cow[0]}:{table.cow[1]}" == snapshot.cow.number
        assert (table.persistent, table.chunk_size_sectors) == (persistent, 8)
        status = parse_snapshot_status(device.status[0].params)
        assert (status.sectors_allocated, status.total_sectors) == (metadata, 8192)

        devices.write(snapshot.device.node, 100 * 4096)
        status = parse_snapshot_status(agreed(reader)["ow-snap"].status[0].params)
        assert (status.state, status.sectors_allocated) == (LayerState.OK, 800 + metadata)
        assert status.metadata_sectors == metadata

        with pytest.raises(OSError, match="Input/output error"):
            devices.write(snapshot.device.node, 8 * MIB)
        device = agreed(reader)["ow-snap"]
        word, state = ("Overflow", LayerState.OVERFLOW) if persistent == "PO" else ("Invalid", LayerState.INVALID)
        assert device.status[0].params == word
        assert parse_snapshot_status(device.status[0].params).state is state
        assert device.event_nr == (0 if persistent == "PO" else 1)


def test_snapshot_with_a_feature(reader: IoctlReader, scratch: Path) -> None:
    """Features at the end of a table line are read."""
    with devices.snapshot(scratch, "ow-snap", "PO", features=["discard_zeroes_cow"]):
        table = parse_snapshot_table(agreed(reader)["ow-snap"].table[0].params)
        assert table.features == ("discard_zeroes_cow",)


def test_snapshot_that_merges(reader: IoctlReader, scratch: Path) -> None:
    """A snapshot that is merged into its origin is read like a snapshot, also when it has come to its end."""
    with devices.snapshot(scratch, "ow-snap", "P") as snapshot:
        devices.write(snapshot.device.node, 100 * 4096)
        table = snapshot.device.table
        snapshot.device.dmsetup("suspend")
        snapshot.device.dmsetup("load", "--table", table.replace("snapshot", "snapshot-merge"))
        snapshot.device.dmsetup("resume")
        while not snapshot.device.status.endswith(" 16/8192 16"):
            assert "/8192 16" in snapshot.device.status
        device = agreed(reader)["ow-snap"]
        assert device.table[0].type == "snapshot-merge"
        assert parse_snapshot_table(device.table[0].params).persistent == "P"


def test_cow_that_grows(reader: IoctlReader, scratch: Path) -> None:
    """A longer COW device is seen at the next look, without any event."""
    with devices.snapshot(scratch, "ow-snap", "PO") as snapshot:
        reader.devices()
        snapshot.cow.grow(8 * MIB)
        status = parse_snapshot_status(agreed(reader)["ow-snap"].status[0].params)
        assert status.total_sectors == 8 * MIB // SECTOR


def test_thin_pool_and_its_volume(reader: IoctlReader, scratch: Path) -> None:
    """A pool, a volume, and what writing to the volume does to both."""
    with devices.thin_pool(scratch, "ow-pool") as pool, devices.thin(pool.device, "ow-thin") as volume:
        devices.write(volume.node, MIB)
        found = agreed(reader)
        status = parse_thin_pool_status(found["ow-pool"].status[0].params)
        assert (status.state, status.data_used_blocks, status.data_total_blocks) == (LayerState.OK, 16, 128)
        assert found["ow-thin"].status[0].params == f"{MIB // SECTOR} {MIB // SECTOR - 1}"
        assert found["ow-thin"].table[0].params == f"{pool.device.number} 0"

        pool.device.dmsetup("suspend")
        assert agreed(reader)["ow-pool"].suspended
        pool.device.dmsetup("resume")


def test_thin_pool_out_of_data_space(reader: IoctlReader, scratch: Path) -> None:
    """The mode is read when the last block is gone and writers are sent away."""
    with devices.thin_pool(scratch, "ow-pool") as pool, devices.thin(pool.device, "ow-thin") as volume:
        pool.device.reload(f"{pool.device.table.rstrip('0 ')} 1 error_if_no_space")
        with pytest.raises(OSError, match=r"space|Input/output error"):
            devices.write(volume.node, 16 * MIB)
        status = parse_thin_pool_status(agreed(reader)["ow-pool"].status[0].params)
        assert (status.state, status.error_if_no_space) == (LayerState.OUT_OF_DATA_SPACE, True)
        assert status.data_used_blocks == status.data_total_blocks


def test_status_of_a_pool_whose_metadata_device_hangs(reader: IoctlReader, scratch: Path) -> None:
    """Asking a pool commits nothing, so it answers while its metadata device is suspended."""
    with (
        devices.loop(scratch / "metadata", 4 * MIB) as metadata,
        devices.loop(scratch / "data", 8 * MIB) as data,
        devices.linear("ow-metadata", metadata, metadata.sectors) as held,
        devices.mapped("ow-pool", f"0 {data.sectors} thin-pool {held.number} {data.number} 128 2") as pool,
        devices.thin(pool, "ow-thin") as volume,
    ):
        devices.write(volume.node, MIB)
        held.dmsetup("suspend", "--noflush")
        try:
            assert agreed(reader)["ow-metadata"].suspended
        finally:
            held.dmsetup("resume")


def test_device_without_a_table(reader: IoctlReader) -> None:
    """It is there, with an empty table and an empty status."""
    with devices.mapped("ow-none", None):
        device = agreed(reader)["ow-none"]
        assert (device.table, device.status) == ((), ())


def test_suspended_read_only_and_named(reader: IoctlReader, scratch: Path) -> None:
    """Suspension, write protection, uuid and open count are read."""
    with devices.loop(scratch / "file", MIB) as below:
        table = f"0 8 linear {below.number} 0"
        with (
            devices.mapped("ow-suspended", table) as suspended,
            devices.mapped("ow-ro", table, ["--readonly"]) as read_only,
            devices.mapped("ow-uuid", table, ["--uuid", "OVERLAYWATCH-a/b c"]),
            read_only.node.open("rb"),
        ):
            suspended.dmsetup("suspend")
            found = agreed(reader)
            assert [found[name].suspended for name in ("ow-suspended", "ow-ro")] == [True, False]
            assert [found[name].read_only for name in ("ow-suspended", "ow-ro")] == [False, True]
            assert found["ow-ro"].open_count == 1
            assert found["ow-uuid"].uuid.startswith("OVERLAYWATCH-a")


def test_table_that_is_loaded_but_not_live(reader: IoctlReader, scratch: Path) -> None:
    """Only the live table counts."""
    with devices.loop(scratch / "file", MIB) as below, devices.linear("ow-linear", below, 8) as device:
        device.dmsetup("load", "--table", f"0 16 linear {below.number} 0")
        assert agreed(reader)["ow-linear"].table == (DmTarget(0, 8, "linear", f"{below.number} 0"),)


def test_table_of_hundreds_of_targets(reader: IoctlReader, scratch: Path) -> None:
    """A table that does not fit into the first buffer is read whole."""
    with devices.loop(scratch / "file", 4 * MIB) as below:
        lines = [f"{at} 8 linear {below.number} {4000 - at}" for at in range(0, 3200, 8)]
        with devices.mapped("ow-long", "\n".join(lines)):
            device = agreed(reader)["ow-long"]
            assert [f"{one.start} {one.length} {one.type} {one.params}" for one in device.table] == lines
            assert len(device.status) == len(lines)


def test_hundreds_of_devices(reader: IoctlReader, scratch: Path) -> None:
    """A list that does not fit into the first buffer is read whole, sorted by name."""
    with devices.loop(scratch / "file", MIB) as below:
        tables = {f"ow-{index}": f"0 8 linear {below.number} {index}" for index in range(200)}
        with devices.many(tables):
            found = agreed(reader)
        params = {name: found[name].table[0].params for name in tables}
        assert params == {name: table.removeprefix("0 8 linear ") for name, table in tables.items()}
        assert list(found) == sorted(found)


STRANGE = ["ow a b", "ow: 0 8 linear 7:0 0", "ow-ü", "ow\\x20b", "ow-\udcff", "ow\n1", "ow||0", "ow", "o" * 127]


def test_names_as_strange_as_the_kernel_lets_them_be(reader: IoctlReader, scratch: Path) -> None:
    """A name is read as the kernel has it, whatever dmsetup would make of it when printing."""
    unmangled = ("dmsetup", "--manglename", "none")
    with devices.loop(scratch / "file", MIB) as below, contextlib.ExitStack() as stack:
        for name in STRANGE:
            devices.run(*unmangled, "create", "--noudevsync", name, "--table", f"0 8 linear {below.number} 0")
            stack.callback(devices.run, *unmangled, "remove", "--noudevsync", name)
        found = agreed(reader)
        assert [found[name].table[0].params for name in STRANGE] == [f"{below.number} 0"] * len(STRANGE)


def test_devices_that_come_and_go_while_they_are_read(reader: IoctlReader, scratch: Path) -> None:
    """A device that vanishes between the list and its status is absent; nothing is raised."""
    churn = "for i in $(seq 40); do dmsetup create --noudevsync ow-c$i --table '0 8 linear {0} 0'; done; sleep 0.1;"
    churn += "for i in $(seq 40); do dmsetup remove --noudevsync --retry ow-c$i; done"
    with devices.loop(scratch / "file", MIB) as below:
        process = subprocess.Popen(["sh", "-ec", churn.format(below.number)])
        most = 0
        while process.poll() is None:
            most = max(most, len(reader.devices()))
            DmsetupReader().devices()
        assert process.returncode == 0
        assert most > 0
        assert not [name for name in agreed(reader) if name.startswith("ow-c")]


def test_peek_at_one_device(reader: IoctlReader, scratch: Path) -> None:
    """The status of one device can be had by itself, also without a look before; None once it is gone."""
    with devices.snapshot(scratch, "ow-snap") as snapshot, devices.mapped("ow-none", None) as none:
        assert peek(reader, snapshot.device.number) == "16/8192 16"
        devices.write(snapshot.device.node, 4096)
        assert peek(reader, snapshot.device.number) == "24/8192 16"
        assert peek(reader, none.number) is None
        gone = snapshot.device.number
    assert peek(reader, gone) is None


def peek(reader: IoctlReader, number: str) -> str | None:
    """The status of the device `major:minor`."""
    major, _, minor = number.partition(":")
    return reader.peek(int(major), int(minor))


def test_nothing_new_is_nothing_new(reader: IoctlReader, scratch: Path) -> None:
    """While nothing changes the very same objects are given, so that nobody has to compare."""
    with devices.snapshot(scratch, "ow-snap") as snapshot, devices.linear("ow-linear", snapshot.origin, 8):
        first = reader.devices()
        assert reader.devices() is first
        devices.write(snapshot.device.node, 4096)
        second = reader.devices()
        assert by_name(second)["ow-snap"] is not by_name(first)["ow-snap"]
        assert by_name(second)["ow-linear"] is by_name(first)["ow-linear"]


def test_swapped_table_of_another_shape(reader: IoctlReader, scratch: Path) -> None:
    """A table of another size is seen at once, from the shape of the status."""
    with devices.loop(scratch / "file", MIB) as below, devices.linear("ow-linear", below, 8) as device:
        reader.devices()
        device.reload(f"0 16 linear {below.number} 8")
        assert agreed(reader)["ow-linear"].table == (DmTarget(0, 16, "linear", f"{below.number} 8"),)


def test_swapped_table_of_the_same_shape(reader: IoctlReader, scratch: Path) -> None:
    """A swap raises an event on the control device, so the new table is seen at once."""
    with devices.loop(scratch / "file", MIB) as below, devices.linear("ow-linear", below, 8) as device:
        reader.devices()
        device.reload(f"0 8 linear {below.number} 8")
        assert agreed(reader)["ow-linear"].table[0].params == f"{below.number} 8"


def test_swapped_table_whose_event_was_missed(reader: IoctlReader, clock: Clock, scratch: Path) -> None:
    """A kernel before 4.13 tells nobody: a new table of the same shape is found when asked for, or within a minute."""
    with devices.loop(scratch / "file", MIB) as below, devices.linear("ow-linear", below, 8) as device:
        reader.devices()
        for start, remedy in ((8, reader.invalidate_tables), (16, lambda: setattr(clock, "now", clock.now + 60))):
            device.reload(f"0 8 linear {below.number} {start}")
            forget_events(reader)
            assert by_name(reader.devices())["ow-linear"].table[0].params == f"{below.number} {start - 8}"
            remedy()
            assert by_name(reader.devices())["ow-linear"].table[0].params == f"{below.number} {start}"


def forget_events(reader: IoctlReader) -> None:
    """Put a newly opened control device under the reader's descriptor: that one has nothing to tell yet."""
    descriptor = reader.fileno()
    assert descriptor is not None
    fresh = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(fresh, descriptor, inheritable=False)
    os.close(fresh)


def test_removed_and_made_again(reader: IoctlReader, scratch: Path) -> None:
    """A device that takes over name and number of another one is not mistaken for it."""
    with devices.loop(scratch / "file", MIB) as below:
        with devices.linear("ow-linear", below, 8):
            reader.devices()
        with devices.linear("ow-linear", below, 8, start=8):
            assert agreed(reader)["ow-linear"].table[0].params == f"{below.number} 8"


def test_control_device_tells_of_events(reader: IoctlReader, scratch: Path) -> None:
    """It polls readable once a snapshot becomes Invalid, until the next look."""
    with devices.snapshot(scratch, "ow-snap", "P") as snapshot:
        reader.devices()
        assert not readable(reader)
        with contextlib.suppress(OSError):
            devices.write(snapshot.device.node, 8 * MIB)
        assert readable(reader)
        assert by_name(reader.devices())["ow-snap"].event_nr == 1
        assert not readable(reader)


@pytest.mark.parametrize(("choice", "name"), [("auto", "ioctl"), ("ioctl", "ioctl"), ("dmsetup", "dmsetup")])
def test_opening_by_choice(choice: str, name: str) -> None:
    """The setting chooses the way; `auto` is ioctl where it works."""
    opened = open_dm_reader(choice, LiveMachine())
    assert opened is not None
    with contextlib.closing(opened):
        assert opened.name == name


def test_without_privilege_every_look_says_why() -> None:
    """An ordinary user gets a reader whose looks fail with the reason, so that the rest can go on."""
    program = (
        "import os\n"
        "from overlaywatch.kernel.dm_open import open_dm_reader\n"
        "from overlaywatch.kernel.machine import LiveMachine\n"
        "os.setuid(65534)\n"
        "reader = open_dm_reader('auto', LiveMachine())\n"
        "try: reader.devices()\n"
        "except PermissionError as error: print(error)\n"
    )
    said = devices.run(sys.executable, "-c", program)
    assert said.strip() == "[Errno 13] Permission denied: '/dev/mapper/control'"
