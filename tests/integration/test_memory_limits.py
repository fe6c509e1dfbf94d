# SPDX-License-Identifier: Apache-2.0
"""A cgroup with a limit on a real kernel: what it has left is announced, and the OOM killer comes at its end."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.model import Failure
from tests.integration.devices import MIB
from tests.integration.stacks import mounted
from tests.integration.test_chains import verdict

pytestmark = pytest.mark.kernel

ROOT = Path("/sys/fs/cgroup")
WRITER = """
import os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
while os.write(fd, bytes(range(256)) * 4096):
    pass
"""


@contextlib.contextmanager
def limited(limit: int) -> Iterator[Path]:
    """A slice right below the root."""
    (ROOT / "cgroup.subtree_control").write_text("+memory")
    folder = ROOT / "ow-test.slice"
    folder.mkdir()
    try:
        (folder / "memory.max").write_text(str(limit))
        yield folder
    finally:
        folder.rmdir()


@pytest.mark.skipif(not (ROOT / "cgroup.controllers").exists(), reason="needs cgroup v2")
def test_a_slice_ends_before_the_machine(tmp_path: Path) -> None:
    """A tmpfs of 512 MiB, written to from a slice of 64: what its writer itself needs is not known beforehand."""
    with mounted("tmpfs", tmp_path / "m", "tmpfs", "size=512m") as place, limited(64 * MIB) as folder:
        found = verdict(place)
        writer = [sys.executable, "-c", WRITER, str(folder / "cgroup.procs"), str(place / "more")]
        ended = subprocess.run(writer, check=False, capture_output=True).returncode
        truth = (place / "more").stat().st_size
        full = verdict(place)
        (place / "more").unlink()
    assert ended == -9
    assert (found.limit, found.failure) == ("ram", Failure.OOM)
    assert found.headroom_bytes is not None
    assert truth <= found.headroom_bytes + MIB
    assert found.headroom_bytes - truth < 6 * MIB
    assert full.headroom_bytes is not None
    assert full.headroom_bytes < 8 * MIB
