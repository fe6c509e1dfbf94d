# SPDX-License-Identifier: Apache-2.0
"""The merged configuration, for people and programs."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.checked import check
from overlaywatch.config.merge import Fragment, merge
from overlaywatch.config.render import to_data, to_toml
from overlaywatch.config.spelling import is_secret, redacted
from overlaywatch.registry import check_action, make_actions, with_defaults

BASE = """
[daemon]
interval = "5s"
[action.page]
type = "alertmanager"
urls = ["http://user:hunter2@a/x?token=hunter2"]
labels = { severity = "critical" }
[action.rotate-tokens]
type = "run"
command = ["rotate", "--password", "hunter2", "--api-token=hunter2"]
password = "hunter2"
[[policy]]
name = "root"
mount_point = "/"
[[policy.stage]]
name = "warn"
used_above = "70%"
actions = ["page"]
"""
SITE = '[daemon]\nactions = "off"\n[action.page]\nlabels = { team = "ops" }'
SITE_ACTIONS = """
[action.boot]
type = "reboot"
[action.clean]
type = "purge"
paths = ["/var/tmp/**"]
[action.hook]
type = "webhook"
url = "http://127.0.0.1/"
"""
MERGED = merge([Fragment("/usr/base.toml", tomllib.loads(BASE)), Fragment("/etc/site.toml", tomllib.loads(SITE))])


def test_text_says_where_each_value_comes_from() -> None:
    """One comment for a table of one file, one for each line where files mix; and no secret."""
    assert (
        to_toml(MERGED)
        == """\
[daemon]
interval = "5s"  # from /usr/base.toml
actions = "off"  # from /etc/site.toml

[action.page]
type = "alertmanager"  # from /usr/base.toml
urls = ["http://user:<hidden>@a/x?token=<hidden>"]  # from /usr/base.toml
labels = { severity = "critical", team = "ops" }  # from /usr/base.toml, /etc/site.toml

# from /usr/base.toml
[action.rotate-tokens]
type = "run"
command = ["rotate", "--password", "<hidden>", "--api-token=<hidden>"]
password = "<hidden>"

# from /usr/base.toml
[[policy]]
name = "root"
mount_point = "/"

# from /usr/base.toml
[[policy.stage]]
name = "warn"
used_above = "70%"
actions = ["page"]
"""
    )


def test_data_is_json_with_files_settings_origins_and_hash() -> None:
    """The same for programs, and no secret either."""
    data = to_data(MERGED)
    text = json.dumps(data, allow_nan=False)
    assert "hunter2" not in text
    assert data["files"] == ["/usr/base.toml", "/etc/site.toml"]
    assert data["hash"] == MERGED.fingerprint
    assert json.loads(text)["settings"]["policy"][0]["stage"][0]["used_above"] == "70%"
    assert json.loads(text)["origins"]["action.page.labels.team"] == "/etc/site.toml"


def test_defaults_are_shown_as_such_and_read_back_as_the_same_settings() -> None:
    """Every setting that is in force, also within a table of which a file says a part; the TOML is a configuration."""
    site = '[action.boot]\ntype = "reboot"\nmax_per = { count = 2 }\n[action.old]\ntype = "unheard-of"'
    merged = merge([*(Fragment(file, tomllib.loads(text)) for file, text in (("/b", BASE), ("/s", site)))])
    whole = with_defaults(merged)
    text = to_toml(whole)

    assert 'max_per = { count = 2, window = "1d" }  # from /s; default' in text
    assert 'grace = "1m"  # default' in text
    assert 'timeout = "10s"  # default' in text
    assert 'hold = "0s"  # default' in text
    assert 'interval = "5s"  # from /b\nactions = "on"  # default' in text
    assert to_data(whole)["origins"]["daemon.actions"] == "default"  # type: ignore[index]
    assert with_defaults(merge([Fragment("/x", tomllib.loads(text))])).values == tomllib.loads(text)


def test_shown_defaults_are_those_that_are_used() -> None:
    """What is shown, in the place of the files, makes the same settings."""
    text = BASE.replace('password = "hunter2"\n', "").replace("user:hunter2@a/x?token=hunter2", "a/x") + SITE_ACTIONS
    merged = merge([Fragment("/b", tomllib.loads(text))])
    whole = with_defaults(merged)
    used, shown = (check(one, check_action)[0] for one in (merged, whole))

    assert (used.daemon, used.watch, used.policies) == (shown.daemon, shown.watch, shown.policies)
    for before, after in zip(make_actions(used, ignore).values(), make_actions(shown, ignore).values(), strict=True):
        assert getattr(before, "settings", None) == getattr(after, "settings", None)


def ignore(frame: object) -> None:
    """Nothing is sent."""


def test_without_any_file_all_is_default() -> None:
    """And every key of the sections that are always there is shown."""
    text = to_toml(with_defaults(merge([])))
    assert text.startswith("# No configuration: all values are the defaults.\n\n# default\n[daemon]\n")
    assert {name: set(table) for name, table in tomllib.loads(text).items()} == {
        "daemon": {"interval", "actions", "dm_reader"},
        "watch": {"include", "exclude"},
    }


def test_nothing_is_said_in_words() -> None:
    """An empty text would leave the reader in doubt."""
    assert to_toml(merge([])) == "# No configuration: all values are the defaults.\n"


def test_policy_that_has_only_stages_keeps_its_header() -> None:
    """Stages must not slip to the policy before them."""
    text = "[[policy]]\n[[policy.stage]]\nname='a'\n[[policy]]\n[[policy.stage]]\nname='b'"
    result = merge([Fragment("x", tomllib.loads(text))])
    assert tomllib.loads(to_toml(result)) == tomllib.loads(text)


def test_values_that_json_lacks_become_texts() -> None:
    """Dates and infinities are errors of the file, but showing it must not fail."""
    values = tomllib.loads("a = 1979-05-27T07:32:00Z\nb = inf\nc = [07:32:00]")
    result = merge([Fragment("x", values)])
    assert to_data(result)["settings"] == {"a": "1979-05-27T07:32:00+00:00", "b": "inf", "c": ["07:32:00"]}
    assert tomllib.loads(to_toml(result)) == values


KEYS = st.sampled_from(["action", "policy", "stage", "name", "a", "b c", "x.y", "", "ä", '"', "guard"])
SCALARS = st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    SCALARS | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=3))
def test_text_reads_back_as_what_was_merged(tables: list[dict[str, object]]) -> None:
    """Whatever is merged, right or wrong, is shown as TOML that says the same, and as JSON."""
    result = merge([Fragment(f"/etc/{index}.toml", table) for index, table in enumerate(tables)])
    assert not any(is_secret(key) for key in ("action", "policy", "guard"))
    assert tomllib.loads(to_toml(result)) == redacted("", result.values)
    assert json.loads(json.dumps(to_data(result), allow_nan=False))["hash"] == result.fingerprint
