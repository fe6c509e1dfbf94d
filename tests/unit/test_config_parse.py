# SPDX-License-Identifier: Apache-2.0
"""TOML text to tables, and errors with their place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.parse import DEEPEST, parse_fragment


def failure(data: bytes) -> str:
    """The text of the errors of a file called x.toml."""
    with pytest.raises(ConfigErrors) as caught:
        parse_fragment("x.toml", data)
    return str(caught.value)


def test_good_text_is_a_table() -> None:
    """The table is what TOML says, and a byte order mark of some editors is no part of it."""
    fragment = parse_fragment("x.toml", b'\xef\xbb\xbf[daemon]\ninterval = "5s"\n')
    assert (fragment.file, fragment.values) == ("x.toml", {"daemon": {"interval": "5s"}})


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"[daemon]\ninterval = 5s\n", "x.toml:2:13: not TOML: "),
        (b"a = 1\na = 2\n", "x.toml:2:6: not TOML: "),
        (b"a = [1,\n  2", "x.toml:2:4: not TOML: "),
        (b'a = "open', "x.toml:1:10: not TOML: "),
        (b"a = 'x'\nb = '\xff'\n", "x.toml:2:6: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a = 'ä'\nb = 'ä".encode() + b"\xe4'\n", "x.toml:2:7: byte 0xe4 is not UTF-8"),
    ],
)
def test_syntax_error_has_line_and_column(data: bytes, begins: str) -> None:
    """The place is where an editor jumps to: file:line:column, both from 1, columns in characters."""
    assert failure(data).startswith(begins)


@pytest.mark.parametrize(
    "data",
    [
        b"x = " + b"9" * 5000,
        b"x = " + b"[" * 20000,
        b"x = 2024-02-31",
        b"x = " + b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2),
        b".".join([b"a"] * 3000) + b" = 1",
        b"x = 0x" + b"f" * 5000,
    ],
    ids=["digits", "open-lists", "calendar", "deep-lists", "dotted", "hexadecimal"],
)
def test_extravagant_file_is_refused(data: bytes) -> None:
    """What would trip the interpreter's limits is an error of the file, not a traceback."""
    assert failure(data).startswith(("x.toml: ", "x.toml:1:"))


def test_number_beyond_64_bits_names_its_key() -> None:
    """TOML numbers have 64 bits; the largest of them pass."""
    assert parse_fragment("x.toml", b"x = 9223372036854775807").values == {"x": 2**63 - 1}
    assert failure(b"a.b = [1, 9223372036854775808]").startswith("x.toml: a.b[1]: the number is too large")


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_table_or_config_errors(data: bytes) -> None:
    """No content of a file makes the parser fail in another way."""
    lines: list[str] = []
    try:
        assert parse_fragment("x.toml", data).file == "x.toml"
    except ConfigErrors as error:
        lines = str(error).splitlines()
    assert all(line.startswith("x.toml:") for line in lines)
