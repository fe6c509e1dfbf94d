# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.lab [OPTIONS] COMMAND…`: run a command, or a shell, in a guest, on this terminal."""

import argparse
import sys
from pathlib import Path

from tests.lab.uml import CHECKOUT, Guest, Init, LabError, Root, run


def parse(arguments: list[str]) -> Guest:
    """The guest that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--memory", default="1G", help="RAM of the guest (default: 1G)")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds until it is killed (default: 3600)")
    parser.add_argument("--systemd", action="store_true", help="boot systemd, dbus and logind before the command")
    parser.add_argument("--snapshot", action="store_true", help="a root on a dm-snapshot, as a live system has it")
    parser.add_argument("--boots", type=int, default=1, help="how often it may boot (default: 1)")
    parser.add_argument("--results", type=Path, default=CHECKOUT / ".lab" / "shell", help="seen as /run/lab inside")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="default: a shell")
    given = parser.parse_args(arguments)
    if not given.command and not sys.stdin.isatty():
        parser.error("a shell needs a terminal; name a command")
    command = tuple(word for word in given.command if word != "--") or ("/bin/bash", "-i")
    init: Init = "systemd" if given.systemd else "command"
    root: Root = "snapshot" if given.snapshot else "overlay"
    return Guest(command, given.results, given.timeout, given.memory, init, given.boots, root=root)


def main() -> int:
    """The exit status of the command; 1 if the guest ended without one."""
    try:
        ending = run(parse(sys.argv[1:]), console="typed")
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 1 if ending.status is None else ending.status


if __name__ == "__main__":
    sys.exit(main())
