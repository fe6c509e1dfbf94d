# SPDX-License-Identifier: Apache-2.0
"""Many files into one, each value with its file."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.merge import Fragment, Merged, merge, override


def merged(*texts: str) -> Merged:
    """The texts as files 1, 2, … merged, the weakest first."""
    return merge([Fragment(str(number), tomllib.loads(text)) for number, text in enumerate(texts, 1)])


def test_nothing_is_an_empty_configuration() -> None:
    """No file, no value, no error."""
    assert merge([]) == Merged({}, {})


def test_tables_merge_by_key_and_values_know_their_files() -> None:
    """A later file overrides what it names and leaves the rest."""
    result = merged('[daemon]\ninterval = "1s"\nactions = "on"', '[daemon]\ninterval = "2s"')
    assert result.values == {"daemon": {"interval": "2s", "actions": "on"}}
    assert result.origins == {"daemon": "1", "daemon.interval": "2", "daemon.actions": "1"}
    assert result.files == ("1", "2")


def test_lists_are_replaced() -> None:
    """A shorter list takes items away; a merge of lists could never."""
    result = merged('[watch]\ninclude = ["/", "/var"]', '[watch]\ninclude = ["/srv"]')
    assert result.values == {"watch": {"include": ["/srv"]}}


def test_policy_of_the_same_name_is_replaced_whole() -> None:
    """No stage of the weaker policy is left, nor what was known of its files; its place is kept."""
    result = merged(
        '[[policy]]\nname = "a"\nmount_point = "/"\n[[policy.stage]]\nname = "old"\n[[policy]]\nname = "b"',
        '[[policy]]\nname = "a"\n[[policy.stage]]\nname = "new"',
    )
    assert result.values == {"policy": [{"name": "a", "stage": [{"name": "new"}]}, {"name": "b"}]}
    assert {path: file for path, file in result.origins.items() if path.startswith("policy.a")} == {
        "policy.a": "2",
        "policy.a.name": "2",
        "policy.a.stage": "2",
        "policy.a.stage.new": "2",
        "policy.a.stage.new.name": "2",
    }
    assert result.origins["policy.b"] == "1"


def test_two_policies_of_one_name_in_one_file_are_an_error() -> None:
    """Within a file nothing replaces anything: it is a slip."""
    result = merged('[[policy]]\nname = "a"\n[[policy]]\nname = "a"')
    assert [str(error).partition(";")[0] for error in result.errors] == [
        "1: policy.a: two policies of this name in one file"
    ]


def test_policies_without_a_name_are_kept_apart() -> None:
    """They are wrong, and told by their places in the merged list."""
    result = merged('[[policy]]\nmount_point = "/"', "[[policy]]\nname = 5")
    assert result.values == {"policy": [{"mount_point": "/"}, {"name": 5}]}
    assert result.origins["policy[0].mount_point"] == "1"
    assert result.origins["policy[1].name"] == "2"


def test_action_of_another_type_is_replaced_whole() -> None:
    """Keys of the old type would only be unknown in the new one."""
    result = merged(
        '[action.page]\ntype = "alertmanager"\nurls = ["http://a"]', '[action.page]\ntype = "webhook"\nurl = "http://b"'
    )
    assert result.values == {"action": {"page": {"type": "webhook", "url": "http://b"}}}
    assert "action.page.urls" not in result.origins


def test_action_of_the_same_type_is_merged() -> None:
    """A site changes one figure of an action that the image brings, with or without naming the type again."""
    result = merged(
        '[action.x]\ntype = "purge"\npaths = ["/a"]\nolder_than = "1h"',
        '[action.x]\ntype = "purge"\nolder_than = "2h"',
        '[action.x]\npaths = ["/b"]',
    )
    assert result.values == {"action": {"x": {"type": "purge", "paths": ["/b"], "older_than": "2h"}}}
    assert [result.origins[f"action.x.{key}"] for key in ("type", "older_than", "paths")] == ["2", "2", "3"]


def test_neighbours_of_a_replaced_value_keep_their_files() -> None:
    """`a-b` and `ab` begin like `a`, and are not parts of it."""
    result = merged(
        '[action.a]\ntype = "x"\nk = 1\n[action.a-b]\ntype = "x"\n[action.ab]\ntype = "x"', '[action.a]\ntype = "y"'
    )
    assert result.origins["action.a-b.type"] == "1"
    assert result.origins["action.ab.type"] == "1"
    assert "action.a.k" not in result.origins


def test_table_and_value_replace_one_another() -> None:
    """What has the wrong shape in the weaker file can be put right in the stronger."""
    assert merged("daemon = 5", '[daemon]\ninterval = "1s"').values == {"daemon": {"interval": "1s"}}
    result = merged('[daemon]\ninterval = "1s"', "daemon = 5")
    assert result.values == {"daemon": 5}
    assert result.origins == {"daemon": "2"}
    assert merged("policy = 5", '[[policy]]\nname = "a"').values == {"policy": [{"name": "a"}]}


def test_override_has_the_last_word() -> None:
    """One value is replaced, with its origin; a section that is missing is made."""
    base = merged('[daemon]\nactions = "on"\ninterval = "1s"')
    changed = override(base, "daemon", "actions", "off", "kernel command line")
    assert changed.values == {"daemon": {"actions": "off", "interval": "1s"}}
    assert changed.origins == {"daemon": "1", "daemon.actions": "kernel command line", "daemon.interval": "1"}
    assert override(merge([]), "daemon", "actions", "off", "k").values == {"daemon": {"actions": "off"}}
    assert base.values == {"daemon": {"actions": "on", "interval": "1s"}}


def test_override_leaves_what_is_no_table() -> None:
    """The error of the file must be told, not papered over."""
    assert override(merged("daemon = 5"), "daemon", "actions", "off", "k").values == {"daemon": 5}


def test_fingerprint_is_that_of_the_content() -> None:
    """The same content in other files, or in another order of keys, is the same configuration."""
    one = merged('[daemon]\ninterval = "1s"\nactions = "on"')
    two = merged('[daemon]\nactions = "on"\ninterval = "9s"', 'daemon.interval = "1s"')
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != merged('[daemon]\ninterval = "2s"\nactions = "on"').fingerprint
    assert len(one.fingerprint) == 16
    assert int(one.fingerprint, 16) >= 0


KEYS = st.sampled_from(["a", "b", "action", "policy", "name", "type", "x.y", "x"])
SCALARS = st.integers(0, 3) | st.sampled_from(["s", "t"]) | st.booleans()
VALUES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=3), max_leaves=8
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)


@given(st.lists(TABLES, max_size=4))
def test_merge_takes_any_tables_and_leaves_them(tables: list[dict[str, object]]) -> None:
    """Merging never fails, changes none of its inputs, and each top key knows a file that has it."""
    copies = [repr(table) for table in tables]
    result = merge([Fragment(str(index), table) for index, table in enumerate(tables)])
    assert [repr(table) for table in tables] == copies
    assert set(result.values) == {key for table in tables for key in table}
    for key in result.values:
        path = f'"{key}"' if "." in key else key
        assert key in tables[int(result.origins[path])]


@given(TABLES, TABLES, TABLES)
def test_merge_of_three_is_the_merge_of_all_but_one_and_the_last(
    first: dict[str, object], second: dict[str, object], third: dict[str, object]
) -> None:
    """What a file overrides does not depend on how many were merged before it."""
    two = merge([Fragment("1", first), Fragment("2", second)])
    three = merge([Fragment("1", first), Fragment("2", second), Fragment("3", third)])
    if not three.errors:
        assert merge([Fragment("12", two.values), Fragment("3", third)]).values == three.values
