# SPDX-License-Identifier: Apache-2.0
"""The actions `alertmanager` and `webhook`: what is told, and that an alert stays the same alert."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch import pipe
from overlaywatch.actions.alertmanager import AlertmanagerAction
from overlaywatch.actions.notification import alert_name
from overlaywatch.actions.webhook import WebhookAction
from overlaywatch.model import Decision, Failure, Forecast, OutcomeKind
from overlaywatch.units import MIB
from tests.actions.facts import Desk, decision, surroundings, table

UNIX: Final = 1_767_268_804.0
AROUND: Final = surroundings(monotonic=lambda: 1010.0)  # ten seconds after the decision


def pager(desk: Desk, **keys: object) -> AlertmanagerAction:
    """An action for two Alertmanagers."""
    urls = ["http://am-1:9093", "https://am-2:9093/prefix"]
    return AlertmanagerAction.from_table(table(urls=urls, **keys), desk.context(lambda: UNIX))


def hook(desk: Desk, url: str = "https://chat:8443/hooks/s3cr3t") -> WebhookAction:
    """An action for a webhook."""
    return WebhookAction.from_table(table(url=url, labels={"team": "storage"}), desk.context(lambda: UNIX))


def tell(action: AlertmanagerAction | WebhookAction, desk: Desk, because: Decision) -> Mapping[str, object]:
    """What is handed to delivery."""
    outcome = action.apply(action.plan(because, AROUND), AROUND)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.APPLIED, "handed to delivery")
    return desk.sent[-1]


NEAR_THE_END: Final = decision(
    headroom=7 * MIB,
    chain=["dm-snapshot:live-rw"],
    failure=Failure.DEAD_ROOT,
    reason="used 97.1% is above 95%",
    forecast=Forecast(1e6, 7.3),
)


def test_frame_for_alertmanager() -> None:
    """Everything that delivery needs, whole: a person can read what the pager will show."""
    desk = Desk()
    frame = tell(
        pager(desk, labels={"severity": "critical"}, annotations={"runbook_url": "http://wiki/1"}), desk, NEAR_THE_END
    )
    assert {name: frame[name] for name in frame if name != "body"} == {
        "type": "notify",
        "id": "it:root:last-resort:/",
        "receiver": "it",
        "kind": "alertmanager",
        "config": {"urls": ["http://am-1:9093", "https://am-2:9093/prefix"], "timeout": 10.0},
        "firing": True,
        "labels": {
            "alertname": "OverlayRootLastResort",
            "policy": "root",
            "stage": "last-resort",
            "mount_point": "/",
            "instance": "live-7",
            "severity": "critical",
        },
        "annotations": {
            "summary": "/ on live-7: 7.0 MiB can still be written",
            "description": (
                "Stage last-resort of policy root: used 97.1% is above 95%. "
                "7.0 MiB can still be written; the limit is dm-snapshot:live-rw. "
                "At the limit: reads fail as well as writes, and only a reboot helps. "
                "Full in 7 s at the present rate."
            ),
            "remedy": "delete files",
            "runbook_url": "http://wiki/1",
        },
        "starts_at": UNIX - 10,
        "ends_at": None,
    }


def test_body_for_webhook() -> None:
    """One document with the decision and the mount point as in the status document."""
    desk = Desk()
    frame = tell(hook(desk), desk, NEAR_THE_END)
    body = frame["body"]
    assert isinstance(body, dict)
    assert (frame["kind"], frame["config"]) == ("webhook", {"url": "https://chat:8443/hooks/s3cr3t", "timeout": 10.0})
    assert (body["version"], body["status"], body["receiver"]) == (1, "firing", "it")
    assert body["id"] == frame["id"] == f"it:root:last-resort:/:{UNIX - 10:.3f}"
    assert (body["labels"]["team"], body["labels"]["severity"]) == ("storage", "warning")
    assert (body["decision"]["action"], body["decision"]["reason"]) == ("it", "used 97.1% is above 95%")
    assert (body["mount"]["headroom_bytes"], body["mount"]["limit"]) == (7 * MIB, "dm-snapshot:live-rw")


@pytest.mark.parametrize("make", [pager, hook])
def test_plan_shows_where_without_secrets(make: Callable[[Desk], AlertmanagerAction | WebhookAction]) -> None:
    """Host and port; the path of a chat's webhook is its password. Planning sends nothing."""
    desk = Desk()
    plan = make(desk).plan(NEAR_THE_END, AROUND)
    targets = "http://am-1:9093, https://am-2:9093" if "am-1" in plan.steps[0] else "https://chat:8443"
    assert plan.steps == (f"tell {targets}: / on live-7: 7.0 MiB can still be written",)
    assert desk.sent == []


def test_alert_keeps_its_identity_while_figures_change() -> None:
    """For Alertmanager a second firing is the same alert; for a webhook it is news."""
    desk = Desk()
    later = replace(NEAR_THE_END, at=1005.0, verdict=decision(headroom=MIB).verdict, reason="used 99% is above 95%")
    first, second = (tell(pager(desk), desk, because) for because in (NEAR_THE_END, later))
    assert (first["id"], first["labels"]) == (second["id"], second["labels"])
    assert first["annotations"] != second["annotations"]
    assert tell(hook(desk), desk, NEAR_THE_END)["id"] != tell(hook(desk), desk, later)["id"]


def test_resolved_frame_takes_back_the_very_alert() -> None:
    """The same id and labels, an end, and the document says so."""
    desk = Desk()
    for action in (pager(desk), hook(desk)):
        frame = tell(action, desk, NEAR_THE_END)
        over = action.resolve(frame, UNIX + 60)
        assert (over["firing"], over["ends_at"], over["starts_at"]) == (False, UNIX + 60, UNIX - 10)
        assert [over[key] for key in ("id", "labels", "receiver", "config")] == [
            frame[key] for key in ("id", "labels", "receiver", "config")
        ]
        body, before = over["body"], frame["body"]
        assert isinstance(body, dict)
        assert isinstance(before, dict)
        assert (body["status"], body["ends_at"], body["mount"]) == ("resolved", UNIX + 60, before["mount"])
        assert (frame["firing"], before["status"]) == (True, "firing"), "the frame that was sent stays as it was"


def test_resolved_never_ends_before_it_began() -> None:
    """Alertmanager refuses such alerts, and clocks are set back on live systems."""
    desk = Desk()
    action = pager(desk)
    assert action.resolve(tell(action, desk, NEAR_THE_END), UNIX - 9999)["ends_at"] == UNIX - 10


def test_alert_of_the_run_before_can_be_resolved() -> None:
    """What the state file keeps of a frame is enough to take it back."""
    desk = Desk()
    frame = tell(hook(desk), desk, NEAR_THE_END)
    kept = {**frame, "annotations": {}, "ends_at": None, "body": {}}
    over = hook(desk).resolve(kept, UNIX)
    body = over["body"]
    assert isinstance(body, dict)
    assert (over["id"], body["status"], body["decision"], body["mount"]) == (frame["id"], "resolved", None, None)


def test_unknown_is_told_as_unknown() -> None:
    """No figure is made up: an upper bound is said to be one, and what is not known is not told."""
    desk = Desk()
    unknown = decision(headroom=None, failure=None)
    frame = tell(pager(desk), desk, unknown)
    annotations = frame["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["summary"] == "/ on live-7: unknown how much can still be written"
    assert "At the limit" not in annotations["description"]
    assert "Full in" not in annotations["description"]
    at_most = replace(unknown, verdict=replace(unknown.verdict, headroom_at_most_bytes=MIB))
    annotations = tell(pager(desk), desk, at_most)["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["summary"] == "/ on live-7: at most 1.0 MiB can still be written"


def test_delivery_that_takes_nothing_is_a_failure() -> None:
    """An outbox that is full, or gone, is said to be; nothing is raised into the tick."""

    def full(frame: Mapping[str, object]) -> None:
        raise OverflowError(f"{len(frame) * 0 + 256} alerts are firing already")

    action = replace(pager(Desk()), send=full)
    outcome = action.apply(action.plan(NEAR_THE_END, AROUND), AROUND)
    assert (outcome.kind, outcome.reason) == (
        OutcomeKind.FAILED,
        "cannot be handed to delivery: 256 alerts are firing already",
    )


@pytest.mark.parametrize(
    ("policy", "stage", "expected"),
    [
        ("root", "warn", "OverlayRootWarn"),
        ("root", "last-resort", "OverlayRootLastResort"),
        ("var_log", "2nd", "OverlayVarLog2nd"),
        ("Root", "WARN", "OverlayRootWARN"),
    ],
)
def test_alert_names_are_camel_case(policy: str, stage: str, expected: str) -> None:
    """As Prometheus' own rules are named, and all with the same first word."""
    assert alert_name(policy, stage) == expected


NAMES: Final = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)


@given(policy=NAMES, stage=NAMES, mount_point=st.binary(max_size=30), reason=st.text(max_size=30))
def test_every_frame_goes_through_the_pipe(policy: str, stage: str, mount_point: bytes, reason: str) -> None:
    """Whatever a mount point is called, the frame is JSON and comes out as it went in."""
    desk = Desk()
    path = "/" + mount_point.decode("utf-8", "surrogateescape")
    because = replace(decision(path, reason=reason), policy=policy, stage=stage)
    frame = tell(hook(desk), desk, because)
    (payload,) = pipe.Decoder().feed(pipe.encode(frame))
    assert json.loads(payload) == frame
    labels = frame["labels"]
    assert isinstance(labels, dict)
    assert re.fullmatch(r"Overlay[A-Za-z0-9]+", labels["alertname"])
    assert all(value.isprintable() for value in labels.values())
