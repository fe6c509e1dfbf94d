# SPDX-License-Identifier: Apache-2.0
"""How a snapshot ends whose store is full: `PO` survives that, but for some sizes of the store."""

import contextlib
from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.model import Failure, LayerId
from overlaywatch.registry import take_look
from tests.integration import devices
from tests.integration.devices import MIB

pytestmark = pytest.mark.kernel

CHUNK = 4096


@pytest.mark.parametrize(
    ("chunks", "word", "failure"),
    [(257, "Overflow", None), (258, "Invalid", Failure.DEAD_ROOT), (259, "Overflow", None)],
)
def test_a_store_that_ends_where_metadata_would_begin_dies(
    scratch: Path, chunks: int, word: str, failure: Failure | None
) -> None:
    """With the last exception of an area the kernel wipes the next one: beyond the end that is an I/O error."""
    with devices.snapshot(scratch, "ow-ends", "PO", cow_size=chunks * CHUNK) as snapshot:
        reading = take_look(Settings()).survey.readings[LayerId("dm-snapshot:ow-ends")]
        with contextlib.suppress(OSError):
            devices.write(snapshot.device.node, 2 * MIB)

        assert word in snapshot.device.status
        assert reading.failure is failure
