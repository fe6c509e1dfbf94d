# SPDX-License-Identifier: Apache-2.0
"""Some of the cases of `make accuracy`, so that docs/accuracy.md stays true between two runs of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.accuracy.cases import CASES, Case
from benchmarks.accuracy.judge import judge
from benchmarks.accuracy.measure import measure
from benchmarks.accuracy.reasons import reason_for
from tests.integration.stacks import mounted

pytestmark = pytest.mark.kernel

CHOSEN = (
    "N-8-ext4-in-tmpfs-mix",
    "P-256-ext4-in-ramfs-new",
    "PO-8-ext4-in-tmpfs-new",
    "PO-8-ext4-larger-than-its-tmpfs-overwrite",
    "PO-8-ext4-larger-than-its-hidden-tmpfs-new",
    "PO-256-ext4-in-tmpfs-scattered",
    "PO-8-ext4-with-room-for-the-whole-image-new",
    "N-8-xfs-in-tmpfs-new",
    "P-8-xfs-larger-than-its-tmpfs-mix",
    "PO-256-xfs-in-ramfs-overwrite",
    "PO-8-btrfs-in-tmpfs-new",
    "overlay-on-hidden-tmpfs-mix",
    "overlay-with-few-inodes-new",
    "sparse-xfs-image-on-small-tmpfs-new",
)
"""Each kind of chain and each way to fill it once at least."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tmpfs for live images, which are made once and only read."""
    with mounted("tmpfs", tmp_path_factory.mktemp("images"), "tmpfs", "size=480m") as place:
        yield place


@pytest.mark.parametrize("case", [case for case in CASES if case.id in CHOSEN], ids=lambda case: case.id)
def test_headroom_is_what_goes_in(tmp_path: Path, images: Path, case: Case) -> None:
    """At the start, at half and at nine tenths; limit and failure are named right; or there is a reason why not."""
    finding = judge(measure(case, tmp_path, images))

    assert not finding.wrong or reason_for(finding), (finding.wrong, finding.result)


def test_every_chosen_case_is_there() -> None:
    """None was renamed."""
    assert set(CHOSEN) <= {case.id for case in CASES}
