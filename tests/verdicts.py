# SPDX-License-Identifier: Apache-2.0
"""Verdicts as tests need them: a root on a dm-snapshot, with the figures that matter."""

from overlaywatch.model import Failure, LayerId, LayerState, Mount, Verdict, block_ref

SNAPSHOT = LayerId("dm-snapshot:live-rw")


def root(
    used: float | None = 0.1,
    headroom: int | None = None,
    at_most: int | None = None,
    inodes: float | None = None,
    states: frozenset[LayerState] = frozenset({LayerState.OK}),
    failure: Failure | None = Failure.READ_ONLY,
    mount_point: str = "/",
) -> Verdict:
    """What one look says of a mount point; `headroom` also bounds it from above."""
    return Verdict(
        mount=Mount(mount_point, "ext4", "/dev/mapper/live-rw", block_ref(254, 3)),
        chain=(SNAPSHOT,),
        headroom_bytes=headroom,
        headroom_at_most_bytes=headroom if at_most is None else at_most,
        limit=SNAPSHOT,
        failure=failure,
        states=states,
        used_ratio=used,
        inodes_ratio=inodes,
        reclaimable=False,
    )
