# SPDX-License-Identifier: Apache-2.0
"""The unit and its friends, as systemd itself understands them."""

import itertools
import re
import shutil
from pathlib import Path

import pytest

from tests.tools import CHECKOUT, output_of

UNIT = CHECKOUT / "systemd" / "overlaywatch.service"
EXPOSURE = 4.2
"""What systemd-analyze of Debian 12 (252) says; 10 is a service without any protection, root without sandbox is 9.6."""
DIRECTIVE = re.compile(r"[A-Z]\w+=")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with the machine's own units, ours, and the programs that ours names."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree("/usr/lib/systemd/system", units, symlinks=True)
    shutil.copy(UNIT, units)
    for program in ("usr/bin/overlaywatch", "bin/kill"):
        stub = tmp_path / program
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("#!/bin/sh\n")
        stub.chmod(0o755)
    return tmp_path


def test_every_directive_has_its_reason() -> None:
    """Above each line that sets something stands a comment that says why."""
    lines = UNIT.read_text().splitlines()
    bare = [line for above, line in itertools.pairwise(lines) if DIRECTIVE.match(line) and above[:1] != "#"]
    assert bare == []


def test_systemd_finds_nothing_wrong_with_the_unit(tree: Path) -> None:
    """systemd-analyze verify has not a word to say about it."""
    checked = output_of(["systemd-analyze", "verify", "--man=no", f"--root={tree}", UNIT.name])
    ours = [line for line in checked.stdout.splitlines() if "overlaywatch" in line]
    assert (checked.returncode, ours) == (0, [])


def test_verify_would_see_a_mistake(tree: Path) -> None:
    """The test above can fail: a misspelt directive is reported."""
    unit = tree / "usr/lib/systemd/system" / UNIT.name
    unit.write_text(UNIT.read_text().replace("WatchdogSec=", "WatchDogSeconds="))
    checked = output_of(["systemd-analyze", "verify", "--man=no", f"--root={tree}", UNIT.name])
    assert "WatchDogSeconds" in checked.stdout


def test_exposure_is_as_low_as_the_work_allows() -> None:
    """systemd-analyze security gives the figure that we state, and would fail on a worse one."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    said = output_of([*command, f"--threshold={EXPOSURE * 10:.0f}", UNIT])
    assert re.search(rf"Overall exposure level for overlaywatch.service: {EXPOSURE}", said.stdout)
    assert said.returncode == 0
    assert output_of([*command, f"--threshold={EXPOSURE * 10 - 1:.0f}", UNIT]).returncode != 0


def test_the_user_of_the_frontend_is_made(tmp_path: Path) -> None:
    """systemd-sysusers makes a user without a home and without a shell."""
    (tmp_path / "etc").mkdir()
    made = output_of(["systemd-sysusers", f"--root={tmp_path}", CHECKOUT / "systemd/overlaywatch.sysusers"])
    assert made.returncode == 0, made.stdout
    fields = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert (fields[0], fields[5], fields[6]) == ("overlaywatch", "/", "/usr/sbin/nologin")


def test_installed_means_enabled(tree: Path) -> None:
    """The preset enables the unit, so that an image that contains it also runs it."""
    presets = tree / "usr/lib/systemd/system-preset"
    presets.mkdir()
    shutil.copy(CHECKOUT / "systemd/90-overlaywatch.preset", presets)
    done = output_of(["systemctl", f"--root={tree}", "preset", UNIT.name])
    assert done.returncode == 0, done.stdout
    assert (tree / "etc/systemd/system/multi-user.target.wants" / UNIT.name).is_symlink()
