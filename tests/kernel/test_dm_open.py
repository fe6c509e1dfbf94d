# SPDX-License-Identifier: Apache-2.0
"""The way in which device-mapper is read is chosen without touching it where it is not there."""

import errno
from pathlib import Path

import pytest

from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.dm_open import DeniedReader, has_device_mapper, open_dm_reader

DEVICES = """Character devices:
  1 mem
 10 misc

Block devices:
  7 loop
254 device-mapper
259 blkext
"""


def test_kernel_with_device_mapper() -> None:
    """It stands among the block drivers."""
    assert has_device_mapper(DEVICES)
    assert not has_device_mapper(DEVICES.replace("254 device-mapper\n", ""))


def test_captured_machine_is_not_asked(tmp_path: Path) -> None:
    """Its device-mapper would be this machine's."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/devices").write_text(DEVICES)
    opened = open_dm_reader("auto", CapturedMachine(tmp_path))
    assert isinstance(opened, DeniedReader)
    with pytest.raises(FileNotFoundError, match=r"not in the capture.*/dm"):
        opened.devices()
    (tmp_path / "proc/devices").write_text(DEVICES.replace("254 device-mapper\n", ""))
    assert open_dm_reader("auto", CapturedMachine(tmp_path)) is None


def test_denied_reader_says_why_at_every_look() -> None:
    """The error is that of the control device."""
    reader = DeniedReader(PermissionError(errno.EACCES, "Permission denied", "/dev/mapper/control"))
    for _ in range(2):
        with pytest.raises(PermissionError, match="/dev/mapper/control"):
            reader.devices()
    assert reader.fileno() is None
    assert not reader.can_peek
    reader.arm_poll()
    reader.invalidate_tables()
    reader.close()
