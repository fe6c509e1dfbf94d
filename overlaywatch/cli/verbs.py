# SPDX-License-Identifier: Apache-2.0
"""The table of verbs: one line to add one.

This file must not import any of them: that is what keeps `overlaywatch status` quick.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its name (of one or two words), the module that does it, and what it does in a line.

    A plugin keeps to the exit statuses of monitoring plugins, whatever goes wrong. A verb `looks` if it asks the
    machine anything: it can then be asked of a captured one.
    """

    name: str
    takes: str
    module: str
    summary: str
    plugin: bool = False
    looks: bool = True


VERBS: Final = (
    Verb("status", "", "status", "one look, now: mount points and the layers below them"),
    Verb("explain", "[MOUNT_POINT]", "explain", "the way down to RAM, what ends first, and what helps"),
    Verb("check", "[MOUNT_POINT]", "check", "monitoring plugin: ok, warning, critical or unknown", plugin=True),
    Verb("plan", "", "plan", "what every policy would do right now, doing nothing"),
    Verb("config check", "[PATH]", "config_check", "check the configuration, and tell every error in it"),
    Verb("config show", "", "config_show", "the merged configuration, and the file of each value"),
    Verb("capture", "FILE.tar", "capture", "record what is seen here, for a report or a test"),
    Verb("pause", "[DURATION]", "pause", "no action but alerts until resumed, or for a time", looks=False),
    Verb("resume", "", "resume", "end the pause", looks=False),
    Verb("run", "", "run", "the daemon, in the foreground"),
)
