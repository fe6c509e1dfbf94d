# SPDX-License-Identifier: Apache-2.0
"""What is remembered over a restart, in a real file, on a real tmpfs that may be full."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.engine.fitting import encoded, fitted
from overlaywatch.engine.ledger import MOST_PER_ACTION, Ledger
from overlaywatch.engine.memory import STATE_FILE, Memory, read_ledger
from overlaywatch.engine.outbox import MOST_KEPT, Outbox
from overlaywatch.engine.owed import MOST_KEPT as MOST_OWED
from overlaywatch.engine.owed import Owed
from overlaywatch.engine.pause import is_paused
from overlaywatch.engine.state_file import AlreadyRunningError, StateFile, read_state
from overlaywatch.forecast import Forecaster
from overlaywatch.phases import Phase, StageState
from overlaywatch.policy import PolicyState, StageKey
from overlaywatch.policy_state import from_json, to_json
from tests.actions.private_mounts import in_private_mounts, mount_tmpfs
from tests.engine.alerting import Alerting, seen

ACTIVE = PolicyState({StageKey("root", "warn", "/"): StageState(Phase.ACTIVE, 1.0, 1.0, 1.0)})


def frame(mount_point: str, padding: int = 0) -> dict[str, object]:
    """An alert as the state file keeps it."""
    labels = {"policy": "root", "stage": "warn", "mount_point": mount_point}
    return {
        "type": "notify",
        "id": f"page:root:warn:{mount_point}",
        "receiver": "page",
        "kind": "alertmanager",
        "config": {"urls": ["http://am:9093" + "x" * padding]},
        "labels": labels,
        "starts_at": 1.7e9,
    }


@pytest.fixture
def memories() -> Iterator[list[Memory]]:
    """Those that are open; closed afterwards."""
    made: list[Memory] = []
    yield made
    for one in made:
        one.close()


def opened(memories: list[Memory], folder: Path, boot_id: str = "b00t", outbox: Outbox | None = None) -> Memory:
    """The memory of a daemon that has just been started; the one before it is gone."""
    while memories:
        memories.pop().close()
    memories.append(Memory(folder, boot_id, outbox or Outbox()))
    return memories[-1]


def test_a_restart_goes_on_as_if_nothing_had_happened(tmp_path: Path, memories: list[Memory]) -> None:
    """Policies, ledger, what is owed, alerts, and what was learned about fills."""
    alerting, forecaster = Alerting(), Forecaster()
    one = opened(memories, tmp_path, outbox=alerting.outbox)
    decisions = alerting.fire("page", "hook")
    one.ledger.note("purge", 5.0)
    one.owed.add(decisions[0])
    forecaster.history("/").push(1.0, 1000, None, 2000)
    one.save(ACTIVE, forecaster)
    outbox = Outbox()
    again = opened(memories, tmp_path, outbox=outbox)

    assert from_json(again.restored_policy_state, 100.0) == ACTIVE
    assert again.ledger.past("purge") == (5.0,)
    assert [one.action for one in again.owed.again(seen(), 9.0)] == ["page"]
    assert outbox.as_json() == alerting.outbox.as_json()
    assert Forecaster.from_json(again.restored_forecasts, 2.0).history("/").headroom == 1000


@pytest.mark.parametrize(("before", "after"), [("b00t", "another"), ("", "")])
def test_a_memory_of_another_boot_is_none(tmp_path: Path, memories: list[Memory], before: str, after: str) -> None:
    """Its clock is not ours; and if boots cannot be told apart, nothing is believed."""
    one = opened(memories, tmp_path, before)
    one.ledger.note("reboot", 5.0)
    one.save(ACTIVE, Forecaster())
    again = opened(memories, tmp_path, after)

    assert (again.restored_policy_state, again.ledger.as_json()) == (None, {})
    again.save(PolicyState(), Forecaster())
    assert read_state(tmp_path / STATE_FILE)["boot_id"] == after


def test_two_daemons_do_not_share_a_memory(tmp_path: Path, memories: list[Memory]) -> None:
    """Each would do what the other one does; the second says where it met the first."""
    opened(memories, tmp_path)

    with pytest.raises(AlreadyRunningError, match=str(tmp_path)):
        Memory(tmp_path, "b00t", Outbox())


def test_a_child_that_outlives_the_daemon_does_not_keep_the_next_one_out(
    tmp_path: Path, memories: list[Memory]
) -> None:
    """An action under way gives back what only the engine may hold; the lock goes with the engine."""
    one = opened(memories, tmp_path)
    go, release = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        one.close()
        os.close(release)
        os.read(go, 1)
        os._exit(0)
    deadline = 1_000_000
    while f"/{STATE_FILE}" in _files_of(pid) and deadline:
        deadline -= 1
    opened(memories, tmp_path)
    os.close(release)
    os.close(go)
    os.waitpid(pid, 0)

    assert deadline


def _files_of(pid: int) -> str:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return " ".join(found)


def test_without_a_folder_nothing_is_kept_and_it_is_said(
    tmp_path: Path, memories: list[Memory], caplog: pytest.LogCaptureFixture
) -> None:
    """An ordinary user: alerts work, and whoever wants to act is told why not."""
    (tmp_path / "file").touch()
    one = opened(memories, tmp_path / "file" / "folder")

    assert not one.is_kept
    assert "nothing is changed on this machine" in caplog.text
    with pytest.raises(OSError, match="run as root"):
        one.save(ACTIVE, Forecaster())


@in_private_mounts
def test_a_full_tmpfs_at_the_start_is_not_the_end(tmp_path: Path) -> None:
    """As soon as there is room the state is kept, and actions are possible again; until then they are not."""
    folder = mount_tmpfs(tmp_path / "run", "1m")
    (folder / "junk").write_bytes(bytes(1_000_000))
    one = Memory(folder, "b00t", Outbox())
    refused = False
    try:
        one.save(ACTIVE, Forecaster())
    except OSError as error:
        refused = "No space left" in str(error.strerror)
    (folder / "junk").unlink()
    one.save(ACTIVE, Forecaster())
    (folder / "junk").write_bytes(bytes(700_000))
    one.ledger.note("purge", 5.0)
    one.save(ACTIVE, Forecaster())
    one.close()

    assert refused
    assert read_ledger(folder, "b00t").past("purge") == (5.0,)


def test_what_does_not_fit_is_left_out_and_the_rest_is_kept(tmp_path: Path, memories: list[Memory]) -> None:
    """Hundreds of alerts with long URLs: they may be told twice, but nothing is done twice."""
    outbox = Outbox()
    one = opened(memories, tmp_path, outbox=outbox)
    for number in range(MOST_KEPT):
        outbox.send(frame(f"/{number}", padding=600))
    one.ledger.note("purge", 5.0)
    one.save(ACTIVE, Forecaster())
    again = opened(memories, tmp_path)

    assert again.ledger.past("purge") == (5.0,)
    assert from_json(again.restored_policy_state, 100.0) == ACTIVE


def test_of_alerts_that_do_not_fit_the_latest_are_kept(tmp_path: Path, memories: list[Memory]) -> None:
    """As many as there is room for; those of long ago may be told twice."""
    outbox, restored = Outbox(), Outbox()
    one = opened(memories, tmp_path, outbox=outbox)
    for number in range(MOST_KEPT):
        outbox.send({**frame(f"/{number}", padding=600), "starts_at": 1.7e9 + number})
    one.save(ACTIVE, Forecaster())
    opened(memories, tmp_path, outbox=restored)
    kept = [str(entry["id"]).rpartition("/")[2] for entry in restored.as_json()]

    assert 100 < len(kept) < MOST_KEPT
    assert kept == [str(number) for number in range(MOST_KEPT - len(kept), MOST_KEPT)]


def test_too_many_stages_forget_those_that_wait_and_those_of_long_ago(
    tmp_path: Path, memories: list[Memory], caplog: pytest.LogCaptureFixture
) -> None:
    """What was done lately is not called for again after a restart; nothing refuses to act because of it; told once."""
    waiting = {StageKey("p" * 300, "w", f"/{n}"): StageState(Phase.PENDING, 1.0 + n) for n in range(500)}
    active = {StageKey("p" * 300, "a", f"/{n}"): StageState(Phase.ACTIVE, 1.0, 1.0, 1.0 + n) for n in range(200)}
    one = opened(memories, tmp_path)
    one.ledger.note("reboot", 5.0)
    for _ in range(2):
        one.save(PolicyState({**waiting, **active}), Forecaster())
    again = opened(memories, tmp_path)
    kept = from_json(again.restored_policy_state, 1000.0).stages

    assert again.ledger.past("reboot") == (5.0,)
    assert kept.items() >= active.items()
    first = [key for key in kept if key.stage == "w"]
    assert set(first) == {StageKey("p" * 300, "w", f"/{n}") for n in range(len(first))}
    assert len(first) > 20
    assert caplog.text.count("have fewer policies") == 1
    one = opened(memories, tmp_path)
    one.save(PolicyState({key: state for key, state in active.items() for key in _twins(key)}), Forecaster())
    latest = from_json(opened(memories, tmp_path).restored_policy_state, 1000.0).stages
    assert min(state.fired_at or 0.0 for state in latest.values()) > 50
    assert max(state.fired_at or 0.0 for state in latest.values()) == 200.0


def _twins(key: StageKey) -> list[StageKey]:
    return [StageKey(key.policy, f"{key.stage}{number}", key.mount_point) for number in range(3)]


@given(st.integers(0, 3000), st.integers(0, 12), st.integers(0, 12))
def test_what_is_fitted_fits(room: int, stages: int, alerts: int) -> None:
    """Or nothing but what was done and is owed is left; nothing is left out where there is room."""
    policies = to_json(PolicyState({StageKey("p", "s", f"/{n}"): StageState(Phase.PENDING, n) for n in range(stages)}))
    firing = [frame(f"/{number}") for number in range(alerts)]
    state = {"past": {"a": [1.0]}, "owed": [], "policies": policies, "alerts": firing, "forecasts": {"/": [1]}}
    kept = fitted(state, room)

    assert (kept["past"], kept["owed"]) == (state["past"], state["owed"])
    assert len(encoded(kept)) <= room or not (kept["policies"]["stages"] or kept["alerts"] or "forecasts" in kept)
    assert fitted(state, len(encoded(state)) + stages + alerts).keys() == state.keys()


def test_a_state_that_cannot_fit_at_all_is_an_error(tmp_path: Path, memories: list[Memory]) -> None:
    """Then nothing is done, because it could not be written down that it was."""
    one = opened(memories, tmp_path)
    for number in range(200):
        one.ledger.note(str(number) * 300, 5.0)

    with pytest.raises(OSError, match="do not fit"):
        one.save(ACTIVE, Forecaster())


def test_alerts_that_changed_are_to_be_saved(tmp_path: Path, memories: list[Memory]) -> None:
    """Told, delivered, ended: each once, also if the saving fails."""
    alerting = Alerting()
    one = opened(memories, tmp_path, outbox=alerting.outbox)
    behind = [one.is_behind]
    alerting.fire("page")
    behind.append(one.is_behind)
    one.save(ACTIVE, Forecaster())
    behind.append(one.is_behind)
    alerting.deliver(alerting.told())
    behind.append(one.is_behind)
    one.save(ACTIVE, Forecaster())
    alerting.deliver(alerting.told())
    behind.append(one.is_behind)

    assert behind == [False, True, False, True, False]


# --- the file --------------------------------------------------------------------------------------


def test_a_slot_that_is_no_json_is_no_state(tmp_path: Path) -> None:
    """With a checksum that is right: a daemon that guards a root must start, whatever it finds."""
    path = tmp_path / "state"
    path.write_bytes(b"")
    file = StateFile(path)
    file.save({"number": 1})
    file.close()
    raw = path.read_bytes()
    bad = raw.replace(b'{"number":1}', b'["number",1]')
    path.write_bytes(bad)

    assert read_state(path) == {}


# --- ledger, owed, pause -----------------------------------------------------------------------------


def test_the_ledger_keeps_the_last_hundred_times() -> None:
    """And takes back what was not done after all."""
    ledger = Ledger()
    for number in range(MOST_PER_ACTION + 5):
        ledger.note("purge", float(number))
    ledger.note("reboot", 1.0)
    ledger.take_back("reboot")

    assert ledger.past("purge")[0] == 5.0
    assert (ledger.past("reboot"), ledger.past("never")) == ((), ())
    assert Ledger.from_json(ledger.as_json()).past("purge") == ledger.past("purge")


@pytest.mark.parametrize("value", [None, [], "x", {"purge": 5}, {"purge": ["x"]}, {"purge": [True]}])
def test_nonsense_is_an_empty_ledger(value: object) -> None:
    """Nothing of it is believed."""
    assert Ledger.from_json(value).past("purge") == ()


def test_what_is_owed_is_asked_for_again_while_its_stage_is_active() -> None:
    """With the figures of now; when the stage has ended it is forgotten."""
    owed = Owed()
    (decision,) = Alerting().fire("page")
    owed.add(decision)
    owed.add(decision)
    asked = owed.again(seen(), 200.0)
    waiting = owed.again(seen(), 200.0, but={("root", "warn", "/", "page")})
    unknown = owed.again(seen(active=None), 200.0)
    still = owed.as_json()
    owed.again(seen(active=False), 200.0)

    assert [(one.action, one.at, one.reason) for one in asked] == [("page", 200.0, "used 80.0% is above 70.0%")]
    assert (waiting, unknown) == ([], [])
    assert still == [{"policy": "root", "stage": "warn", "mount_point": "/", "action": "page"}]
    assert owed.as_json() == []


def test_what_is_owed_is_bounded() -> None:
    """The oldest is forgotten first."""
    owed = Owed()
    for number in range(MOST_OWED + 3):
        (decision,) = Alerting().fire("page", mount_point=f"/{number}")
        owed.add(decision)

    assert (len(owed.as_json()), owed.as_json()[0]["mount_point"]) == (MOST_OWED, "/3")


def test_what_is_owed_may_have_to_wait() -> None:
    """Until then it is not asked for, but kept; the same reason is told once; a restart asks at once."""
    owed, (decision,) = Owed(), Alerting().fire("page")
    new = [owed.put_off(decision, 100.0, 50.0, reason) for reason in ("spent", "spent", "young")]
    early, late = owed.again(seen(), 149.0), owed.again(seen(), 150.0)
    again = Owed()
    again.restore(owed.as_json(), 110.0)

    assert new == [True, False, True]
    assert (early, len(late), owed.next_due(100.0), owed.next_due(150.0)) == ([], 1, 150.0, None)
    assert len(again.again(seen(), 110.0)) == 1
    owed.put_off(decision, 100.0, 0.0, "at once")
    assert owed.next_due(100.0) == 101.0
    owed.again(seen(active=False), 100.0)
    assert (owed.as_json(), owed.next_due(100.0)) == ([], None)


@pytest.mark.parametrize(
    "begun", [None, 5, [], ["x", 1, 2], [1.0, 2], [True, 1, 2], [-1.0, 1, 2], [101.0, 1, 2], {"at": 1.0}]
)
def test_what_was_begun_in_no_way_that_we_know_is_only_owed(begun: object) -> None:
    """Nonsense, and times that are still to come."""
    entry = {"policy": "root", "stage": "warn", "mount_point": "/", "action": "page"}
    owed = Owed()
    owed.restore([{**entry, "begun": begun}, {**entry, "stage": 5}, "x", []], 100.0)

    assert owed.as_json() == [entry]


@pytest.mark.parametrize(
    ("text", "paused"),
    [
        (None, False),
        ("", True),
        ("nonsense", True),
        ("{}", True),
        ('{"until": null}', True),
        ('{"until": 99.0}', False),
        ('{"until": 100.0}', False),
        ('{"until": 101.0}', True),
        ('{"until": true}', True),
        ('{"until": "tomorrow"}', True),
        ("[1]", True),
    ],
)
def test_pause(tmp_path: Path, text: str | None, paused: bool) -> None:
    """Until its time; whatever cannot be understood was meant as one."""
    if text is not None:
        (tmp_path / "pause").write_text(text)

    assert is_paused(tmp_path, 100.0) is paused


def test_a_pause_that_cannot_be_read_is_a_pause(tmp_path: Path) -> None:
    """A folder of that name; or no privilege."""
    (tmp_path / "pause").mkdir()

    assert is_paused(tmp_path, 100.0)
