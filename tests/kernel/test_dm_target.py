# SPDX-License-Identifier: Apache-2.0
"""Table and status lines of device-mapper are read by their grammar; strange statuses are unknown, not errors."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.dm_target import (
    LinearTable,
    SnapshotStatus,
    SnapshotTable,
    ThinPoolStatus,
    ThinPoolTable,
    ThinStatus,
    ThinTable,
    parse_linear_table,
    parse_snapshot_status,
    parse_snapshot_table,
    parse_thin_pool_status,
    parse_thin_pool_table,
    parse_thin_status,
    parse_thin_table,
)
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.model import LayerState
from tests.kernel.printed import linear_table, snapshot_table, thin_pool_table, thin_table

NUMBERS = st.integers(0, 2**63)
DEVICES = st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1))
FEATURES = st.lists(st.sampled_from(["discard_zeroes_cow", "skip_block_zeroing", "read_only"]), unique=True).map(tuple)
STRANGE = st.text() | st.text("0123456789/ -:PON")


@given(DEVICES, DEVICES, st.sampled_from(["N", "P", "PO"]), NUMBERS, FEATURES)
def test_snapshot_table_round_trip(
    origin: tuple[int, int], cow: tuple[int, int], persistent: str, chunk: int, features: tuple[str, ...]
) -> None:
    """What snapshot_status() of the kernel prints for a table is read back."""
    table = SnapshotTable(origin, cow, persistent, chunk, features)
    assert parse_snapshot_table(snapshot_table(table)) == table


@given(NUMBERS, NUMBERS, NUMBERS | st.none())
def test_snapshot_numbers_round_trip(used: int, total: int, metadata: int | None) -> None:
    """`USED/TOTAL META`, and `USED/TOTAL` of old kernels."""
    line = f"{used}/{total}" if metadata is None else f"{used}/{total} {metadata}"
    assert parse_snapshot_status(line) == SnapshotStatus(LayerState.OK, used, total, metadata, line)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Invalid", LayerState.INVALID),
        ("Overflow", LayerState.OVERFLOW),
        ("Merge failed", LayerState.MERGE_FAILED),
        ("Unknown", LayerState.UNKNOWN),
        ("Quarantined", LayerState.UNKNOWN),
        ("16/8192 16 3", LayerState.UNKNOWN),
        ("-1/8192 16", LayerState.UNKNOWN),
        ("", LayerState.UNKNOWN),
    ],
)
def test_snapshot_words(word: str, state: LayerState) -> None:
    """A word carries no numbers; one that no kernel has printed yet is unknown, and kept."""
    assert parse_snapshot_status(word) == SnapshotStatus(state, None, None, None, word)


@given(DEVICES, NUMBERS)
def test_linear_table_round_trip(device: tuple[int, int], start: int) -> None:
    """`DEVICE START`."""
    assert parse_linear_table(linear_table(LinearTable(device, start))) == LinearTable(device, start)


@given(DEVICES, DEVICES, NUMBERS, NUMBERS, FEATURES)
def test_thin_pool_table_round_trip(
    metadata: tuple[int, int], data: tuple[int, int], block: int, low_water: int, features: tuple[str, ...]
) -> None:
    """What pool_status() of the kernel prints for a table, which counts features even if there are none."""
    table = ThinPoolTable(metadata, data, block, low_water, features)
    assert parse_thin_pool_table(thin_pool_table(table)) == table


@given(DEVICES, NUMBERS, DEVICES | st.none())
def test_thin_table_round_trip(pool: tuple[int, int], device_id: int, origin: tuple[int, int] | None) -> None:
    """`POOL DEVICE_ID`, with or without an external origin."""
    table = ThinTable(pool, device_id, origin)
    assert parse_thin_table(thin_table(table)) == table


@given(
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.sampled_from(["rw", "ro", "out_of_data_space"]),
    st.booleans(),
    st.booleans(),
    NUMBERS,
)
def test_thin_pool_status_round_trip(
    figures: tuple[int, int, int, int, int], mode: str, errors: bool, needs_check: bool, low_water: int
) -> None:
    """Whatever figures and modes a pool prints, each is read into its field."""
    transaction, meta_used, meta_total, used, total = figures
    full = "error_if_no_space" if errors else "queue_if_no_space"
    check = "needs_check" if needs_check else "-"
    line = f"{transaction} {meta_used}/{meta_total} {used}/{total} - {mode} discard_passdown {full} {check} {low_water}"
    status = parse_thin_pool_status(line)
    assert (status.transaction_id, status.metadata_used_blocks, status.metadata_total_blocks) == figures[:3]
    assert (status.data_used_blocks, status.data_total_blocks) == (used, total)
    assert (status.mode, status.error_if_no_space, status.needs_check) == (mode, errors, needs_check)
    assert status.metadata_low_water_blocks == low_water


@pytest.mark.parametrize(
    ("line", "state"),
    [
        # Each line as Linux 6.1 printed it.
        ("0 112/1024 83/128 - rw discard_passdown queue_if_no_space - 256", LayerState.OK),
        ("0 4161/838860 9/65536 - rw discard_passdown queue_if_no_space - 1024 ", LayerState.OK),
        (
            "0 112/1024 128/128 - out_of_data_space discard_passdown error_if_no_space - 256",
            LayerState.OUT_OF_DATA_SPACE,
        ),
        ("0 256/256 219/8000 - ro discard_passdown queue_if_no_space - 256", LayerState.READ_ONLY),
        ("0 112/1024 0/1024 - ro discard_passdown queue_if_no_space needs_check 256", LayerState.NEEDS_CHECK),
        # Linux 3.10 and 4.4 printed fewer words.
        ("1 15/1024 10/100 - rw discard_passdown queue_if_no_space", LayerState.OK),
        ("1 15/1024 10/100 - rw no_discard_passdown", LayerState.OK),
        ("1 15/1024 10/100 42 rw discard_passdown queue_if_no_space -", LayerState.OK),
        ("Fail", LayerState.FAILED),
        ("Error", LayerState.ERRORS),
        ("0 112/1024 83/128 - hibernating discard_passdown queue_if_no_space - 256", LayerState.UNKNOWN),
        ("Melted", LayerState.UNKNOWN),
    ],
)
def test_thin_pool_states(line: str, state: LayerState) -> None:
    """The modes that kernels have printed, older and newer, and two that none has."""
    status = parse_thin_pool_status(line)
    assert (status.state, status.word) == (state, line.strip())


def test_thin_pool_status_of_a_word_has_no_numbers() -> None:
    """A failed pool says nothing but that."""
    assert parse_thin_pool_status("Fail") == ThinPoolStatus(LayerState.FAILED, "Fail")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("9216 1049599", ThinStatus(LayerState.OK, 9216, 1049599, "9216 1049599")),
        ("0 -", ThinStatus(LayerState.OK, 0, None, "0 -")),
        ("Fail", ThinStatus(LayerState.FAILED, None, None, "Fail")),
        ("Error", ThinStatus(LayerState.ERRORS, None, None, "Error")),
        ("-", ThinStatus(LayerState.UNKNOWN, None, None, "-")),
    ],
)
def test_thin_statuses(line: str, status: ThinStatus) -> None:
    """Mapped sectors, or a word."""
    assert parse_thin_status(line) == status


@given(STRANGE)
def test_strange_statuses_never_raise(text: str) -> None:
    """The first kernel that prints something new must not stop the daemon: unknown, with the text kept."""
    for parse in (parse_snapshot_status, parse_thin_pool_status, parse_thin_status):
        status = parse(text)
        assert status.word == text.strip()


@pytest.mark.parametrize(
    "parse",
    [parse_snapshot_table, parse_linear_table, parse_thin_pool_table, parse_thin_table],
    ids=lambda f: f.__name__,
)
@given(text=STRANGE)
def test_strange_tables_are_kernel_text_errors(parse: Callable[[str], object], text: str) -> None:
    """A table that cannot be read is refused in one way, with the text in the error."""
    try:
        parse(text)
    except KernelTextError as raised:
        error = raised
    else:
        return
    assert error.found == text


@pytest.mark.parametrize(
    "line",
    ["7:1 7:2 Q 8", "7:1 7:2 P", "7:1 sda P 8", "7:1 7:2 P 8 2 discard_zeroes_cow", "7:1 7:2 P 8 discard_zeroes_cow"],
)
def test_snapshot_tables_that_do_not_fit(line: str) -> None:
    """Another store, a missing or named field, or a wrong count of features says what belongs there."""
    with pytest.raises(KernelTextError, match=r"snapshot table: expected ORIGIN COW N\|P\|PO CHUNK"):
        parse_snapshot_table(line)
