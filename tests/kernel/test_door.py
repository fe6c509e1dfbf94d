# SPDX-License-Identifier: Apache-2.0
"""What a source knows comes through the one door to the machine: only then can it be captured and answered again."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.tools import CHECKOUT

PACKAGE = CHECKOUT / "overlaywatch"

OUTSIDE = frozenset(
    {"machine", "kept_file", "captured", "capture_tar", "namespace", "lean"}
    | {"dm_open", "dm_captured", "dm_dmsetup", "dm_ioctl"}
    | {"beneath", "openfiles", "writers", "reboot", "place", "process", "uevent"}
    | {"fsmap", "exception_store"}
)
"""The door itself and what lies behind it; device-mapper, which is captured as text; what serves actions, which change
the running machine and no other; and what `explain --deep` reads of the running machine alone."""

TOUCHING = frozenset({"read_bytes", "read_text", "exists", "is_dir", "is_file", "iterdir", "glob", "rglob", "open"})
MODULES = frozenset({"os", "fcntl"})
HARMLESS = frozenset({"major", "minor", "makedev", "strerror", "fspath", "fsencode", "fsdecode", "getpagesize"})


def asked_through_calls(tree: ast.Module) -> set[str]:
    """The functions of a file that are handed to a Call (kernel/calls.py)."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    arguments = [
        one for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Call" for one in call.args
    ]
    return {one.id for one in arguments if isinstance(one, ast.Name)}


def touches(path: Path) -> Iterator[str]:
    """Each place where a file touches the machine by itself."""
    tree = ast.parse(path.read_text())
    allowed = asked_through_calls(tree)
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name not in allowed]:
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _touches(node.func):
                yield f"{path.relative_to(CHECKOUT)}:{node.lineno} {ast.unparse(node.func)}"


def _touches(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "open"
    if not isinstance(function, ast.Attribute):
        return False
    if isinstance(function.value, ast.Name) and function.value.id in MODULES:
        return function.attr not in HARMLESS
    return function.attr in TOUCHING


def test_whatever_is_looked_at_goes_through_the_machine() -> None:
    """machine.read(), names(), link(), keep() for files, a Call for system calls: see kernel/machine.py."""
    files = [*(PACKAGE / "sources").glob("*.py"), *(PACKAGE / "kernel").glob("*.py")]
    looked = [path for path in files if path.stem not in OUTSIDE]
    assert [place for path in looked for place in touches(path)] == []
