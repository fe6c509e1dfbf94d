# SPDX-License-Identifier: Apache-2.0
"""Which machine this is, and what the daemon may see on it. Must not know why anybody asks."""

import os
from pathlib import Path

from overlaywatch.model import Host


def describe() -> Host:
    """The host as it is at start. The boot id tells one boot from the next (random(4))."""
    uname = os.uname()
    privileged = os.geteuid() == 0
    notes = () if privileged else ("not root: device-mapper and the files behind loops cannot be seen; run it as root",)
    return Host(
        hostname=uname.nodename,
        kernel=uname.release,
        boot_id=boot_id(),
        privileged=privileged,
        notes=notes,
    )


def boot_id() -> str:
    """The kernel's name for this boot; empty if /proc is not there."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
