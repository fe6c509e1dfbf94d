# SPDX-License-Identifier: Apache-2.0
"""The state file: whole after any crash, and without a new page on a full tmpfs."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.engine.state_file import SLOT_BYTES, StateFile, StateTooLargeError


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    """Over as many writes and openings as one likes."""
    for number in range(5):
        file = StateFile(tmp_path / "state")
        loaded = file.load()
        file.save({"number": number})
        file.close()

        assert loaded == ({"number": number - 1} if number else {})


@given(cut=st.integers(0, 200), junk=st.binary(max_size=50))
def test_a_write_that_is_cut_off_leaves_the_state_before_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    """Whatever half of a slot a crash left behind, the other slot is believed."""
    path = tmp_path_factory.mktemp("state") / "state"
    file = StateFile(path)
    file.save({"reboots": 1})
    file.save({"reboots": 2, "padding": "x" * 100})
    file.close()
    raw = path.read_bytes()
    start = 0 if b'"reboots":2' in raw[:SLOT_BYTES] else SLOT_BYTES
    torn = raw[: start + cut] + junk + raw[start + cut + len(junk) :]
    path.write_bytes(torn)

    again = StateFile(path)
    state = again.load()
    again.close()

    assert state == ({"reboots": 2, "padding": "x" * 100} if torn == raw else state)
    assert state["reboots"] in {1, 2}


def test_a_state_that_does_not_fit_is_refused_and_the_last_one_stands(tmp_path: Path) -> None:
    """Nothing is cut off silently."""
    file = StateFile(tmp_path / "state")
    file.save({"kept": True})
    with pytest.raises(StateTooLargeError, match="do not fit"):
        file.save({"much": "x" * SLOT_BYTES})
    state = file.load()
    file.close()

    assert state == {"kept": True}


def test_all_blocks_are_there_from_the_start(tmp_path: Path) -> None:
    """A tmpfs that is full later cannot refuse a write into them."""
    file = StateFile(tmp_path / "state")
    before = os.stat(tmp_path / "state").st_blocks
    file.save({"padding": "x" * 60_000})
    after = os.stat(tmp_path / "state").st_blocks
    file.close()

    assert before * 512 >= 2 * SLOT_BYTES
    assert after == before
