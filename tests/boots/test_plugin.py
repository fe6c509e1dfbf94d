# SPDX-License-Identifier: Apache-2.0
"""Tests that run in a guest are seen as what they were, also when they take the guest down with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import CHECKOUT

pytestmark = pytest.mark.boots

SUITE = """
import ctypes, os, pytest
pytestmark = pytest.mark.kernel(lab=True)

def test_passes():
    assert os.environ["OVERLAYWATCH_LAB"] == "inside"

def test_fails():
    assert "left" == "right"

def test_skips():
    pytest.skip("not today")

def test_panics():
    open("/proc/sysrq-trigger", "w").write("c")

def test_follows_the_panic():
    pass

def test_reboots():
    ctypes.CDLL(None).reboot(0x01234567)

def test_follows_the_reboot():
    pass
"""


def run_pytest(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """pytest with the plugin, on a folder that is a project of its own."""
    options = ("-p", "tests.lab.plugin", "-v", "-rs", f"--rootdir={folder}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, folder],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_guest_test_is_reported_as_it_was(tmp_path: Path) -> None:
    """Pass, fail and skip come through; a panic and a reboot are the failure of the test that caused them alone."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = run_pytest(tmp_path, dict(os.environ))
    said = {line.split()[0].partition("::")[2]: line.split()[1] for line in done.stdout.splitlines() if "%]" in line}
    assert said == {
        "test_passes": "PASSED",
        "test_fails": "FAILED",
        "test_skips": "SKIPPED",
        "test_panics": "FAILED",
        "test_follows_the_panic": "PASSED",
        "test_reboots": "FAILED",
        "test_follows_the_reboot": "PASSED",
    }
    assert "its kernel panicked" in done.stdout
    assert "it ended in boot 2" in done.stdout
    assert "assert 'left' == 'right'" in done.stdout


def test_missing_kernel_is_a_skip_at_home_and_a_failure_in_ci(tmp_path: Path) -> None:
    """Where no lab kernel can be found, nothing passes unseen."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    # Nothing but this Python on PATH, and no sbin folder has the lab kernel, which lies in /usr/bin.
    home = {"PATH": "/nonexistent"}
    for environment, outcome in ((home, "7 skipped"), (home | {"CI": "true"}, "7 errors")):
        done = run_pytest(tmp_path, environment)
        assert outcome in done.stdout
        assert "linux.uml" in done.stdout
