# SPDX-License-Identifier: Apache-2.0
"""Traces are read as they were written, and what is wrong in them is said with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.model import Failure, LayerId, LayerState
from overlaywatch.trace import Look, TraceError, format_trace, parse_trace
from tests.tools import CHECKOUT

TRACES = sorted((CHECKOUT / "tests" / "traces").glob("*.trace"))

LOOKS = st.builds(
    Look,
    at=st.floats(0, 1e6).map(lambda at: round(at, 3)),
    headroom_bytes=st.none() | st.integers(0, 1 << 62),
    mount_point=st.sampled_from(["/", "/mnt/with space", "/back\\slash", "/\u00e9"]),
    used_ratio=st.none() | st.integers(0, 12000).map(lambda share: share / 10000),
    inodes_ratio=st.none() | st.integers(0, 10000).map(lambda share: share / 10000),
    states=st.frozensets(st.sampled_from(LayerState), min_size=1),
    limit=st.none() | st.just(LayerId("dm-snapshot:live-rw")),
    size_bytes=st.none() | st.integers(0, 1 << 62),
    failure=st.none() | st.sampled_from(Failure),
    reclaimable=st.booleans(),
)


@given(st.lists(LOOKS, max_size=5))
def test_what_is_written_is_read(looks: list[Look]) -> None:
    """Every look survives, whatever is unknown in it."""
    looks.sort(key=lambda look: look.at)
    assert parse_trace(format_trace(looks, ["a comment"])) == tuple(looks)


def test_two_columns_are_a_trace() -> None:
    """What a person writes by hand: seconds and bytes; the rest is unknown, or as it is in health."""
    (look,) = parse_trace("seconds headroom_bytes\n\n  # half\n 1.5 4096\n")
    assert look == Look(at=1.5, headroom_bytes=4096)
    verdict = look.verdict()
    assert (verdict.mount.mount_point, verdict.headroom_bytes, verdict.limit) == ("/", 4096, None)
    assert look.readings() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t: no columns; expected a line such as 'seconds "),
        ("seconds\n", "t:1: the column headroom_bytes must be there once"),
        ("seconds headroom_bytes speed\n", "t:1: no such column: 'speed'; expected some of seconds, "),
        ("seconds headroom_bytes\n1\n", "t:2: 1 words; expected 2, one for each column"),
        ("seconds headroom_bytes\n- 1\n", "t:2: the time must be known"),
        ("seconds headroom_bytes\nnan 1\n", "t:2: seconds: not a number that can be: 'nan'; "),
        ("seconds headroom_bytes\n1 -1\n", "t:2: headroom_bytes: not a size: '-1'; "),
        ("seconds headroom_bytes\n2 1\n1 1\n", "t:3: 1 s is before the line above; expected rising seconds"),
        ("seconds headroom_bytes state\n2 1 well\n", "t:2: state: 'well' is not a valid LayerState"),
        ("seconds headroom_bytes reclaimable\n2 1 maybe\n", "t:2: reclaimable: neither yes nor no: 'maybe'"),
    ],
)
def test_errors_name_the_line_and_what_was_expected(text: str, said: str) -> None:
    """A slip in a file that a person has written is found where it is."""
    with pytest.raises(TraceError) as caught:
        parse_trace(text, "t")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_recorded_traces_are_whole(path: object) -> None:
    """Each recorded trace says what it is, knows its limit throughout, and is in the list of the paper."""
    trace = next(one for one in TRACES if one == path)
    text = trace.read_text("ascii")
    looks = parse_trace(text, trace.name)
    assert text.startswith(f"# {trace.stem}: recorded on Linux ")
    assert all(look.limit and look.size_bytes and look.used_ratio is not None for look in looks)
    assert f"| `{trace.stem}` |" in (trace.parent / "README.md").read_text()
