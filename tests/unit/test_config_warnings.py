# SPDX-License-Identifier: Apache-2.0
"""What is allowed and unwise is a warning, with its key."""

import tomllib

import pytest

from overlaywatch.config.checked import check
from overlaywatch.config.merge import Fragment, merge

ACTIONS = '[action.page]\ntype = "alertmanager"\n[action.free-caches]\ntype = "purge"\npaths = ["/x"]\n'


def stage(lines: str) -> str:
    """A file with one policy of one stage, in which `lines` are written."""
    return f'{ACTIONS}[[policy]]\nname = "p"\n[[policy.stage]]\n{lines}\n'


def warnings_of(text: str) -> tuple[str, ...]:
    """The warnings about one file."""
    return check(merge([Fragment("x.toml", tomllib.loads(text))]))[1]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[daemon]\ninterval = "61s"', "daemon.interval"),
        (stage('name = "s"\nstate_is = ["ok"]\nactions = ["page"]'), "policy.p.stage.s.state_is"),
        (stage('name = "s"\nstate_is = ["unknown"]\nactions = ["page"]'), "policy.p.stage.s.state_is"),
        (stage('name = "s"\nstate_is = ["unreadable"]\nactions = ["page"]'), "policy.p.stage.s.state_is"),
        (stage('name = "s"\nused_above = "5%"\nhold = "11m"\nactions = ["page"]'), "policy.p.stage.s.hold"),
    ],
)
def test_unwise_value_is_a_warning(text: str, key: str) -> None:
    """What is allowed but unwise is told once, with file and key."""
    assert [line.split(": ")[:2] for line in warnings_of(text)] == [["x.toml", key]]


@pytest.mark.parametrize(
    ("watch", "count"),
    [
        ("", 0),
        ('exclude = ["/var"]', 1),
        ('include = ["/"]', 1),
        ('include = ["/", "/var"]', 0),
        ('exclude = ["/"]', 0),
    ],
)
def test_policy_for_a_mount_point_that_is_not_watched_is_a_warning(watch: str, count: int) -> None:
    """Such a policy would never act, and nobody would notice until too late."""
    policy = (
        '[[policy]]\nname = "p"\nmount_point = "/var"\n[[policy.stage]]\nname="s"\nused_above="5%"\nactions=["page"]'
    )
    assert len(warnings_of(f"{ACTIONS}[watch]\n{watch}\n{policy}")) == count
