# SPDX-License-Identifier: Apache-2.0
"""The values that flow through the program: frozen, and impossible to build invalid.

This file must not know how anything is read, decided or shown. Bytes are ints, ratios floats from
0 to 1, times floats of seconds; `now` and every `at` without another word are on the monotonic
clock (time.monotonic). Unknown is None, never 0 or -1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NewType

LayerId = NewType("LayerId", str)
"""`<kind>:<name>`, stable over restarts: `dm-snapshot:live-rw`, `tmpfs:/run`, `ram`."""

Ref = NewType("Ref", str)
"""Something that can be rested on, as the kernel numbers it: see block_ref, super_block_ref, RAM."""

RAM: Final = Ref("ram")
SWAPPABLE_RAM: Final = Ref("ram:swappable")
RAM_LAYER: Final = LayerId("ram")

Detail = str | int | float | bool | None | tuple[str, ...]
NO_DETAILS: Final[Mapping[str, Detail]] = MappingProxyType({})


def block_ref(major: int, minor: int) -> Ref:
    """The block device `major:minor`."""
    return Ref(f"block:{major}:{minor}")


def super_block_ref(major: int, minor: int) -> Ref:
    """The mounted file system whose st_dev is `major:minor`, wherever it is mounted, or hidden."""
    return Ref(f"sb:{major}:{minor}")


class LayerKind(StrEnum):
    """What a layer is; the first part of its id."""

    DM_SNAPSHOT = "dm-snapshot"
    DM_THIN_POOL = "dm-thin-pool"
    OVERLAY = "overlay"
    AUFS = "aufs"
    FILESYSTEM = "filesystem"
    TMPFS = "tmpfs"
    RAMFS = "ramfs"
    BRD = "brd"
    ZRAM = "zram"
    RAM = "ram"


class LayerState(StrEnum):
    """The health of a layer. UNKNOWN and UNREADABLE never fire a policy that changes anything."""

    OK = "ok"
    OVERFLOW = "overflow"
    INVALID = "invalid"
    MERGE_FAILED = "merge_failed"
    OUT_OF_DATA_SPACE = "out_of_data_space"
    READ_ONLY = "read_only"
    NEEDS_CHECK = "needs_check"
    FAILED = "failed"
    ERRORS = "errors"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"


UNSURE: Final = frozenset({LayerState.UNKNOWN, LayerState.UNREADABLE})

BROKEN: Final = frozenset(
    {
        LayerState.OVERFLOW,
        LayerState.INVALID,
        LayerState.MERGE_FAILED,
        LayerState.OUT_OF_DATA_SPACE,
        LayerState.READ_ONLY,
        LayerState.NEEDS_CHECK,
        LayerState.FAILED,
    }
)
"""States in which nothing more can be written: the headroom is 0, whatever the last numbers were."""


class Failure(StrEnum):
    """What a writer meets when a limit is reached."""

    ENOSPC = "enospc"
    READ_ONLY = "read_only"
    DEAD_ROOT = "dead_root"
    OOM = "oom"
    IO_ERROR = "io_error"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Layer:
    """Anything finite that a write to a watched mount consumes: what it is, not how full it is.

    `provides` names it for those above, `rests_on` names what its writes consume below. `failure` is
    what a writer directly on top meets when this layer ends. `reclaimable` says whether deleting
    files gives its room back; a dm-snapshot never does. `data_share` is how much of what is written
    below by this layer is data: the rest is copies, and metadata that is never written in place.
    `grain_bytes` is the size of the pieces in which it gives room away, if that is larger than the
    blocks of a file system: the first byte in a piece takes all of it.
    `details` are facts that stay; the figures of one look are in Reading.details.
    """

    id: LayerId
    kind: LayerKind
    provides: tuple[Ref, ...]
    rests_on: tuple[Ref, ...]
    failure: Failure
    reclaimable: bool
    device: str = ""
    mount_points: tuple[str, ...] = ()
    data_share: float = 1.0
    grain_bytes: int = 0
    details: Mapping[str, Detail] = field(default_factory=lambda: NO_DETAILS)

    def __post_init__(self) -> None:
        if self.id.partition(":")[0] != self.kind.value:
            raise ValueError(f"layer id {self.id!r} does not begin with its kind {self.kind.value!r}")


@dataclass(frozen=True, slots=True)
class Link:
    """A block device that stores nothing of its own: a loop, a dm-linear.

    `holes_bytes` is what its backing file has not allocated yet (None: cannot be known): only that
    much can ever be taken from the file system below. `size_bytes` is the size of the device.
    """

    provides: Ref
    rests_on: tuple[Ref, ...]
    size_bytes: int | None = None
    holes_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at one layer.

    `headroom_bytes` is this layer's own slack in bytes of new data, before anything below or above
    is asked; None: cannot be known. A status word (`Invalid`) carries no numbers, so the last ones
    are kept, and `numbers_at` says when they were read (None: in this very look; so an unchanged
    reading is the same value, and may be the same object). `pending_bytes` is dirty data that is not yet
    counted by the layers below. `swap_bytes` (of RAM only) is what swap adds for those who rest on
    SWAPPABLE_RAM. `reserved_bytes` are part of the size and free, but not for ordinary users.
    `details` are the kernel's own words and figures of this look; `reason` says why the state is
    unknown, unreadable or broken. `pending_of_all`: where the dirty data of this one cannot be told,
    `pending_bytes` is that of the whole machine. `failure` is how it will end, where that depends on its size and
    is not what Layer says.
    """

    layer: LayerId
    state: LayerState
    size_bytes: int | None = None
    used_bytes: int | None = None
    headroom_bytes: int | None = None
    metadata_bytes: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None
    pending_bytes: int | None = None
    pending_of_all: bool = False
    swap_bytes: int = 0
    reserved_bytes: int = 0
    cannot_overflow: bool = False
    numbers_at: float | None = None
    reason: str = ""
    failure: Failure | None = None
    details: Mapping[str, Detail] = field(default_factory=lambda: NO_DETAILS)

    def __post_init__(self) -> None:
        if self.size_bytes is not None and self.size_bytes < 0:
            raise ValueError(f"{self.layer}: negative size")
        if self.used_bytes is not None and self.used_bytes < 0:
            raise ValueError(f"{self.layer}: negative use")

    @property
    def used_ratio(self) -> float | None:
        """Use over what ordinary users can use, as df shows it: 1 when they get ENOSPC; None if unknown.

        Above 1 if the layer was shrunk below its use.
        """
        if self.used_bytes is None or not self.size_bytes:
            return None
        usable = self.size_bytes - self.reserved_bytes
        return self.used_bytes / usable if usable > 0 else 1.0

    @property
    def inodes_ratio(self) -> float | None:
        """Used inodes over all; None for file systems that count none."""
        if not self.inodes or self.inodes_free is None:
            return None
        return 1 - self.inodes_free / self.inodes


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a block device is made of: a device-mapper device's first target and its name, or `loop` and its file."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system and where its writes go: `rests_on` is what its chain begins with.

    `upperdir` is the mount option of an overlay, as it was given: the path need not exist any more. `carrier` is
    told of the mount on `/` alone, by which live systems are recognised; None: a disk, no device, or not to be known.
    """

    mount_point: str
    fstype: str
    source: str
    rests_on: Ref
    read_only: bool = False
    upperdir: str = ""
    carrier: Carrier | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look says about one mount point.

    `headroom_bytes` is exact in the sense of the contract (never larger than the truth) or None.
    `headroom_at_most_bytes` is an upper bound that holds even where some layer of the chain cannot
    be read: it may prove that a threshold is crossed, never that one is not.
    `oversubscription` maps a layer to its own free room over the least that is left below it: above
    1 the layer promises more than the machine can keep.
    """

    mount: Mount
    chain: tuple[LayerId, ...]
    headroom_bytes: int | None
    headroom_at_most_bytes: int | None
    limit: LayerId | None
    failure: Failure | None
    states: frozenset[LayerState]
    used_ratio: float | None
    inodes_ratio: float | None
    reclaimable: bool
    live_system: str | None = None
    remedy: str = ""
    oversubscription: Mapping[LayerId, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.headroom_bytes is not None and self.headroom_bytes < 0:
            raise ValueError(f"{self.mount.mount_point}: negative headroom")


@dataclass(frozen=True, slots=True)
class Forecast:
    """How fast a mount point fills. None where it is not justified to say; full is 0 seconds."""

    fill_bytes_per_second: float | None = None
    time_to_full_seconds: float | None = None


NO_FORECAST: Final = Forecast()


@dataclass(frozen=True, slots=True)
class Decision:
    """That a stage of a policy calls for an action now, and why, in words and in figures."""

    policy: str
    stage: str
    mount_point: str
    action: str
    reason: str
    at: float
    verdict: Verdict
    forecast: Forecast


class OutcomeKind(StrEnum):
    """How an action ended."""

    APPLIED = "applied"
    REFUSED = "refused"
    DRY_RUN = "dry_run"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action: one per plan that was applied, refused, only shown, or failed.

    `freed_bytes` is room that the limit really has back; `reusable_bytes` is room that the file
    system can use again while the layer below does not shrink.
    """

    action: str
    type: str
    kind: OutcomeKind
    reason: str
    at: float
    policy: str = ""
    stage: str = ""
    mount_point: str = ""
    freed_bytes: int = 0
    reusable_bytes: int = 0
    took_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A stage as status and metrics show it. `active` is None while unknown facts leave it open."""

    policy: str
    stage: str
    mount_point: str
    active: bool | None
    since: float | None
    reason: str
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How a source did in one look. `error` names what could not be read and the remedy, once."""

    source: str
    success: bool
    duration_seconds: float
    error: str = ""
    unknown_statuses: int = 0


@dataclass(frozen=True, slots=True)
class Host:
    """Which machine this is, and what the daemon may see and do on it."""

    hostname: str
    kernel: str
    boot_id: str
    privileged: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """All that the sources found in one look, before anything is concluded from it."""

    layers: tuple[Layer, ...]
    readings: Mapping[LayerId, Reading]
    links: tuple[Link, ...]
    mounts: tuple[Mount, ...]
    sources: tuple[SourceReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """One pass, whole: what was seen, concluded, decided and done. `unix_time` is for people."""

    now: float
    unix_time: float
    host: Host
    survey: Survey
    verdicts: tuple[Verdict, ...]
    forecasts: Mapping[str, Forecast]
    stages: tuple[StageStatus, ...] = ()
    decisions: tuple[Decision, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    pace_seconds: float = 10.0
    paused: bool = False
