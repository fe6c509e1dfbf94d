# SPDX-License-Identifier: Apache-2.0
"""Answers of system calls are written down and read back; what makes no sense is refused with its place."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.backing import STAT, FileStat
from overlaywatch.kernel.calls import decode, encode_answer, encode_error
from overlaywatch.kernel.loop import LOOP_STATUS, LoopStatus
from overlaywatch.kernel.statfs import STATVFS, USTAT, StatVfs, Ustat

COUNT = st.integers(0, 2**64 - 1)
NUMBER = st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1))
VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@given(st.builds(StatVfs, *[COUNT] * 6, st.booleans(), COUNT))
def test_statvfs_round_trip(answer: StatVfs) -> None:
    """All figures come back."""
    assert decode(STATVFS, encode_answer(answer)) == answer


@given(NUMBER, COUNT, COUNT, COUNT)
def test_numbers_of_devices_round_trip(device: tuple[int, int], inode: int, size: int, allocated: int) -> None:
    """As `major:minor`."""
    stat, status = FileStat(device, inode, size, allocated), LoopStatus(device, inode)
    assert encode_answer(status)["device"] == f"{device[0]}:{device[1]}"
    assert decode(STAT, encode_answer(stat)) == stat
    assert decode(LOOP_STATUS, encode_answer(status)) == status


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EIO, errno.ENXIO])
def test_errors_round_trip(number: int) -> None:
    """With the words that the running machine would have used."""
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        decode(STATVFS, encode_error(OSError(number, "anything")))
    assert caught.value.errno == number


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"blocks_free": 1}, "missing: files_free"),
        ({"blocks_free": 1, "files_free": -1}, "files_free: expected a number, not negative, found -1"),
        ({"blocks_free": 1, "files_free": True}, "files_free: expected a number"),
        ({"blocks_free": 1, "files_fre": 1}, "files_fre: no such field; expected blocks_free, files_free"),
        ({"error": "ENOSUCH"}, "error: expected a name such as ENOENT, found 'ENOSUCH'"),
    ],
)
def test_what_makes_no_sense_is_refused(entry: dict[str, object], said: str) -> None:
    """With the field, what was expected and what was found."""
    with pytest.raises(ValueError, match=said):
        decode(USTAT, entry)


@given(st.dictionaries(st.sampled_from(["blocks_free", "files_free", "error", "x"]), VALUE))
def test_garbage_is_refused_in_one_of_two_ways(entry: dict[str, object]) -> None:
    """And what is accepted is what is written there."""
    try:
        answer = decode(USTAT, entry)
    except (OSError, ValueError):
        return
    assert answer == Ustat(**entry)  # type: ignore[arg-type]
