# SPDX-License-Identifier: Apache-2.0
"""Every live system, captured or reconstructed, and what overlaywatch says of it.

`python -m tests.machines --update` writes the answers anew. Read what it changed (git diff) with the eyes of somebody
whose server is filling up.
"""

import json
import re

import pytest

from overlaywatch.model import LayerId
from overlaywatch.units import MIB
from tests.machines.machine import FOLDER, NAMES, STATUS, Machine, differences

ORIGIN = re.compile(r"(captured|reconstructed): \S.*", re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_person_expects_is_said(name: str) -> None:
    """Live system, limit, failure, headroom and remedy, from what is known of the system."""
    machine = Machine(name)
    assert differences(machine.manifest["expected"], json.loads(machine.answers()[STATUS])) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_that_which_was_agreed_to(name: str) -> None:
    """`status --json` and /metrics, to the byte."""
    machine = Machine(name)
    assert machine.answers() == machine.kept(), "if it is right: python -m tests.machines --update, and read git diff"


@pytest.mark.parametrize("name", NAMES)
def test_every_machine_says_where_it_is_from(name: str) -> None:
    """A real one, or put together from what; the table in README.md has it."""
    assert ORIGIN.fullmatch(Machine(name).manifest["origin"])
    assert f"| `{name}` |" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_part_of_a_machine_can_be_read(name: str) -> None:
    """Nothing in it is damaged or missing."""
    assert [report.error for report in Machine(name).look().survey.sources if not report.success] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_remedy_makes_a_tmpfs_larger_than_ram_can_bear(name: str) -> None:
    """Who follows it must not get the OOM killer in place of 'No space left on device'."""
    tick = Machine(name).look()
    ram = tick.survey.readings[LayerId("ram")]
    for verdict in tick.verdicts:
        grown = re.search(r"size=(\d+)m ", verdict.remedy)
        used = tick.survey.readings[verdict.limit].used_bytes if grown and verdict.limit else None
        if grown and used is not None and ram.headroom_bytes is not None:
            assert int(grown[1]) * MIB - used <= ram.headroom_bytes + ram.swap_bytes, verdict.remedy
