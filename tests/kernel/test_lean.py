# SPDX-License-Identifier: Apache-2.0
"""A part of a package can be had without the whole, and the whole can still be had later."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.kernel.lean import bare_package


@pytest.fixture
def package(tmp_path: Path) -> Iterator[str]:
    """A package whose __init__ is told from its part, and one part that needs what __init__ makes."""
    folder = tmp_path / "heavyweight"
    folder.mkdir()
    (folder / "__init__.py").write_text("whole = True\n")
    (folder / "part.py").write_text("from heavyweight import other\nvalue = other.value\n")
    (folder / "other.py").write_text("value = 7\n")
    (folder / "needy.py").write_text("from heavyweight.other import value\nfrom heavyweight import whole\n")
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield "heavyweight"
    sys.path.remove(str(tmp_path))
    for name in [one for one in sys.modules if one.partition(".")[0] == "heavyweight"]:
        del sys.modules[name]


def test_part_without_the_whole(package: str) -> None:
    """The part works, with its own imports; afterwards the package is imported as ever."""
    with bare_package(package):
        assert importlib.import_module(f"{package}.part").value == 7
    assert package not in sys.modules
    assert importlib.import_module(package).whole


def test_part_that_needs_the_whole(package: str) -> None:
    """The error is raised and nothing half-made stays behind."""
    with pytest.raises(ImportError, match="whole"), bare_package(package):
        importlib.import_module(f"{package}.needy")
    assert not [one for one in sys.modules if one.startswith(package)]
    assert importlib.import_module(f"{package}.needy").value == 7


def test_package_that_is_there_already(package: str) -> None:
    """It stays as it is."""
    whole = importlib.import_module(package)
    with bare_package(package):
        importlib.import_module(f"{package}.part")
    assert sys.modules[package] is whole


def test_package_that_is_missing() -> None:
    """The import says so, as ever."""
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), bare_package("no_such_package"):
        importlib.import_module("no_such_package.part")
