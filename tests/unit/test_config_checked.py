# SPDX-License-Identifier: Apache-2.0
"""The merged text becomes settings, or all the reasons why it cannot."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.checked import check
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.merge import Fragment, merge
from overlaywatch.config.settings import (
    ActionsMode,
    ActionTable,
    DaemonSettings,
    DmReaderChoice,
    Settings,
    WatchSettings,
)
from overlaywatch.config.table import Table
from overlaywatch.model import LayerState
from overlaywatch.policy import Policy, Stage
from overlaywatch.units import MIB

ACTIONS = '[action.page]\ntype = "alertmanager"\n[action.free-caches]\ntype = "purge"\npaths = ["/x"]\n'


def checked(text: str) -> Settings:
    """The settings of one file."""
    return check(merge([Fragment("x.toml", tomllib.loads(text))]))[0]


def warnings_of(text: str) -> tuple[str, ...]:
    """The warnings about one file."""
    return check(merge([Fragment("x.toml", tomllib.loads(text))]))[1]


def errors_of(text: str) -> list[str]:
    """The errors of one file, line by line."""
    with pytest.raises(ConfigErrors) as caught:
        checked(text)
    return str(caught.value).splitlines()


def stage(lines: str) -> str:
    """A file with one policy of one stage, in which `lines` are written."""
    return f'{ACTIONS}[[policy]]\nname = "p"\n[[policy.stage]]\n{lines}\n'


def test_nothing_gives_the_defaults() -> None:
    """Without a configuration nothing is planned, everything is watched, actions may run."""
    settings = checked("")
    assert settings.daemon == DaemonSettings(10.0, ActionsMode.ON, DmReaderChoice.AUTO)
    assert (settings.watch, settings.actions, settings.policies) == (WatchSettings((), ()), (), ())
    assert warnings_of("") == ()


def test_everything_is_read() -> None:
    """Each key of the contract arrives, in base units, and each value knows its file."""
    settings = checked(
        """
        [daemon]
        interval = "5s"
        actions = "dry-run"
        dm_reader = "ioctl"
        [watch]
        include = ["/", "/var/"]
        exclude = ["/srv/scratch"]
        [action.page]
        type = "alertmanager"
        urls = ["http://a"]
        [[policy]]
        name = "root"
        mount_point = "/"
        [[policy.stage]]
        name = "warn"
        used_above = "70%"
        headroom_below = "128MiB"
        inodes_above = "90%"
        time_to_full_below = "30m"
        state_is = ["overflow", "invalid"]
        hold = "30s"
        cooldown = "5m"
        actions = ["page"]
        """
    )
    assert settings.daemon == DaemonSettings(5.0, ActionsMode.DRY_RUN, DmReaderChoice.IOCTL)
    assert settings.watch == WatchSettings(("/", "/var"), ("/srv/scratch",))
    assert settings.actions == (
        ActionTable("page", "alertmanager", {"urls": ["http://a"]}, {"type": "x.toml", "urls": "x.toml"}),
    )
    states = frozenset({LayerState.OVERFLOW, LayerState.INVALID})
    expected = Stage("warn", ("page",), 0.7, 128 * MIB, 0.9, 1800.0, states, 30.0, 300.0)
    assert settings.policies == (Policy("root", (expected,), "/"),)
    assert settings.origins["policy.root.stage.warn.hold"] == "x.toml"
    assert len(settings.hash) == 16


def test_stage_left_to_its_defaults() -> None:
    """A stage holds at once, fires once, and has only the conditions that are written."""
    settings = checked(stage('name = "s"\nused_above = "50%"\nactions = ["page"]'))
    assert settings.policies == (Policy("p", (Stage("s", ("page",), used_above=0.5),), None),)


# --- every key, wrong in every way ---------------------------------------------------------------

DURATION = ["5", "true", '"5"', '"5 parsecs"', '""', "[]", "{}", "1979-05-27", '"-5s"', '"0ms"', '"9999d"']
RATIO = ["0.8", "80", "true", '"80"', '"0%"', '"100%"', '"-1%"', '"101%"', "[]", "{}"]
PATHS = ['"/"', "5", "true", "{}", "[5]", '[""]', '["var"]', '["/a/../b"]', '["/a\\nb"]', '["/", "x"]']
NAME = ["5", "true", '""', '"a b"', '"-a"', '"a.b"', '"ä"', "[]", "{}", '"' + "x" * 65 + '"']
WORDS = ["5", "true", '""', '"ON"', '"sometimes"', "[]", "{}"]

WRONG: dict[str, list[str]] = {
    "daemon.interval": [*DURATION, '"999ms"', '"61m"'],
    "daemon.actions": WORDS,
    "daemon.dm_reader": WORDS,
    "watch.include": PATHS,
    "watch.exclude": PATHS,
    "action.page.type": ["5", "true", '""', "[]", "{}"],
    "policy.p.mount_point": ["5", "true", '""', '"var"', '"/a/../b"', "[]", "{}"],
    "policy.p.stage.s.actions": ['"page"', "5", "{}", "[]", "[5]", '[""]', '["pgae"]', '["page", "page"]'],
    "policy.p.stage.s.used_above": RATIO,
    "policy.p.stage.s.inodes_above": RATIO,
    "policy.p.stage.s.headroom_below": ["true", "1.5", "-1", "0", '"64MB"', '"-1MiB"', '""', "[]", "{}", '"2048TiB"'],
    "policy.p.stage.s.time_to_full_below": [*DURATION, '"31d"', '"999ms"'],
    "policy.p.stage.s.state_is": ['"invalid"', "5", "{}", "[]", "[5]", '["Invalid"]', '["full"]'],
    "policy.p.stage.s.hold": [raw for raw in DURATION if raw != '"0ms"'] + ['"25h"'],
    "policy.p.stage.s.cooldown": [*DURATION, '"31d"'],
}
GOOD = """
    [daemon]
    interval = "10s"
    actions = "on"
    dm_reader = "auto"
    [watch]
    include = []
    exclude = []
    [action.page]
    type = "alertmanager"
    [[policy]]
    name = "p"
    mount_point = "/"
    [[policy.stage]]
    name = "s"
    actions = ["page"]
    used_above = "50%"
    headroom_below = "1GiB"
    inodes_above = "50%"
    time_to_full_below = "1h"
    state_is = ["invalid"]
    hold = "1s"
    cooldown = "1m"
"""


def replaced(path: str, value: object) -> dict[str, Any]:
    """The good file with the value at one key path replaced."""
    values = tomllib.loads(GOOD)
    *parents, key = path.split(".")
    table: Any = values
    for parent in parents:
        table = table[parent] if parent in table else next(item for item in table if item["name"] == parent)
    table[key] = value
    return values


def all_paths(values: object, path: str = "") -> Iterator[str]:
    """The key path of every plain value in a table."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from all_paths(value, f"{path}.{key}" if path else key)
    elif isinstance(values, list) and values and isinstance(values[0], dict):
        for item in values:
            yield from all_paths(item, f"{path}.{item['name']}")
    else:
        yield path


def test_good_file_has_every_key_and_passes() -> None:
    """The tables of wrong values cover each key of the good file, which is right as it stands."""
    assert checked(GOOD).policies[0].stages[0].cooldown == 60.0
    assert set(all_paths(tomllib.loads(GOOD))) - {"policy.p.name", "policy.p.stage.s.name"} == set(WRONG)


@pytest.mark.parametrize(("path", "raw"), [(path, raw) for path, raws in WRONG.items() for raw in raws])
def test_wrong_value_names_file_and_key(path: str, raw: str) -> None:
    """Each key, with a wrong type, unit, range or word, is one error at exactly this key, saying what was expected."""
    value = tomllib.loads(f"x = {raw}")["x"]
    with pytest.raises(ConfigErrors) as caught:
        check(merge([Fragment("x.toml", replaced(path, value))]))
    for error in caught.value.errors:
        assert error.file == "x.toml"
        assert error.key.partition("[")[0] == path
        assert error.problem
        assert error.expected


@pytest.mark.parametrize("raw", NAME)
def test_wrong_name_is_told(raw: str) -> None:
    """Names become labels of metrics: short and plain. The error stands at the key `name`, and is the only one."""
    one = '[[policy.stage]]\nname = "s"\nused_above = "5%"\nactions = ["page"]'
    lines = errors_of(f"{ACTIONS}[[policy]]\nname = {raw}\n{one}")
    lines += errors_of(stage(f'name = {raw}\nused_above = "5%"\nactions = ["page"]'))
    assert [(".name: " in line, "; expected at most 64 letters" in line) for line in lines] == [(True, True)] * 2


@pytest.mark.parametrize("path", sorted({path.rpartition(".")[0] for path in WRONG}))
def test_unknown_key_is_told_in_every_table(path: str) -> None:
    """A slip in the name of a key is an error with a suggestion; actions' own keys are for their types to judge."""
    if path.startswith("action."):
        assert check(merge([Fragment("x.toml", replaced(f"{path}.own", 1))]))[0].actions[0].values == {"own": 1}
        return
    with pytest.raises(ConfigErrors) as caught:
        check(merge([Fragment("x.toml", replaced(f"{path}.qqq", 1))]))
    assert str(caught.value).startswith(f"x.toml: {path}.qqq: unknown key; known: ")


RAW = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["64MiB", "80%", "9s", "/x", "page", "ok", "on", "auto"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
PLACES = sorted({*WRONG, "daemon", "watch", "action", "action.page", "policy", "policy.p.stage", "policy.p.name"})


@given(st.sampled_from(PLACES), RAW)
def test_any_value_anywhere_is_settings_or_errors(path: str, value: object) -> None:
    """No value at any place makes a traceback, and every error names the file and a key."""
    errors: list[tuple[str, str]] = []
    try:
        settings = check(merge([Fragment("x.toml", replaced(path, value))]))[0]
    except ConfigErrors as error:
        errors = [(problem.file, problem.key) for problem in error.errors]
        assert errors
    else:
        assert 1 <= settings.daemon.interval <= 3600
    assert all(file == "x.toml" and key for file, key in errors)


# --- what only the whole can be wrong in -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[deamon]", 'x.toml: deamon: unknown key; did you mean "daemon"?'),
        ("[guard]\narm = true", "x.toml: guard: reserved for a later version; remove it"),
        ('[fleetlock]\nurl = "http://f"', "x.toml: fleetlock: reserved for a later version; remove it"),
        ("guard = 5", "x.toml: guard: reserved for a later version; remove it"),
        ("daemon = 5", "x.toml: daemon: 5 is not a table; expected [daemon]"),
        ("[[daemon]]", "x.toml: daemon: a list is not a table; expected [daemon]"),
        ("[[action]]\ntype = 'x'", "x.toml: action: a list is not a table; expected [action.NAME]"),
        ("[action]\ntype = 'x'", 'x.toml: action.type: "x" is not a table; expected [action.NAME], and its keys below'),
        (
            "[action.a.b]\ntype = 'x'",
            'x.toml: action.a.type: is missing; expected the type of the action, such as "purge"',
        ),
        (
            "[policy]\nname = 'p'",
            "x.toml: policy: a table is not a list of tables; expected [[policy]], with two brackets on each side",
        ),
        ('[[policy]]\nname = "p"', "x.toml: policy.p: the policy has no stage; add a [[policy.stage]]"),
        ('[[policy]]\nname = "p"\nstage = []', "x.toml: policy.p: the policy has no stage; add a [[policy.stage]]"),
    ],
)
def test_wrong_shape_is_told(text: str, expected: str) -> None:
    """Sections of the wrong kind, of the wrong name, or not there yet: one error that says how it is written."""
    assert errors_of(text) == [expected]


def test_policy_and_stage_need_names() -> None:
    """Without a name the place in the list is told."""
    lines = errors_of(ACTIONS + '[[policy]]\n[[policy.stage]]\nused_above = "5%"\nactions = ["page"]')
    assert [line.split(": ")[1] for line in lines] == ["policy[0].name", "policy[0].stage[0].name"]


@pytest.mark.parametrize("name", ["a b", "", "ä", "x" * 65, "a.b"])
def test_name_of_an_action_is_plain(name: str) -> None:
    """The name of an action is a label of metrics, too."""
    lines = errors_of(f'[action."{name}"]\ntype = "purge"\nany = 1')
    assert len(lines) == 1
    assert "cannot be the name of an action; expected at most 64 letters" in lines[0]


def test_stage_without_condition_is_an_error() -> None:
    """It could mean always or never."""
    lines = errors_of(stage('name = "s"\nhold = "1s"\nactions = ["page"]'))
    conditions = "used_above, headroom_below, inodes_above, time_to_full_below, state_is"
    assert lines == [f"x.toml: policy.p.stage.s: the stage has no condition; add one of {conditions}"]


def test_what_is_missing_is_told_of_the_file_of_its_policy() -> None:
    """Of two files with policies each answers for its own."""
    files = [Fragment(f"{name}.toml", tomllib.loads(f'[[policy]]\nname = "{name}"')) for name in ("a", "b")]
    with pytest.raises(ConfigErrors) as caught:
        check(merge(files))
    assert [(error.file, error.key) for error in caught.value.errors] == [
        ("a.toml", "policy.a"),
        ("b.toml", "policy.b"),
    ]


def test_stage_with_a_wrong_condition_is_told_only_that() -> None:
    """A condition that is there, but wrong, is not also missing."""
    assert len(errors_of(stage('name = "s"\nused_above = "x"\nactions = ["page"]'))) == 1


def test_stage_without_actions_is_an_error() -> None:
    """A stage that does nothing is a slip."""
    assert errors_of(stage('name = "s"\nused_above = "5%"')) == [
        "x.toml: policy.p.stage.s.actions: is missing; expected a list, each item the name of an action; at least 1"
    ]


def test_action_that_does_not_exist_is_told_with_the_nearest() -> None:
    """The slip is found at start, not in the emergency."""
    assert errors_of(stage('name = "s"\nused_above = "5%"\nactions = ["page", "free-cache"]')) == [
        'x.toml: policy.p.stage.s.actions[1]: there is no [action.free-cache]; did you mean "free-caches"?'
    ]
    lines = errors_of('[[policy]]\nname="p"\n[[policy.stage]]\nname="s"\nused_above="5%"\nactions=["page"]')
    assert lines == ["x.toml: policy.p.stage.s.actions[0]: there is no [action.page]; there is no [action.NAME] at all"]


def test_broken_action_exists_all_the_same() -> None:
    """An action without a type is one error, not another one at each stage that names it."""
    text = stage('name = "s"\nused_above = "5%"\nactions = ["page"]').replace('type = "alertmanager"', "")
    assert [line.split(": ")[1] for line in errors_of(text)] == ["action.page.type"]


def test_stage_names_are_unique_in_a_policy_only() -> None:
    """Two policies may both have a stage `warn`; one may not have two."""
    one = '[[policy.stage]]\nname = "s"\nused_above = "5%"\nactions = ["page"]\n'
    assert len(checked(f'{ACTIONS}[[policy]]\nname = "a"\n{one}[[policy]]\nname = "b"\n{one}').policies) == 2
    assert errors_of(f'{ACTIONS}[[policy]]\nname = "a"\n{one}{one}') == [
        "x.toml: policy.a.stage.s.name: two stages of this policy have this name; give each a name of its own"
    ]


def test_two_policies_of_one_name_in_one_file_are_an_error() -> None:
    """What merging found is told with the rest."""
    one = '[[policy]]\nname = "a"\n[[policy.stage]]\nname = "s"\nused_above = "5%"\nactions = ["page"]\n'
    lines = errors_of(ACTIONS + one + one + "[deamon]")
    assert [line.split(": ")[1] for line in lines] == ["policy.a", "deamon"]


def paths_of(action: ActionTable) -> tuple[str, ...]:
    """A type of action that wants `paths`, and finds many of them unwise."""
    table = Table.of(action)
    paths = table.strings("paths", at_least=1)
    if len(paths) > 1:
        table.warn("paths", "are many")
    table.finish()
    return table.warnings


def test_errors_of_actions_are_told_with_all_others() -> None:
    """The types of actions read their own keys, and their errors come in the same run."""
    text = f"{ACTIONS}[daemon]\ninterval = 5"
    with pytest.raises(ConfigErrors) as caught:
        check(merge([Fragment("x.toml", tomllib.loads(text))]), paths_of)
    assert [error.key for error in caught.value.errors] == ["daemon.interval", "action.page.paths"]


def test_warnings_of_actions_are_told_with_all_others() -> None:
    """What a type finds unwise arrives with the warnings about the rest."""
    values = tomllib.loads('[daemon]\ninterval = "2m"\n[action.a]\ntype = "purge"\npaths = ["/x", "/y"]')
    warnings = check(merge([Fragment("x.toml", values)]), paths_of)[1]
    assert [line.split(": ")[1] for line in warnings] == ["daemon.interval", "action.a.paths"]


def test_sensible_file_has_no_warnings() -> None:
    """A warning that is always there is read by nobody."""
    assert warnings_of(GOOD) == ()
