# SPDX-License-Identifier: Apache-2.0
"""A capture as a tar archive, the same bytes for the same capture, and as a folder.

This file must not know what is in the files.
"""

import io
import tarfile
from pathlib import Path

from overlaywatch.kernel.capture import Capture

_MODE = 0o644
_FOLDER_MODE = 0o755


def pack(capture: Capture, folder: str) -> bytes:
    """The archive (pax, tar(5)); everything lies below `folder`, so that unpacking it strews nothing about."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for place in sorted({*capture.files, *capture.links, *capture.folders}):
            entry = tarfile.TarInfo(f"{folder}/{place}")
            entry.mode, entry.mtime = _MODE, int(capture.manifest.captured_at or 0)
            if place in capture.folders:
                entry.type, entry.mode = tarfile.DIRTYPE, _FOLDER_MODE
                archive.addfile(entry)
            elif place in capture.links:
                entry.type, entry.linkname = tarfile.SYMTYPE, capture.links[place]
                archive.addfile(entry)
            else:
                entry.size = len(capture.files[place])
                archive.addfile(entry, io.BytesIO(capture.files[place]))
    return held.getvalue()


def unpack(capture: Capture, folder: Path) -> None:
    """Write the files into a folder that is made for them. Raises OSError."""
    for place in capture.folders:
        (folder / place).mkdir(parents=True, exist_ok=True)
    for place, content in capture.files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for place, target in capture.links.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
