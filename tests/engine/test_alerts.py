# SPDX-License-Identifier: Apache-2.0
"""Alerts over the life of a stage, of the frontend, and of the daemon itself: none lost, none left standing."""

import json

import pytest

from overlaywatch.engine import alerts
from overlaywatch.engine.outbox import MOST_KEPT, Outbox
from overlaywatch.pipe import Delivered
from tests.engine.alerting import Alerting, body_of, brief, seen, without


def test_what_is_told_fires_until_its_stage_ends() -> None:
    """Once each, with its end; nothing in between."""
    one = Alerting()
    one.fire("page", "hook")
    firing = one.told()
    one.reconcile(seen())
    between = one.told()
    one.reconcile(seen(active=False))

    assert brief(firing) == [("page", True), ("hook", True)]
    assert between == []
    assert brief(one.told()) == [("page", False), ("hook", False)]
    assert one.told() == []


def test_an_unknown_stage_ends_no_alert() -> None:
    """What cannot be seen is not over."""
    one = Alerting()
    one.fire("page")
    one.told()
    one.reconcile(seen(active=None))

    assert one.told() == []


@pytest.mark.parametrize("mount_point", ["/mnt/a b", "/mnt/new\nline", "/mnt/\x1b[31m", "/mnt/\udcff", "/mnt/ü"])
def test_an_alert_of_any_mount_point_stands(mount_point: str) -> None:
    """Labels spell a name so that it can be printed; the alert is still that of this very stage."""
    one = Alerting()
    decisions = one.fire("page", mount_point=mount_point)
    one.reconcile(seen(mount_point, actions=("page",)))
    one.renew(seen(mount_point, actions=("page",)), decisions)
    told = one.told()
    one.reconcile(seen(mount_point, active=False))

    assert brief(told) == [("page", True)]
    assert brief(one.told()) == [("page", False)]


def test_an_alert_that_fires_again_is_the_same_alert() -> None:
    """Newer figures under the old id and beginning: one end ends it for who opened a ticket at the first document."""
    one = Alerting()
    one.fire("page", "hook")
    first = one.told()
    one.now, one.unix_time = one.now + 300, one.unix_time + 300
    one.fire("page", "hook")
    again = one.told()
    one.reconcile(seen(active=False))
    ends = one.told()

    assert [frame["id"] for frame in again] == [frame["id"] for frame in first] == [frame["id"] for frame in ends]
    assert {frame["starts_at"] for frame in first + again + ends} == {1_700_000_000.0}
    assert {body_of(frame)["id"] for frame in (first[1], again[1], ends[1])} == {first[1]["id"]}
    assert body_of(ends[1])["status"] == "resolved"


def test_a_new_firing_is_a_new_alert() -> None:
    """When it was over in between, a webhook gets a document with another id."""
    one = Alerting()
    one.fire("hook")
    (first,) = one.told()
    one.reconcile(seen(active=False))
    one.told()
    one.now, one.unix_time = one.now + 300, one.unix_time + 300
    one.fire("hook")
    (second,) = one.told()

    assert first["id"] != second["id"]


# --- the frontend ---------------------------------------------------------------------------------


def test_a_new_frontend_is_told_what_it_has_to_go_on_telling() -> None:
    """Alertmanager alerts in any case; a document for a webhook unless it has arrived."""
    one = Alerting()
    one.fire("page", "hook")
    frames = one.told()
    one.outbox.tell_again()
    undelivered = one.told()
    one.deliver(frames)
    one.outbox.tell_again()

    assert brief(undelivered) == [("page", True), ("hook", True)]
    assert brief(one.told()) == [("page", True)]


def test_a_failed_attempt_is_not_yet_the_end() -> None:
    """Only a delivery, or giving up for good, ends the need to tell a webhook."""
    one = Alerting()
    one.fire("hook")
    frames = one.told()
    one.deliver(frames, "failed")
    one.outbox.tell_again()
    again = one.told()
    one.deliver(frames, "failed", final=True)
    one.outbox.tell_again()

    assert brief(again) == [("hook", True)]
    assert one.told() == []


def test_an_end_is_told_again_until_it_has_arrived() -> None:
    """A frontend that dies with it does not leave the alert standing."""
    one = Alerting()
    one.fire("page", "hook")
    one.deliver(one.told())
    one.reconcile(seen(active=False))
    ends = one.told()
    one.outbox.tell_again()
    again = one.told()
    one.deliver(ends)
    one.outbox.tell_again()

    assert brief(again) == [("page", False), ("hook", False)]
    assert one.told() == []


@pytest.mark.parametrize(
    "report",
    [
        Delivered("no such id", "page", True, "http://x", "applied"),
        Delivered("page:root:warn:/", "somebody else", True, "http://x", "applied"),
        Delivered("page:root:warn:/", "page", False, "http://x", "applied"),
    ],
)
def test_reports_nobody_asked_for_change_nothing(report: Delivered) -> None:
    """The frontend talks to strangers: what it says of others' alerts is not believed, nor counted."""
    one = Alerting()
    one.fire("page")
    one.told()
    before = one.outbox.as_json()

    assert not one.outbox.delivered(report)
    assert one.outbox.as_json() == before


# --- the daemon -----------------------------------------------------------------------------------


def test_after_a_restart_an_alertmanager_alert_is_told_again_as_the_same() -> None:
    """With the beginning that it had, and the figures of now; a delivered document is not repeated."""
    one = Alerting()
    one.fire("page", "hook")
    one.deliver(one.told())
    after = one.restart()
    after.reconcile(seen())
    after.renew(seen())
    (frame,) = after.told()

    assert (frame["receiver"], frame["starts_at"]) == ("page", one.unix_time)
    assert body_of(frame)["mount"] is not None


def test_a_daemon_killed_before_it_could_tell_tells_after_its_restart() -> None:
    """The stage was written down as active, the alert was not: it is told all the same."""
    after = Alerting().restart()
    after.reconcile(seen())
    after.renew(seen())

    assert brief(after.told()) == [("page", True), ("hook", True)]


def test_an_undelivered_document_is_told_again_under_its_old_id() -> None:
    """Killed while the receiver was away: better twice than never, and the receiver can see that it is the same."""
    one = Alerting()
    one.fire("hook")
    (first,) = one.told()
    after = one.restart()
    after.renew(seen(actions=("hook",)))
    (again,) = after.told()

    assert again["id"] == first["id"] == body_of(again)["id"]


def test_what_has_just_been_told_is_not_told_twice_in_the_first_look() -> None:
    """A stage that becomes active in the first look of a run."""
    one = Alerting()
    decisions = one.fire("page", "hook")
    one.renew(seen(), decisions)

    assert brief(one.told()) == [("page", True), ("hook", True)]


@pytest.mark.parametrize("delivered", [True, False])
def test_an_end_during_a_restart_is_told(delivered: bool) -> None:
    """The stage ended while no daemon was there, or its end was not delivered before the daemon died."""
    one = Alerting()
    one.fire("page", "hook")
    one.deliver(one.told())
    if not delivered:
        one.reconcile(seen(active=False))
    after = one.restart()
    after.reconcile(seen(active=False))
    ends = after.told()

    assert brief(ends) == [("page", False), ("hook", False)]
    assert body_of(ends[1])["status"] == "resolved"


def test_a_delivered_end_is_not_told_after_a_restart() -> None:
    """It is over, and everybody knows."""
    one = Alerting()
    one.fire("page", "hook")
    one.deliver(one.told())
    one.reconcile(seen(active=False))
    one.deliver(one.told())
    after = one.restart()
    after.reconcile(seen(active=False))
    after.renew(seen(active=False))

    assert after.told() == []


# --- another configuration -------------------------------------------------------------------------


def test_a_reload_that_removes_an_action_ends_its_alert() -> None:
    """With the document that says so; it could not be made later, without the action."""
    one = Alerting()
    one.fire("page", "hook")
    one.told()
    alerts.retire(one.outbox, one.actions, without(one.actions, "hook"), one.unix_time)
    (end,) = one.told()

    assert (end["receiver"], end["firing"], body_of(end)["status"]) == ("hook", False, "resolved")
    assert len(one.outbox.firing()) == 1


def test_a_stage_that_does_not_call_for_an_action_any_more_ends_its_alert() -> None:
    """The stage is still active, but this receiver is not to be told of it."""
    one = Alerting()
    one.fire("page", "hook")
    one.told()
    one.reconcile(seen(actions=("page",)))

    assert brief(one.told()) == [("hook", False)]


def test_a_restart_without_the_action_ends_what_can_be_ended() -> None:
    """An alert needs only its labels to be ended; half a document is not posted to a webhook."""
    one = Alerting()
    one.fire("page", "hook")
    one.told()
    after = one.restart()
    after.actions = {}
    after.reconcile(seen())

    assert brief(after.told()) == [("page", False)]
    assert after.outbox.as_json() == [entry for entry in after.outbox.as_json() if entry["receiver"] == "page"]


def test_a_receiver_that_is_new_is_told_of_stages_that_are_active() -> None:
    """After a reload, as after a restart."""
    one = Alerting()
    one.fire("page")
    one.deliver(one.told())
    one.renew(seen())

    assert brief(one.told()) == [("page", True), ("hook", True)]


# --- bounds ---------------------------------------------------------------------------------------


def test_alerts_are_bounded() -> None:
    """A policy without measure costs no memory; what is refused is said, and what fires already can go on."""
    outbox = Outbox()
    frames = [
        {"id": f"{n}", "receiver": "page", "labels": {"policy": "p", "stage": "s", "mount_point": f"/{n}"}}
        for n in range(MOST_KEPT + 1)
    ]
    for frame in frames[:-1]:
        outbox.send(frame)

    with pytest.raises(OverflowError):
        outbox.send(frames[-1])
    outbox.send(frames[0])
    assert len(outbox.firing()) == MOST_KEPT


@pytest.mark.parametrize(
    "value", [None, 5, "x", {}, [1], [{}], [{"labels": {}}], [{"id": 1, "receiver": 2, "labels": [], "starts_at": "x"}]]
)
def test_nonsense_in_the_state_file_is_no_alert(value: object) -> None:
    """A daemon that guards a root must start, whatever it finds."""
    outbox = Outbox()
    outbox.restore(value)

    assert outbox.as_json() == []


def test_what_is_kept_is_json() -> None:
    """As it is written, so it is read."""
    one = Alerting()
    one.fire("page", "hook", mount_point="/mnt/\udcff")
    one.deliver(one.told()[:1])
    kept = json.loads(json.dumps(one.outbox.as_json()))
    outbox = Outbox()
    outbox.restore(kept)

    assert outbox.as_json() == one.outbox.as_json()
    assert [entry["delivered"] for entry in kept] == [True, False]
