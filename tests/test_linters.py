# SPDX-License-Identifier: Apache-2.0
"""The linters are tests: what they say is settled before a reader has to."""

import pytest

from tests.tools import output_of


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("mypy",),
        ("lint-imports",),
    ],
    ids=["style", "format", "types", "imports"],
)
def test_linter_has_nothing_to_say(command: tuple[str, ...]) -> None:
    """Style, format, types (strict, tests too) and the direction of imports are as pyproject.toml wants them."""
    said = output_of(command)
    assert said.returncode == 0, said.stdout


def test_shell_scripts_are_portable() -> None:
    """The few shell scripts run in any POSIX shell: sh reads each of them without a complaint."""
    for script in ("packaging/checkout/venv.sh", "packaging/checkout/packages.sh", "packaging/checkout/install.sh"):
        said = output_of(["sh", "-n", script])
        assert said.returncode == 0, said.stdout
