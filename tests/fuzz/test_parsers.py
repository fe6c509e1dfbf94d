# SPDX-License-Identifier: Apache-2.0
"""Every parser of foreign text takes whatever comes: it is refused in one way, or true, and soon done with."""

import ast
import contextlib
import re
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import campaign
from tests.fuzz.campaign import FOUND
from tests.fuzz.mutator import LONGEST, PIECES, Mutator
from tests.fuzz.table import PARSERS, Parser
from tests.tools import CHECKOUT

ALL = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
PARSING = re.compile(r"parse(_\w+)?|from_json|restore|decode|unescape|split_options|expired|watchdog_seconds")
OURS = {
    "engine.systemd:ServiceManager.watchdog_seconds",
    "frontend.site:_Tick.parse",  # of pipe.parse
}
"""Methods of such a name that parse nothing themselves."""

Edit = tuple[float, int, bytes]
"""Where (0 to 1), how many bytes are taken out, and what is put there."""
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=12)))


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """A text after some changes."""
    for place, taken, put in edits:
        at = int(place * len(data))
        data = data[:at] + put + data[at + taken :]
    return data


@ALL
def test_real_texts_are_accepted(parser: Parser) -> None:
    """What has been printed once is understood (a refusal as such is a result, too: dmsetup's `Invalid`)."""
    corpus = parser.corpus()
    assert corpus
    accepted = [campaign.examine(parser, data) for data in corpus]
    assert any(accepted)


@ALL
@settings(max_examples=25)
@given(choice=st.data(), edits=EDITS)
def test_changed_texts_and_garbage(parser: Parser, choice: st.DataObject, edits: list[Edit]) -> None:
    """Nothing but the one error of the parser is raised, and what is accepted is true of the input."""
    data = choice.draw(st.sampled_from(parser.corpus()) | st.binary(max_size=400))
    campaign.examine(parser, edited(data, edits))


@pytest.mark.parametrize("file", sorted(FOUND.glob("*-*")), ids=lambda file: file.name)
def test_what_was_found_once(file: Path) -> None:
    """Inputs on which a parser failed; their names begin with its."""
    (parser,) = [one for one in PARSERS if one.name == file.name.rpartition("-")[0]]
    campaign.examine(parser, file.read_bytes())


@ALL
def test_time_and_memory_grow_no_faster_than_the_text(parser: Parser) -> None:
    """Texts of 64 KiB, made of pieces of a real one repeated, take no quarter of a second and some megabytes."""
    for data in long_texts(parser.corpus()[0]):
        tracemalloc.start()
        with contextlib.suppress(*parser.refusals):
            parser.parse(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20 + 200 * len(data)
        with contextlib.suppress(*parser.refusals):
            started = time.process_time()
            parser.parse(data)
            assert time.process_time() - started < 0.5


def long_texts(data: bytes) -> Iterator[bytes]:
    """Some pieces of it, repeated."""
    middle = len(data) // 2
    for piece in (data, data[:middle] or b"a", b"1"):
        yield data[:middle] + piece * (LONGEST // len(piece)) + data[middle:]


def parsers_in(path: Path) -> Iterator[str]:
    """`module:function` of everything in a file that is called as parsers are."""
    module = ".".join(path.relative_to(CHECKOUT / "overlaywatch").with_suffix("").parts)
    tree = ast.parse(path.read_text())
    inner = {node: owner for owner in ast.walk(tree) if isinstance(owner, ast.ClassDef) for node in owner.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and PARSING.fullmatch(node.name):
            owner = inner.get(node)
            yield f"{module}:{owner.name}.{node.name}" if isinstance(owner, ast.ClassDef) else f"{module}:{node.name}"


def name_of(parser: Parser) -> str:
    """The same of a line of the table."""
    function = parser.function
    return f"{function.__module__.removeprefix('overlaywatch.')}:{function.__qualname__}"


def test_every_parser_is_in_the_table() -> None:
    """Whoever adds a parser adds a line to tests/fuzz/table.py, and a real text to tests/fuzz/corpus."""
    there = {name for path in (CHECKOUT / "overlaywatch").rglob("*.py") for name in parsers_in(path)}
    assert there - {name_of(parser) for parser in PARSERS} - OURS == set()


def test_names_are_unique() -> None:
    """A name stands for one line of the table, and every text of the corpus belongs to one."""
    names = [parser.name for parser in PARSERS]
    assert len(names) == len(set(names))
    texts = {path.name.partition(".")[0] for path in (FOUND.parent / "corpus").iterdir()} - {"README"}
    assert texts == {parser.texts or parser.name for parser in PARSERS}


def test_the_same_seed_gives_the_same_inputs() -> None:
    """What was found can be found again."""
    corpus = PARSERS[0].corpus()
    one, other, third = (Mutator(corpus, seed) for seed in ("1", "1", "2"))
    inputs = [one.input() for _ in range(100)]
    assert inputs == [other.input() for _ in range(100)]
    assert inputs != [third.input() for _ in range(100)]


def fragile(text: str) -> str:
    """A parser that cannot bear one word."""
    if "bad" in text:
        raise KeyError(text)
    return text


def test_a_failing_input_is_made_small() -> None:
    """Of a long input the part that matters is left."""
    parser = Parser("fragile", fragile, texts="mountinfo")
    error = KeyError()
    assert campaign.smallest(parser, b"x" * 300 + b"bad" + b"y" * 77, error) == b"bad"
