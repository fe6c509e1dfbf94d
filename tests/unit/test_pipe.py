# SPDX-License-Identifier: Apache-2.0
"""What engine and frontend say to each other: cut anywhere, broken anyhow."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.pipe import (
    Decoder,
    Delivered,
    FrameError,
    Listening,
    Problem,
    Report,
    encode,
    encode_report,
    encode_tick,
    is_tick,
    parse,
    parse_report,
)

REPORTS: tuple[Report, ...] = (
    Listening(("127.0.0.1:10087", "[::1]:10087"), ("0.0.0.0:80: Permission denied",), "runs as nobody"),
    Delivered("page:root:warn:/", "page", True, "http://127.0.0.1:9093", "failed", "Connection refused"),
    Problem("overlaywatch: something: somehow"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def payload_of(frame: bytes) -> bytes:
    """The payload of one whole frame."""
    (payload,) = Decoder().feed(frame)
    return payload


@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cutting(objects: list[dict[str, str]], cuts: list[int]) -> None:
    """However the bytes are cut, the same objects come out in the same order."""
    stream = b"".join(encode({"type": "notify", "body": each}) for each in objects)
    decoder, found, turn = Decoder(), [], 0
    while stream:
        size = cuts[turn % len(cuts)]
        found += decoder.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert [parse(payload)["body"] for payload in found] == objects


def test_a_length_beyond_the_limit_is_refused_before_it_is_held() -> None:
    """Four bytes that announce too much are enough to give the pipe up."""
    with pytest.raises(FrameError, match="at most 100"):
        Decoder(limit=100).feed((101).to_bytes(4, "big"))


def test_a_frame_that_is_too_large_is_not_sent() -> None:
    """The writer keeps to the same limit as the reader."""
    with pytest.raises(FrameError, match="at most"):
        encode({"type": "notify", "body": "x" * (16 * 1024 * 1024)})


def test_a_tick_is_known_without_parsing() -> None:
    """The frontend tells ticks from other frames by their first bytes."""
    tick = payload_of(encode_tick(b'{"version": 1}', {"pid": 1}))
    assert is_tick(tick)
    assert parse(tick) == {"type": "tick", "status": {"version": 1}, "daemon": {"pid": 1}}
    assert not is_tick(payload_of(encode({"type": "notify", "id": '{"type": "tick", '})))


@given(st.binary(max_size=200))
def test_garbage_is_a_frame_error_and_nothing_else(data: bytes) -> None:
    """Whatever a broken frontend writes, the engine gets FrameError, never another exception."""
    try:
        parse_report(data)
    except FrameError:
        return
    raise AssertionError("garbage was taken for a report")


@given(st.sampled_from(["listening", "delivered", "problem"]), st.dictionaries(st.text(max_size=9), JSON, max_size=6))
def test_wrong_fields_are_a_frame_error(kind: str, fields: dict[str, object]) -> None:
    """A report with fields of other names and types never comes through unchecked."""
    try:
        report = parse_report(json.dumps({**fields, "type": kind}).encode())
    except FrameError:
        return
    assert parse_report(payload_of(encode_report(report))) == report


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
def test_reports_come_back_as_they_were(report: Report) -> None:
    """What the frontend encodes is what the engine parses."""
    assert parse_report(payload_of(encode_report(report))) == report


@pytest.mark.parametrize("key", ["id", "receiver", "firing", "target", "outcome", "error", "final"])
def test_each_field_of_a_delivery_is_checked(key: str) -> None:
    """A delivery with one field of a wrong type is refused, by the name of that field."""
    frame = parse(payload_of(encode_report(REPORTS[1])))
    with pytest.raises(FrameError, match=key):
        parse_report(json.dumps({**frame, key: 5}).encode())


def test_an_outcome_that_was_not_agreed_on_is_refused() -> None:
    """The outcome becomes a label of a metric, so only two values pass."""
    frame = parse(payload_of(encode_report(REPORTS[1])))
    with pytest.raises(FrameError, match="neither applied nor failed"):
        parse_report(json.dumps({**frame, "outcome": "perhaps"}).encode())


def test_long_texts_are_cut_rather_than_refused() -> None:
    """An endless error text of a server costs the report its tail, not the report."""
    report = parse_report(payload_of(encode_report(Problem("x" * 100_000))))
    assert isinstance(report, Problem)
    assert len(report.text) == 4096
