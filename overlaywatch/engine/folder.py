# SPDX-License-Identifier: Apache-2.0
"""Where the daemon keeps its state and is paused: one folder on /run. Must not know what lies in it."""

from collections.abc import Mapping
from pathlib import Path


def run_directory(environ: Mapping[str, str], root: str | Path = "/") -> Path:
    """What systemd gives (RuntimeDirectory=, systemd.exec(5)), else run/overlaywatch below the root of the machine."""
    return Path(root, environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "run/overlaywatch")
