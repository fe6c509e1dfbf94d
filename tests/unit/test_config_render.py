# SPDX-License-Identifier: Apache-2.0
"""The merged configuration, for people and programs."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.merge import Fragment, merge
from overlaywatch.config.render import to_data, to_toml
from overlaywatch.config.spelling import is_secret, redacted

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
