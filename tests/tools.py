# SPDX-License-Identifier: Apache-2.0
"""Programs that a test needs: one that is missing is a skip at home and a failure with CI=true."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def need(program: str) -> str:
    """The path of a program: beside this Python, on PATH, or where only root's PATH leads."""
    found = shutil.which(program, path=PLACES)
    if found is not None:
        return found
    reason = f"{program} is not installed: as root, `make packages` installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def output_of(command: Sequence[str | Path], cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run a program of need() to its end; stdout and stderr in one, in `stdout`."""
    program, *arguments = command
    return subprocess.run(
        [need(str(program)), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
