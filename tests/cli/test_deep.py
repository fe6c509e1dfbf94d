# SPDX-License-Identifier: Apache-2.0
"""`explain --deep`: what was found out beside the rest, why nothing was, and who may ask."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from overlaywatch.cli.explain_view import headroom_sentence
from overlaywatch.cli.problem import Exit
from overlaywatch.model import LayerKind
from overlaywatch.registry import look_deep
from overlaywatch.sources.already_copied import AlreadyCopied
from overlaywatch.units import MIB
from tests.cli import ticks
from tests.cli.worlds import Stage
from tests.kernel import captures

FOUND = AlreadyCopied(90 * MIB, 300 * MIB, 500 * MIB, read_bytes=2 * MIB, took_seconds=0.4)
UNKNOWN = AlreadyCopied(None, reason="it is being written to")


@pytest.mark.parametrize(
    ("deep", "told"),
    [
        (FOUND, "Of 500.0 MiB free, 90.0 MiB are already copied: what is written there"),
        (UNKNOWN, "Cannot say how much free space is already copied: it is being written to."),
    ],
)
def test_answer_stands_below_the_rest(tmp_path: Path, deep: AlreadyCopied, told: str) -> None:
    """A sentence for people, and an object for programs."""
    people, programs = (Stage(tmp_path, deep={"/": deep}) for _ in range(2))

    people.run("explain", "/", "--deep")
    programs.run("explain", "/", "--deep", "--json")

    assert f"Deep      {told}" in people.out.getvalue()
    mount = json.loads(programs.out.getvalue())["mounts"][0]
    assert mount["deep"]["already_copied_free_bytes"] == deep.already_copied_free_bytes
    assert mount["deep"]["reason"] == deep.reason


def test_large_chunks_are_told() -> None:
    """Where a snapshot copies 128 KiB for each 4 KiB that are written here and there, that is said."""
    tick = ticks.fresh()
    layers = tuple(
        replace(one, details={**one.details, "chunk_size_sectors": 256}) if one.kind is LayerKind.DM_SNAPSHOT else one
        for one in tick.survey.layers
    )
    large = replace(tick, survey=replace(tick.survey, layers=layers))
    root = next(one for one in tick.verdicts if one.mount.mount_point == "/")

    assert "at worst" not in headroom_sentence(root, tick)
    assert "cost 128.0 KiB each: at worst" in headroom_sentence(root, large)


def test_it_is_expensive_and_so_is_asked_for(tmp_path: Path) -> None:
    """Without the option nothing of it is in the answer."""
    stage = Stage(tmp_path)

    stage.run("explain", "/", "--json")

    assert "deep" not in json.loads(stage.out.getvalue())["mounts"][0]


def test_only_root_may_ask(tmp_path: Path) -> None:
    """Who cannot read the store is told so, and nothing is looked at."""
    stage = Stage(tmp_path, ticks.unprivileged)

    assert stage.run("explain", "/", "--deep") == Exit.CANNOT_KNOW
    assert "run it as root" in stage.err.getvalue()


def test_no_privilege_helps_with_a_captured_machine(tmp_path: Path) -> None:
    """Whoever captured it: its store is not here, and that is what is said, beside all the rest."""
    machine = captures.write(tmp_path / "machine")
    with (machine / "manifest.toml").open("a") as manifest:
        manifest.write("privileged = false\n")
    stage = Stage(tmp_path)

    assert stage.run("explain", "/", "--deep", "--root", str(machine)) == Exit.DONE
    assert "run it as root" not in stage.complained
    assert "the COW device cannot be read from here" in " ".join(stage.said.split())


def test_a_machine_that_is_not_there(tmp_path: Path) -> None:
    """A tick of another machine: its snapshot is not on this one, and no figure is made up."""
    tick = ticks.fresh()
    root, run = (next(one for one in tick.verdicts if one.mount.mount_point == point) for point in ("/", "/run"))
    stage = Stage(tmp_path)

    gone, other = (look_deep(stage.world().settings(None), tick, verdict) for verdict in (root, run))

    assert (gone.already_copied_free_bytes, gone.reason) == (
        None,
        "dm-snapshot:live-rw is gone, or is being merged",
    )
    assert (other.already_copied_free_bytes, other.reason) == (None, "not a file system directly on a dm-snapshot")
