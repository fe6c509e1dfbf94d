# SPDX-License-Identifier: Apache-2.0
"""A second process races with purge, on the same tree, as fast as it can; what it aims at must survive."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from overlaywatch.model import OutcomeKind
from tests.actions.facts import decision, surroundings
from tests.actions.private_mounts import in_private_mounts, mount_tmpfs
from tests.actions.trees import KIB, carry_out, purge, put

ROUNDS: Final = 25

# renameat2(RENAME_EXCHANGE) swaps two names in one step, so there is never a moment without either.
ATTACKER: Final = """
import ctypes, os, sys, time
os.chdir(sys.argv[1])
renameat2 = ctypes.CDLL(None).renameat2
one, other = map(os.fsencode, sys.argv[2:])
print("ready", flush=True)
while True:
    renameat2(-100, one, -100, other, 2)
    time.sleep(20e-6)  # a second of nothing but renames slows every look-up on the machine
"""


class Attacker:
    """Swaps two names below a folder for as long as it is entered."""

    def __init__(self, root: Path, one: str, other: str) -> None:
        command = [sys.executable, "-c", ATTACKER, str(root), one, other]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def __enter__(self) -> "Attacker":
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@in_private_mounts
def test_folder_swapped_for_a_symbolic_link(tmp_path: Path) -> None:
    """The classic: a folder on the way becomes a link to where the victim is."""
    root = mount_tmpfs(tmp_path / "m")
    victim = put(root / "secrets/f")
    put(root / "cache/d/f")
    os.symlink("../secrets", root / "cache/link")
    with Attacker(root, "cache/d", "cache/link"):
        for _ in range(2 * ROUNDS):
            carry_out(purge(root, ("cache/d/*",)), decision(str(root)), surroundings())
            assert victim.exists()


@in_private_mounts
def test_folder_swapped_with_one_that_is_not_meant(tmp_path: Path) -> None:
    """Files of a folder that is only at times below the pattern, young and of the same names, stay."""
    root = mount_tmpfs(tmp_path / "m")
    for turn in range(5):
        own, other = f"cache/{turn}/d", f"kept/{turn}"
        victims = {put(root / other / name, age=-(10**9)).stat().st_ino for name in "fg"}
        put(root / own / "f")
        with Attacker(root, own, other):
            for _ in range(3):
                carry_out(purge(root, ("cache/*/d/*",)), decision(str(root)), surroundings())
        assert victims <= {status.st_ino for status in map(os.stat, every_file(root))}


def every_file(root: Path) -> list[str]:
    """All files below a folder."""
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]


@pytest.mark.parametrize("kind", ["link", "fifo", "hardlink", "folder"])
@in_private_mounts
def test_file_swapped_for_something_else(kind: str, tmp_path: Path) -> None:
    """A file that is at times a link, a FIFO, a second name or a folder: the victim stays, and nothing hangs."""
    root = mount_tmpfs(tmp_path / "m")
    victim = put(root / "secrets/f")
    put(root / "cache/f")
    make_other(kind, root / "other", victim)
    with Attacker(root, "cache/f", "other"):
        for _ in range(ROUNDS):
            carry_out(purge(root), decision(str(root)), surroundings())
    assert victim.stat().st_size == 64 * KIB


def make_other(kind: str, other: Path, victim: Path) -> None:
    """What the file is swapped for."""
    if kind == "link":
        other.symlink_to("secrets/f")
    elif kind == "fifo":
        os.mkfifo(other)
    elif kind == "hardlink":
        os.link(victim, other)
    else:
        other.mkdir()


@in_private_mounts
def test_files_that_come_and_go(tmp_path: Path) -> None:
    """Among files that others create and delete all the time, purge ends without an error and takes some."""
    root = mount_tmpfs(tmp_path / "m")
    script = (
        "import os, sys\n"
        "os.chdir(sys.argv[1]); print('ready', flush=True)\n"
        "while True:\n"
        "    for name in map(str, range(50)):\n"
        "        open(name, 'w').write('x' * 5000)\n"
        "    for name in map(str, range(50)):\n"
        "        try: os.unlink(name)\n"
        "        except FileNotFoundError: pass\n"
    )
    (root / "cache").mkdir()
    outcomes: list[OutcomeKind] = []
    taken = 0
    with subprocess.Popen([sys.executable, "-c", script, root / "cache"], stdout=subprocess.PIPE) as churner:
        try:
            assert churner.stdout is not None
            assert churner.stdout.readline() == b"ready\n"
            for _ in range(ROUNDS):
                put(root / "cache/mine")
                outcomes.append(carry_out(purge(root), decision(str(root)))[1].kind)
                taken += not (root / "cache/mine").exists()
        finally:
            churner.kill()
    assert set(outcomes) <= {OutcomeKind.APPLIED, OutcomeKind.REFUSED}
    assert taken > 0
