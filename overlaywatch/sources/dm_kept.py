# SPDX-License-Identifier: Apache-2.0
"""Layers made of device-mapper targets, and what is remembered of each: its record, and its last numbers.

Must not know any target: how a table and a status line become a layer and a reading is given. A status word carries no
numbers, so the last ones are kept, with their age.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Layer, LayerId, LayerState, Reading
from overlaywatch.ports import Found
from overlaywatch.sources.shared import unreadable

SECTOR: Final = 512

Table = TypeVar("Table")

AsLayer = Callable[[DmDevice], tuple[Layer, Table | None]]
"""The layer of a device, and its parsed table line; None if that line is not understood."""

AsReading = Callable[[LayerId, Table, str, DmDevice], Reading]
"""The reading of one status line; without a size if that was a word without numbers."""


@dataclass(slots=True)
class Kept(Generic[Table]):
    """What is remembered of one device. `numbers_at` is the time of the last numbers once a word has followed them."""

    device: DmDevice
    layer: Layer
    table: Table | None
    reading: Reading
    numbers: Reading | None
    numbers_at: float


class DmLayers(Generic[Table]):
    """One layer for each device whose first target is one of `types`."""

    def __init__(self, types: frozenset[str], as_layer: AsLayer[Table], as_reading: AsReading[Table]) -> None:
        self._types, self._as_layer, self._as_reading = types, as_layer, as_reading
        self._kept: dict[tuple[int, int], Kept[Table]] = {}
        self._devices: Mapping[tuple[int, int], DmDevice] | None = None
        self._found = Found()
        self._looked_at = 0.0

    def survey(self, view: KernelView, now: float) -> Found:
        """All of them; what was found last time if no device has changed."""
        if view.dm is not self._devices:
            self._devices = view.dm
            self._kept = {key: self._look(device) for key, device in view.dm.items() if self._is_one(device)}
            self._found = self._all()
        self._looked_at = now
        return self._found

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """The status alone: the table is believed. A word gives a state without numbers."""
        kept = next((one for one in self._kept.values() if one.layer.id == layer.id), None)
        text = view.dm_status(kept.device.major, kept.device.minor) if kept else None
        if kept is None or kept.table is None or text is None:
            return None
        reading = self._as_reading(layer.id, kept.table, text, kept.device)
        return reading if reading.size_bytes is not None else replace(before, state=reading.state)

    def _is_one(self, device: DmDevice) -> bool:
        return bool(device.table) and device.table[0].type in self._types

    def _all(self) -> Found:
        kept = self._kept
        return Found(
            layers=[one.layer for one in kept.values()],
            readings=[one.reading for one in kept.values()],
            unknown_statuses=sum(one.reading.state is LayerState.UNKNOWN for one in kept.values()),
        )

    def _look(self, device: DmDevice) -> Kept[Table]:
        before = self._kept.get(device.device)
        if before is None or (before.device is not device and _identity(before.device) != _identity(device)):
            layer, table = self._as_layer(device)
            before = Kept(device, layer, table, unreadable(layer.id, "not read yet"), None, 0.0)
        elif before.device is device:
            return before
        if before.reading is before.numbers:
            # Until the last look they were the truth.
            before = replace(before, numbers_at=self._looked_at)
        return self._read(before, device)

    def _read(self, before: Kept[Table], device: DmDevice) -> Kept[Table]:
        if before.table is None or not device.status:
            reading = unreadable(before.layer.id, f"table line not understood: {device.table[0].params!r}")
            return replace(before, device=device, reading=reading)
        reading = self._as_reading(before.layer.id, before.table, device.status[0].params, device)
        if reading.size_bytes is None:
            return replace(before, device=device, reading=_with_kept_numbers(before, reading))
        return Kept(device, before.layer, before.table, reading, reading, before.numbers_at)


def _identity(device: DmDevice) -> tuple[object, ...]:
    """What makes it another layer: `dmsetup rename` leaves the number and the table as they are."""
    return device.name, device.uuid, device.table


def _with_kept_numbers(before: Kept[Table], word: Reading) -> Reading:
    """A word (`Invalid`, or one no kernel has printed yet): the last numbers, and the time they are of."""
    if before.numbers is None:
        return word
    return replace(
        before.numbers,
        state=word.state,
        headroom_bytes=None if word.state is LayerState.UNKNOWN else 0,
        numbers_at=before.numbers_at,
        reason=word.reason,
        details={**before.numbers.details, **word.details},
    )


def word_reading(layer: LayerId, state: LayerState, word: str) -> Reading:
    """The reading of a status that is a word without numbers."""
    return Reading(layer, state, reason=f"the kernel says {word!r}", details={"status": word})
