# SPDX-License-Identifier: Apache-2.0
"""A path on a file system that does not answer."""

import os
import time
from pathlib import Path

import pytest

from overlaywatch.kernel.place import resolve
from tests.integration import stacks
from tests.integration.devices import run

pytestmark = pytest.mark.kernel


def test_a_file_system_that_does_not_answer_is_not_waited_for(tmp_path: Path, scratch: Path) -> None:
    """A suspended device answers nobody and lets no process be killed: the path comes back as it was, in time."""
    with stacks.live(tmp_path, scratch) as live:
        place = live.place / "folder" / "file"
        place.parent.mkdir()
        run("umount", str(live.place))
        run("mount", str(live.device.node), str(live.place))  # so that nothing of it is cached
        run("dmsetup", "suspend", live.device.name)
        began = time.monotonic()
        try:
            found = resolve(str(place), patience_seconds=0.3)
        finally:
            took = time.monotonic() - began
            run("dmsetup", "resume", live.device.name)
        os.waitpid(-1, 0)
    assert found == str(place)
    assert took < 2
