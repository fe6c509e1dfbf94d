# SPDX-License-Identifier: Apache-2.0
"""`make install`: the tree that an image builder gets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from overlaywatch import __version__
from tests.tools import CHECKOUT


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed tree, below a DESTDIR."""
    destination = tmp_path_factory.mktemp("image")
    environment = os.environ | {"PYTHON": sys.executable}
    command = [str(CHECKOUT / "packaging/checkout/install.sh"), str(destination), "/usr"]
    subprocess.run(command, check=True, env=environment)
    return destination


def test_installed_program_runs_from_where_it_was_put(tree: Path) -> None:
    """It finds its package beside itself, whatever the working directory and the environment hold."""
    hostile = os.environ | {"PYTHONPATH": str(tree), "PYTHONHOME": "/nonexistent"}
    command = [str(tree / "usr/bin/overlaywatch"), "--version"]
    done = subprocess.run(command, cwd=tree, env=hostile, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def test_everything_that_systemd_needs_is_in_its_place(tree: Path) -> None:
    """Unit, preset and user lie where systemd looks for them."""
    for path in ("systemd/system/overlaywatch.service", "systemd/system-preset/90-overlaywatch.preset"):
        assert (tree / "usr/lib" / path).is_file()
    assert "u overlaywatch" in (tree / "usr/lib/sysusers.d/overlaywatch.conf").read_text()


def test_whole_package_is_there_and_compiled(tree: Path) -> None:
    """Each module is installed with its bytecode: a live root shall not be written to by the first start."""
    installed = tree / "usr/lib/overlaywatch"
    modules = {path.relative_to(CHECKOUT) for path in (CHECKOUT / "overlaywatch").rglob("*.py")}
    assert {path.relative_to(installed) for path in installed.rglob("*.py")} == modules
    assert len(list(installed.rglob("*.pyc"))) == len(modules)
