# SPDX-License-Identifier: Apache-2.0
"""What is said in the journal: every change once, nothing twice, and never more than somebody can read."""

import logging
from dataclasses import replace

import pytest

from overlaywatch.engine import journal
from overlaywatch.engine.counters import Counters
from overlaywatch.engine.hearsay import MOST_LINES, WINDOW, Hearsay
from overlaywatch.engine.journal import Remark, Remarks
from overlaywatch.engine.outbox import Outbox
from overlaywatch.model import (
    Forecast,
    Host,
    LayerState,
    Outcome,
    OutcomeKind,
    Reading,
    SourceReport,
    StageStatus,
    Survey,
    Tick,
)
from overlaywatch.pipe import Delivered, Listening, Problem
from overlaywatch.units import MIB
from tests import verdicts
from tests.engine.alerting import Alerting, seen

HOST = Host("live-7", "6.1.0", "b00t", privileged=True)


def tick(
    now: float = 0.0,
    *,
    state: LayerState = LayerState.OK,
    reason: str = "",
    error: str = "",
    used: float = 0.1,
    mount_point: str = "/",
    outcomes: tuple[Outcome, ...] = (),
) -> Tick:
    """A tick with one layer, one source and one mount point."""
    reading = Reading(verdicts.SNAPSHOT, state, reason=reason)
    survey = Survey((), {verdicts.SNAPSHOT: reading}, (), (), (SourceReport("mounts", not error, 0.0, error),))
    verdict = replace(verdicts.root(used=used, headroom=MIB, mount_point=mount_point), remedy="delete files")
    forecasts = {mount_point: Forecast(1.0, 90.0)}
    return Tick(now, 1.7e9, HOST, survey, (verdict,), forecasts, outcomes=outcomes)


def said(*ticks: Tick) -> list[list[Remark]]:
    """What is said at each of them."""
    remarks = Remarks()
    return [remarks.of(one) for one in ticks]


def test_a_state_is_told_when_it_changes() -> None:
    """From what to what and why; the worse, the louder."""
    invalid = tick(state=LayerState.INVALID, reason="the kernel says 'Invalid'")
    first, second, again, back = said(tick(), invalid, invalid, tick())

    assert (first, again) == ([], [])
    assert second == [(logging.CRITICAL, "dm-snapshot:live-rw is invalid, was ok: the kernel says 'Invalid'")]
    assert back == [(logging.INFO, "dm-snapshot:live-rw is ok, was invalid")]


def test_a_source_that_fails_is_told_once_with_its_remedy() -> None:
    """And when it can be read again."""
    failing = [tick(now, error="/proc/self/mountinfo: Permission denied") for now in (0.0, 10.0, 200.0)]
    spoken = said(tick(), *failing, tick(300.0))

    assert [len(one) for one in spoken] == [0, 1, 0, 0, 1]
    assert spoken[1][0] == (
        logging.WARNING,
        "source mounts: /proc/self/mountinfo: Permission denied; ignoring it until it can be read",
    )
    assert spoken[4] == [(logging.INFO, "source mounts can be read again")]


def test_an_error_with_figures_does_not_flood_the_journal() -> None:
    """An unknown line holds other numbers at every tick, and the journal may lie on what we guard."""
    ticks = [tick(now / 10, error=f"unknown line {now}") for now in range(3_000)]
    spoken = [one for remarks in said(*ticks) for one in remarks]

    assert len(spoken) == 5


def test_a_source_that_comes_and_goes_does_not_flood_the_journal() -> None:
    """Once a minute at most; the last word is the truth in the end."""
    ticks = [tick(now / 10, error="gone" if now % 2 else "") for now in range(3_000)]
    spoken = [one for remarks in said(*ticks, tick(1000.0)) for one in remarks]

    assert len(spoken) <= 7
    assert spoken[-1] == (logging.INFO, "source mounts can be read again")


def test_use_is_spoken_of_on_its_way_up() -> None:
    """At 70, 85 and 95 %, once each; a figure that trembles at a bound is spoken of once."""
    course = [0.69, 0.71, 0.69, 0.71, 0.86, 0.96, 0.999, 0.60, 0.75]
    spoken = said(*[tick(used=used) for used in course])

    assert [len(one) for one in spoken] == [0, 1, 0, 0, 1, 1, 0, 0, 1]
    ((level, text),) = spoken[1]
    assert (level, text.split("; ")) == (
        logging.WARNING,
        [
            "/: 71.0% of dm-snapshot:live-rw used, 1.0 MiB left, full in 90 s",
            "at its end: read_only",
            "remedy: delete files",
        ],
    )


def test_a_policy_without_a_mount_point_is_told_once() -> None:
    """`/var` is a folder on `/` here: a policy for it would sleep for ever, and nobody would know."""
    asleep = StageStatus("var", "warn", "/var", None, None, "the mount point was not seen", ("page",))
    awake = StageStatus("root", "warn", "/", False, None, "used 10.0% is not above 80%", ("page",))
    one = replace(tick(), stages=(awake, asleep, replace(asleep, stage="last")))
    blind = replace(tick(1.0, error="not mounted"), stages=(awake, asleep), verdicts=())
    first, again, without, once_more = said(one, one, replace(one, stages=(awake,)), one)
    told = "policy var does nothing: no watched file system is mounted on /var; "
    assert first == once_more
    assert [(level, text.startswith(told)) for level, text in first] == [(logging.WARNING, True)]
    assert again == without == []
    assert [text for _, text in said(blind)[0] if "policy" in text] == []


def test_what_is_included_and_not_mounted_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """And that nothing at all is watched has its true reason."""
    caplog.set_level(logging.INFO)
    journal.not_watched(["/", "/run"], ["/"])
    journal.not_watched(["/"], ["/", "/var", "/home"])
    journal.ready([], ["/var"])
    journal.ready([], [])
    assert [record.getMessage() for record in caplog.records] == [
        "[watch] include: no file system is mounted on /var, /home: nothing is watched there",
        "ready: watching nothing: nothing that is included is mounted",
        "ready: watching nothing: no file system here can fill",
    ]


def test_a_name_with_a_line_break_stays_on_its_line() -> None:
    """With FUSE anybody may choose a mount point."""
    ((_, text),) = said(tick(used=0.8, mount_point="/mnt/\n<0>the machine is on fire"))[0]

    assert text.startswith("/mnt/\\n<0>the machine is on fire: 80.0%")


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (OutcomeKind.APPLIED, logging.WARNING),
        (OutcomeKind.DRY_RUN, logging.WARNING),
        (OutcomeKind.FAILED, logging.ERROR),
        (OutcomeKind.REFUSED, logging.ERROR),
    ],
)
def test_every_outcome_is_told(kind: OutcomeKind, level: int) -> None:
    """What was done to the machine, or was not, and why."""
    outcome = Outcome("purge", "purge", kind, "deleted 3 of 3 files", 0.0)

    assert said(tick(outcomes=(outcome,))) == [[(level, f"purge: {kind.value}: deleted 3 of 3 files")]]


# --- what the frontend says ------------------------------------------------------------------------


def test_where_it_listens_and_as_whom_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """So that a person knows where to look, and that nobody listens as root."""
    hearsay = Hearsay(Outbox(), Counters(0.0))
    before = hearsay.is_listening
    with caplog.at_level(logging.INFO):
        hearsay.take([Listening(("127.0.0.1:10087",), ("[::1]:80: Permission denied",), "runs as nobody")], 0.0)

    assert (before, hearsay.is_listening) == (False, True)
    assert [record.message for record in caplog.records] == [
        "the frontend runs as nobody",
        "listening on http://127.0.0.1:10087/",
        "[::1]:80: Permission denied",
    ]


def test_a_frontend_that_talks_without_end_is_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    """It reads what strangers send: they must not fill our journal through it. After a minute it is heard again."""
    caplog.set_level(logging.INFO)
    hearsay = Hearsay(Outbox(), Counters(0.0))
    for number in range(10_000):
        hearsay.take([Problem(f"problem {number}\nTraceback:\x1b[2J"), Listening(("x",))], number / 1000)
    spoken = len(caplog.records)
    hearsay.take([Problem("one more")], WINDOW + 1)

    assert spoken == MOST_LINES + 1
    assert "the rest is not shown" in caplog.messages[-2]
    assert caplog.messages[0:2] == ["frontend: problem 0", "frontend: Traceback:\\x1b[2J"]
    assert caplog.messages[-1] == "frontend: one more"


def test_only_our_own_notifications_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What it says about others would be a label that strangers choose."""
    one = Alerting()
    one.fire("hook")
    one.reconcile(seen())
    (frame,) = one.told()
    counters = Counters(0.0)
    hearsay = Hearsay(one.outbox, counters)
    ours = Delivered(str(frame["id"]), "hook", True, "http://chat:8080", "failed", "Connection refused")
    hearsay.take([ours, replace(ours, receiver="x" * 99), replace(ours, id="other")], 0.0)

    assert counters.as_json(tick(), ready=True)["alerts"] == [["hook", "failed", 1]]
    assert caplog.messages == ["hook: http://chat:8080: Connection refused"]
