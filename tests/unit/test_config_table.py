# SPDX-License-Identifier: Apache-2.0
"""The typed getters that every part reads its keys with."""

import re
import tomllib
from collections.abc import Callable
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.config.settings import ActionTable
from overlaywatch.config.table import Table
from overlaywatch.config.values import spell_duration, spell_ratio, spell_size
from overlaywatch.units import MIB, parse_duration, parse_ratio, parse_size


class Colour(StrEnum):
    RED = "red"
    DARK_RED = "dark-red"


def table(text: str) -> Table:
    """A table of TOML text, as it would be at `[section]` of x.toml."""
    return Table(tomllib.loads(text), path="section", file="x.toml")


def errors_of(subject: Table) -> list[str]:
    """What finish() raises, line by line."""
    with pytest.raises(ConfigErrors) as caught:
        subject.finish()
    return str(caught.value).splitlines()


def test_good_values_are_read_in_base_units() -> None:
    """Bytes, ratios from 0 to 1, seconds; lists are tuples; and nothing is left to complain about."""
    t = table(
        """
        size = "64MiB"
        bytes = 4096
        ratio = "80%"
        duration = "1m30s"
        count = 3
        flag = true
        text = "hello"
        folder = "/var//tmp/"
        colour = "dark-red"
        words = ["a", "b"]
        folders = ["/", "/srv/", "//run"]
        colours = ["red"]
        labels = { severity = "critical" }
        """
    )
    assert t.size("size") == 64 * MIB
    assert t.size("bytes") == 4096
    assert t.ratio("ratio") == pytest.approx(0.8)
    assert t.duration("duration") == 90.0
    assert t.integer("count") == 3
    assert t.boolean("flag") is True
    assert t.string("text") == "hello"
    assert t.path_string("folder") == "/var/tmp"
    assert t.choice("colour", Colour) is Colour.DARK_RED
    assert t.strings("words") == ("a", "b")
    assert t.path_strings("folders") == ("/", "/srv", "/run")
    assert t.choices("colours", Colour) == (Colour.RED,)
    assert t.string_table("labels") == {"severity": "critical"}
    t.finish()


def test_missing_key_is_its_default() -> None:
    """None is a default like any other."""
    t = table("")
    assert t.size("a", default=None) is None
    assert t.duration("b", default=30.0) == 30.0
    assert t.strings("c", default=("x",)) == ("x",)
    t.finish()


def test_missing_key_without_default_is_an_error_with_what_is_expected() -> None:
    """The reader learns the file of the table, the key, and how its value is written."""
    t = table("")
    t.duration("timeout", minimum=1.0, maximum=3600.0)
    assert errors_of(t) == ['x.toml: section.timeout: is missing; expected a duration from 1s to 1h, such as "90s"']


GETTERS: dict[str, tuple[Callable[[Table], object], list[str]]] = {
    "size": (lambda t: t.size("key", minimum=1024, maximum=2048), ['"1GB"', '"1KB"', "1023", '"3KiB"', "true", "-1"]),
    "ratio": (lambda t: t.ratio("key", minimum=0.5, maximum=0.9), ['"80"', "0.8", "80", '"95%"', '"49%"', '"-5%"']),
    "duration": (lambda t: t.duration("key", minimum=1.0, maximum=60.0), ["5", '"5"', '"500ms"', '"2m"', "07:32:00"]),
    "integer": (lambda t: t.integer("key", minimum=1, maximum=5), ["true", "1.0", '"1"', "0", "6", "nan"]),
    "boolean": (lambda t: t.boolean("key"), ["1", "0", '"true"', '"on"']),
    "string": (lambda t: t.string("key", pattern=re.compile("[a-z]+")), ['""', "5", '"A"', '"a\\n"', '"a\\u0000"']),
    "path": (lambda t: t.path_string("key"), ['"var"', '""', '"/a/../b"', '"/a\\nb"', '"/a\\u0000"', "1", "[]"]),
    "choice": (lambda t: t.choice("key", Colour), ['"Red"', '"blue"', '""', "5", '["red"]']),
    "strings": (lambda t: t.strings("key", at_least=1), ['"a"', "[]", "[1]", '["a", ""]', '[["a"]]', '["a\\u0000"]']),
    "paths": (lambda t: t.path_strings("key"), ['"/a"', '["a"]', '["/a", 5]']),
    "choices": (lambda t: t.choices("key", Colour), ['"red"', '["blue"]', "[1]"]),
    "string_table": (lambda t: t.string_table("key"), ['"a"', '["a"]', "{ a = 1 }", '{ a = "" }', "{ a = { b = 1 } }"]),
}
WRONG = [(kind, raw) for kind, (_, raws) in GETTERS.items() for raw in [*raws, "1979-05-27", "[[]]", "[{}]"]]


@pytest.mark.parametrize(("kind", "raw"), WRONG)
def test_wrong_value_is_one_error_with_file_and_key(kind: str, raw: str) -> None:
    """Wrong type, unit, range or word: the getter returns something, and finish() tells file, key and expectation."""
    t = table(f"key = {raw}")
    GETTERS[kind][0](t)
    lines = errors_of(t)
    assert lines
    for line in lines:
        assert re.match(r"x\.toml: section\.key(\[\d\]|\.a)?: [^;]+; expected [^;]+", line), line


RAW = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["64MiB", "80%", "9s", "/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(GETTERS)), RAW)
def test_getters_take_anything(kind: str, raw: object) -> None:
    """Whatever a value is, a getter neither raises nor lets it pass unchecked and untold."""
    t = Table({"key": raw}, path="section", file="x.toml")
    value = GETTERS[kind][0](t)
    problems: tuple[ConfigError, ...] = ()
    try:
        t.finish()
    except ConfigErrors as error:
        problems = error.errors
    assert all(problem.file == "x.toml" and problem.key.startswith("section.key") for problem in problems)
    if not problems and kind == "size":
        assert isinstance(value, int)
        assert 1024 <= value <= 2048


def test_all_errors_are_told_at_once() -> None:
    """Nobody should need five starts to find five slips; items of lists and tables are told one by one."""
    t = table('a = 1\nb = ["/x", "y", 5]\nc = { d = 1, e = "ok", "f g" = 2 }\nunknown = 1')
    t.duration("a")
    t.path_strings("b")
    t.string_table("c")
    t.string("z")
    assert [line.split(": ")[1] for line in errors_of(t)] == [
        "section.a",
        "section.b[1]",
        "section.b[2]",
        "section.c.d",
        'section.c."f g"',
        "section.z",
        "section.unknown",
    ]


def test_range_is_spelled_as_it_is_written() -> None:
    """The error shows limits that can be copied into the file."""
    t = table('size = "1KiB"\nratio = "1%"')
    t.size("size", minimum=MIB, maximum=1024 * MIB)
    t.ratio("ratio", minimum=0.05, maximum=0.999)
    assert errors_of(t) == [
        'x.toml: section.size: "1KiB" is less than the minimum; expected a size from 1MiB to 1GiB, such as "64MiB"',
        'x.toml: section.ratio: "1%" is less than the minimum; expected a percentage from 5% to 99.9%, such as "80%"',
    ]


@given(st.integers(0, 2**50))
def test_spelled_size_is_read_the_same(size: int) -> None:
    """The spelling of limits is exact."""
    assert parse_size(spell_size(size)) == size


@given(st.integers(0, 400 * 86400_000), st.integers(0, 1000))
def test_spelled_duration_and_ratio_are_read_the_same(milliseconds: int, permille: int) -> None:
    """So are those of durations and ratios."""
    assert parse_duration(spell_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
    assert parse_ratio(spell_ratio(permille / 1000)) == pytest.approx(permille / 1000)


def test_limits_themselves_are_allowed() -> None:
    """A range includes both its ends."""
    t = table('low = "1s"\nhigh = "1m"')
    assert (t.duration("low", minimum=1.0, maximum=60.0), t.duration("high", minimum=1.0, maximum=60.0)) == (1.0, 60.0)
    t.finish()


def test_unknown_key_suggests_the_nearest_known() -> None:
    """A slip of the finger is answered with the word that was meant; another word with all that there are."""
    t = table('intervall = "5s"\nqqq = 1')
    t.duration("interval", default=1.0)
    t.string("mode", default="")
    assert errors_of(t) == [
        'x.toml: section.intervall: unknown key; did you mean "interval"?',
        "x.toml: section.qqq: unknown key; known: interval, mode",
    ]


def test_each_error_names_the_file_of_its_own_key() -> None:
    """One table may come from many files."""
    origins = {"section.a": "a.toml", "section.b": "b.toml"}
    t = Table({"a": 1, "b": 2}, path="section", file="x.toml", origins=origins)
    t.boolean("a")
    t.boolean("c")
    assert [line.split(":")[0] for line in errors_of(t)] == ["a.toml", "x.toml", "b.toml"]


def test_action_reads_its_own_keys_from_its_table() -> None:
    """Table.of: paths begin with `action.NAME`, files are those of the keys, `type` is known already."""
    action = ActionTable(
        "free",
        "purge",
        {"type": "purge", "paths": ["x"], "max_per": {"count": "1"}},
        {"type": "a.toml", "paths": "b.toml"},
    )
    t = Table.of(action)
    t.path_strings("paths")
    t.table("max_per").integer("count")
    t.duration("older_than")
    lines = errors_of(t)
    assert [line.split("; ")[0] for line in lines] == [
        'b.toml: action.free.paths[0]: "x" cannot be used',
        'a.toml: action.free.max_per.count: "1" is not a whole number',
        "a.toml: action.free.older_than: is missing",
    ]


def test_tables_within_are_closed_with_their_parent() -> None:
    """finish() at the top finds unknown keys at the bottom."""
    t = table("[inner]\nx = 1\n[[item]]\nname = 'one'\ny = 2\n[[item]]\nz = 3")
    t.table("inner")
    for item in t.tables("item"):
        item.string("name", default=None)
    assert [line.split(": ")[1] for line in errors_of(t)] == [
        "section.inner.x",
        "section.item.one.y",
        "section.item[1].z",
    ]


def test_wrong_shape_of_tables_is_told() -> None:
    """A value instead of a table, a table instead of a list, a value among tables."""
    t = table('a = 5\nb = { x = 1 }\nc = [{ name = "ok" }, 5]')
    assert t.table("a").keys == ()
    assert t.tables("b") == ()
    assert [child.string("name") for child in t.tables("c")] == ["ok"]
    assert [line.split(";")[0] for line in errors_of(t)] == [
        "x.toml: section.a: 5 is not a table",
        "x.toml: section.b: a table is not a list of tables",
        "x.toml: section.c[1]: 5 is not a table",
    ]


def test_missing_table_is_empty_and_still_asks_for_its_keys() -> None:
    """A required key inside a table that is not there is missing."""
    t = table("")
    t.table("inner").string("name")
    assert "inner" not in t
    assert errors_of(t) == ["x.toml: section.inner.name: is missing; expected a text"]


def test_rest_belongs_to_somebody_else() -> None:
    """Keys that are handed on are not unknown here."""
    t = table('type = "purge"\npaths = []')
    assert t.string("type") == "purge"
    assert t.rest() == {"paths": []}
    t.finish()


def test_own_errors_and_warnings_carry_file_and_key() -> None:
    """What only the caller can know is told in the same form; a warning stops nothing."""
    t = table("a = 1\nb = 2")
    assert (t.integer("a"), t.integer("b")) == (1, 2)
    t.warn("a", "is unwise")
    t.finish()
    assert t.warnings == ("x.toml: section.a: is unwise",)
    t.error("", "needs one of a and c", "not both")
    t.error("b", "excludes a", place="[0]")
    assert errors_of(t) == ["x.toml: section: needs one of a and c; not both", "x.toml: section.b[0]: excludes a"]


def test_secret_is_not_in_the_error() -> None:
    """Errors go to the journal."""
    t = table('token = ["hunter2"]\nheaders = { Authorization = 7788 }\nurl = "http://u:hunter2@h"')
    t.string("token")
    t.string_table("headers")
    t.path_string("url")
    text = "\n".join(errors_of(t))
    assert "hunter2" not in text
    assert "7788" not in text


def test_asked_keys_are_known() -> None:
    """`known` lists what was asked for: the documentation is tested against it."""
    t = table("")
    t.size("a", default=0)
    t.tables("b")
    assert t.known == ("a", "b")
