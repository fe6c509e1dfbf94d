# SPDX-License-Identifier: Apache-2.0
"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import CHECKOUT

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 40
LICENSE = "# SPDX-License-Identifier: Apache-2.0"

# Where the project was written, and by what, is of no interest to those who read it. In pieces, so
# that this file does not contain what it looks for.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.-])/wo" + "rk/",
            "/tm" + r"p/v\b",
            r"\b\.\./shar" + "ed",
            r"\bpyp" + r"i\.org\b",
            r"\bdeb\.deb" + r"ian\.org\b",
        ]
    )
)


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository; without git (a source package) all that are there."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [CHECKOUT / name for name in listed.stdout.splitlines() if (CHECKOUT / name).is_file()]
    return [path for pattern in patterns or ("*",) for path in CHECKOUT.rglob(pattern) if path.is_file()]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file, as `path:line name`, with its number of lines without the docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body
            lines = (node.end_lineno or node.lineno) - body[0].lineno + 1
            yield f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}", lines


def test_files_can_be_read_at_one_sitting() -> None:
    """No Python file has more than 400 lines."""
    long = {
        str(path): lines for path in tracked("*.py") if (lines := path.read_text().count("\n")) > MOST_LINES_OF_A_FILE
    }
    assert long == {}


def test_functions_can_be_seen_at_one_glance() -> None:
    """No function has more than 40 lines below its docstring."""
    long = [
        (name, lines) for path in tracked("*.py") for name, lines in functions(path) if lines > MOST_LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_every_file_names_its_license_and_its_purpose() -> None:
    """Each Python file begins with the licence; each that is not empty says what it is for."""
    bare = [str(path) for path in tracked("*.py") if path.read_text().strip() and not introduced(path.read_text())]
    assert bare == []


def introduced(text: str) -> bool:
    """Whether a file opens with the licence and, if there is code in it, a docstring."""
    tree = ast.parse(text)
    lines = text.splitlines()
    license_line = lines[1] if lines[0].startswith("#!") else lines[0]
    return license_line == LICENSE and (not tree.body or ast.get_docstring(tree) is not None)


def test_tracked_files_speak_of_the_project_only() -> None:
    """No file names the places where the project was written."""
    found = [
        f"{path.relative_to(CHECKOUT)}: {match[0]}"
        for path in tracked()
        if (match := FORBIDDEN.search(path.read_bytes().decode(errors="replace")))
    ]
    assert found == []


@pytest.mark.parametrize("word", ["unittest.mock", "monkeypatch", "mocker"])
def test_no_test_replaces_parts_of_the_program(word: str) -> None:
    """Tests use real files, sockets and programs, or a second implementation; nothing is patched."""
    users = [str(path) for path in tracked("tests/*.py", "tests/**/*.py") if word in path.read_text()]
    assert [user for user in users if Path(user) != Path(__file__)] == []


def test_every_test_says_what_it_shows() -> None:
    """Each test function has a docstring: the behaviour, in a sentence."""
    silent = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}"
        for path in tracked("tests/*.py", "tests/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []
