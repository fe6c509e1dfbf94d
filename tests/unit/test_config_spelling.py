# SPDX-License-Identifier: Apache-2.0
"""Keys and values as they are shown to people."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.spelling import (
    HIDDEN,
    is_secret,
    item_path,
    join_path,
    printable,
    redacted,
    shown,
    toml_string,
    without_secrets,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXTS)
def test_toml_string_is_read_back_the_same(text: str) -> None:
    """Any text survives, and nothing in it reaches a terminal raw that is not printable."""
    written = toml_string(text)
    assert tomllib.loads(f"x = {written}") == {"x": text}
    assert written.isprintable()


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_key_path_is_a_toml_key(parts: list[str]) -> None:
    """A key path can be pasted into a file: it leads to the same place, whatever the keys contain."""
    path = ""
    for part in parts:
        path = join_path(path, part)
    expected: object = 1
    for part in reversed(parts):
        expected = {part: expected}
    assert tomllib.loads(f"{path} = 1") == expected


def test_table_of_a_list_is_called_by_its_name_or_place() -> None:
    """Policies are known by name; one without a name, or with a wrong one, by its place from 0."""
    assert item_path("policy", 0, {"name": "root"}) == "policy.root"
    assert item_path("policy", 2, {"name": 5}) == "policy[2]"
    assert item_path("policy", 1, "text") == "policy[1]"


def test_file_name_stays_on_one_line() -> None:
    """A newline, an escape sequence or a byte that is not UTF-8 in a file name is escaped."""
    assert printable("/etc/a\nb\x1b[1m\udcff.toml") == "/etc/a\\nb\\u001b[1m\\udcff.toml"


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "bearer_token",
        "authToken",
        "Authorization",
        "client_secret",
        "api-key",
        "pass",
        "http_auth",
        "private_key_file",
        "credentials",
        "Cookie",
    ],
)
def test_key_of_a_secret_is_known(key: str) -> None:
    """Whatever it is called in headers and options, its value is hidden."""
    assert is_secret(key)
    assert redacted(key, "x") == HIDDEN
    assert redacted(key, {"inner": "x"}) == HIDDEN
    assert "hunter2" not in shown(key, "hunter2")


@pytest.mark.parametrize("key", ["compass", "author", "bypass", "interval", "key", "monkey", "paths", "labels"])
def test_ordinary_key_is_shown(key: str) -> None:
    """A word that only contains one of a secret is none."""
    assert not is_secret(key)
    assert redacted(key, "x") == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:hunter2@host/x", "https://user:<hidden>@host/x"),
        ("https://host/x?a=1&token=hunter2&b=2", "https://host/x?a=1&token=<hidden>&b=2"),
        ("--api-key=hunter2", "--api-key=<hidden>"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("plain", "plain"),
    ],
)
def test_secret_inside_a_text_is_hidden(text: str, expected: str) -> None:
    """Passwords of URLs and values of `token=` are hidden, the rest stays readable."""
    assert without_secrets(text) == expected


def test_argument_after_a_password_option_is_hidden() -> None:
    """A command line may carry its secret as the next word."""
    command = ["curl", "--oauth2-token", "hunter2", "--max-time", "5"]
    assert redacted("command", command) == ["curl", "--oauth2-token", HIDDEN, "--max-time", "5"]


def test_redacting_copies() -> None:
    """The settings themselves keep their secrets: an alert needs them."""
    values = {"headers": {"Authorization": "hunter2"}}
    assert redacted("", values) == {"headers": {"Authorization": HIDDEN}}
    assert values == {"headers": {"Authorization": "hunter2"}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (5, "5"),
        ({"a": 1}, "a table"),
        ([1], "a list"),
        ("a\nb", '"a\\nb"'),
        ("x" * 200, '"' + "x" * 58 + "…"),
    ],
)
def test_value_in_a_message_is_short_and_toml(value: object, text: str) -> None:
    """Messages stay on one line, however long or odd the value is."""
    assert shown("key", value) == text
