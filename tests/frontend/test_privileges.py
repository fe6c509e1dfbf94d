# SPDX-License-Identifier: Apache-2.0
"""Giving up privilege where there is none, where there is only a pretence of it, and proof by the kernel."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from overlaywatch.frontend import privileges
from overlaywatch.frontend.privileges import NOBODY, Identity, PrivilegeError
from tests.tools import CHECKOUT, need

PROGRAM = """
import os, sys
from overlaywatch.frontend import privileges

identity = privileges.find_identity()
if sys.argv[1:] == ["nobody"]:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
print(privileges.drop(identity, (0, 1, 2)))
with open("/proc/self/status") as file:
    facts = dict(line.split(":", 1) for line in file)
print(int(facts["CapEff"], 16) | int(facts["CapPrm"], 16) | int(facts["CapInh"], 16), facts["NoNewPrivs"].strip())
"""


def said(command: list[str]) -> str:
    """What PROGRAM prints."""
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def in_a_child(act: Callable[[], object]) -> int:
    """Run it in a forked child: 0 if it returns, 1 for PrivilegeError, 2 for anything else."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            act()
            status = 0
        except PrivilegeError:
            status = 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_without_privilege_there_is_nothing_to_give_up() -> None:
    """Started by an ordinary user it says so, and is closed in all the same."""
    as_nobody = ["nobody"] if os.geteuid() == 0 else []
    words, facts = said([sys.executable, "-c", PROGRAM, *as_nobody]).splitlines()
    assert words.endswith("there is no privilege to give up")
    assert facts == "0 1"


def test_root_of_a_namespace_has_nobody_to_become() -> None:
    """As the only user of a user namespace it stays that user, has no capability, and says so."""
    command = [need("unshare"), "--user", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel, or this container, lets nobody make a user namespace")
    words, facts = said([*command, sys.executable, "-c", PROGRAM]).splitlines()
    assert words.startswith("has no capabilities, and stays uid 0 of a user namespace")
    assert facts == "0 1"


def test_what_is_left_is_noticed() -> None:
    """The proof fails for a process that has given up nothing, and names what is left."""
    with pytest.raises(PrivilegeError) as left:
        privileges.verify(Identity("nobody", NOBODY, NOBODY), keep=())
    assert "the right to gain privileges by execve" in str(left.value)
    assert "a file descriptor of the engine" in str(left.value)
    assert ("a capability" in str(left.value)) == (os.geteuid() == 0)


def test_a_descriptor_that_is_left_is_noticed() -> None:
    """After everything is given up the proof holds for what was kept, and not for one descriptor more."""
    identity = privileges.find_identity()
    assert in_a_child(lambda: privileges.drop(identity, (1, 2))) == 0

    def with_one_more() -> None:
        privileges.drop(identity, (1, 2))
        privileges.verify(None, (1,))

    assert in_a_child(with_one_more) == 1


def test_every_descriptor_but_the_kept_is_closed() -> None:
    """Kept numbers stay open, in any order; the rest is closed, however high."""
    numbers = [os.dup(2) for _ in range(5)]
    high = os.dup2(2, 1000)

    def check() -> None:
        privileges.close_all_but([numbers[3], 2, numbers[1], 2])
        is_open = {number for number in range(1024) if privileges.is_open(number)}
        assert is_open == {2, numbers[1], numbers[3]}

    assert in_a_child(check) == 0
    for number in (*numbers, high):
        os.close(number)
