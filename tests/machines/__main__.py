# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.machines [NAME...]` shows what is said of each; `--update` keeps what is as expected."""

import json
import sys

from overlaywatch.cli.explain_view import render_explain
from overlaywatch.cli.screen import Screen
from tests.machines.machine import NAMES, STATUS, Machine, differences


def show(machine: Machine) -> None:
    """As `explain` does, and what is not as expected."""
    tick = machine.look()
    print(f"═══ {machine.name}: {machine.manifest['origin']}\n")
    print("\n".join(render_explain(tick, tick.verdicts, Screen(120))), "\n")


def main(words: list[str]) -> int:
    """How many machines are not as expected."""
    names, wrong = [word for word in words if word != "--update"] or NAMES, 0
    for machine in map(Machine, names):
        if "--update" not in words:
            show(machine)
        found = differences(machine.manifest["expected"], json.loads(machine.answers()[STATUS]))
        for difference in found:
            print(f"{machine.name}: {difference}")
        if "--update" in words and not found and machine.keep():
            print(f"{machine.name}: written")
        wrong += bool(found)
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
