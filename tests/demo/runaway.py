# SPDX-License-Identifier: Apache-2.0
"""A program that writes its log too fast: `runaway.py FILE MIB_PER_SECOND`, until the disk refuses.

It must not know who watches. What it writes is written out at once, as a log that matters is.
"""

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Final

PIECE: Final = 256 * 1024
_PR_SET_NAME: Final = 15


def main() -> None:
    """Until it is ended; an error of the disk ends it, too."""
    path, rate = Path(sys.argv[1]), float(sys.argv[2]) * 1024 * 1024
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"runaway-logger", 0, 0, 0)
    piece = os.urandom(PIECE)
    began, written = time.monotonic(), 0
    with path.open("ab", buffering=0) as log:
        while True:
            log.write(piece)
            os.fsync(log.fileno())
            written += PIECE
            time.sleep(max(0.0, began + written / rate - time.monotonic()))


if __name__ == "__main__":
    main()
