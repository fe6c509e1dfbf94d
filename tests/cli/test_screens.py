# SPDX-License-Identifier: Apache-2.0
"""The screens: kept as files, within their width, and safe to print."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.cli.explain_view import explanation, render_explain
from overlaywatch.cli.plan_view import render_plan
from overlaywatch.cli.screen import Screen
from overlaywatch.cli.status_view import render_status
from overlaywatch.config.settings import Settings
from overlaywatch.model import LayerId, LayerKind, Mount, Ref, StageStatus, Tick
from tests.cli import golden, plans, ticks

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", sorted(golden.screens()))
def test_screen_is_as_it_was_approved(name: str) -> None:
    """Each screen is the one in tests/cli/golden/: a change is looked at by a person (see golden.py)."""
    kept = (golden.FOLDER / f"{name}.txt").read_text(encoding="utf-8")

    assert "".join(f"{line}\n" for line in golden.screens()[name]) == kept


def test_no_kept_screen_is_forgotten() -> None:
    """Every file in tests/cli/golden/ is still compared with something."""
    assert {path.stem for path in golden.FOLDER.iterdir()} == set(golden.screens())


@pytest.mark.parametrize("name", sorted(golden.TICKS))
@pytest.mark.parametrize("width", [60, 72, 80, 81, 100, 119, 120, 132, 200])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    """Whatever the machine and the width, the terminal has to break no line of status."""
    lines = render_status(golden.TICKS[name](), Screen(width), golden.AT)

    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("name", sorted(golden.TICKS))
def test_colour_changes_no_letter(name: str) -> None:
    """Without its escape sequences a coloured screen is the plain one: nothing is said by colour alone."""
    tick = golden.TICKS[name]()
    coloured = render_status(tick, Screen(100, colour=True), golden.AT)
    explained = render_explain(tick, tick.verdicts, Screen(100, colour=True))

    assert [ESCAPE.sub("", line).rstrip() for line in coloured] == render_status(tick, Screen(100), golden.AT)
    assert [ESCAPE.sub("", line).rstrip() for line in explained] == render_explain(tick, tick.verdicts, Screen(100))
    assert any(ESCAPE.search(line) for line in coloured)


def on_mount_point(name: str) -> Tick:
    """The tick of a tmpfs that somebody mounted on a folder of this name."""
    layer = replace(ticks.RUN_LAYER, id=LayerId(f"{LayerKind.TMPFS.value}:/mnt/{name}"), mount_points=(f"/mnt/{name}",))
    mount = Mount(f"/mnt/{name}", "tmpfs", name, layer.provides[0])
    reading = replace(ticks.RUN_READING, layer=layer.id)
    return ticks.tick_of((layer, ticks.THE_RAM), (reading, ticks.RAM_READING), (), (mount,))


@given(name=st.text(min_size=1, max_size=300), width=st.integers(60, 250), glyphs=st.booleans())
def test_no_mount_point_can_break_the_screen(name: str, width: int, glyphs: bool) -> None:
    """Names come from users: no escape sequence, line break or invalid byte of theirs reaches the terminal."""
    tick = on_mount_point(name)
    screen = Screen(width, glyphs=glyphs)

    for line in (*render_status(tick, screen, golden.AT), *render_explain(tick, tick.verdicts, screen)):
        assert line.isprintable()
        line.encode("utf-8")
    assert max(map(len, render_status(tick, screen, golden.AT))) <= width


def test_screen_without_glyphs_is_ascii() -> None:
    """Where the output cannot encode bars and lines, everything of the program's own is ASCII."""
    for make in golden.TICKS.values():
        tick = make()
        lines = render_status(tick, Screen(glyphs=False), golden.AT)
        lines += render_explain(tick, tick.verdicts, Screen(glyphs=False))
        assert "\n".join(lines).isascii()


def test_unused_layers_are_counted_not_shown() -> None:
    """A tmpfs that no watched mount point stands on is no news; a snapshot always is, and so is a layer in trouble."""
    tick = ticks.fresh()
    only_run = replace(tick, verdicts=tick.verdicts[1:])

    lines = render_status(only_run, Screen(), golden.AT)

    assert lines[-1] == "2 more layers below no watched mount point: see --json"
    shown = "\n".join(lines)
    assert "dm-snapshot:live-rw" in shown
    assert "ramfs:rootfs" not in shown


def test_explanation_for_programs_has_only_what_was_asked() -> None:
    """`explain --json /run` holds that mount point, its layers, and the sentences."""
    tick = ticks.fresh()

    document = explanation(tick, tick.verdicts[1:])

    mounts, layers = document["mounts"], document["layers"]
    assert isinstance(mounts, list)
    assert isinstance(layers, list)
    assert [mount["mount_point"] for mount in mounts] == ["/run"]
    assert [layer["id"] for layer in layers] == ["tmpfs:/run", "ram"]
    assert mounts[0]["explanation"]["headroom"] == "352.0 MiB of new data still fit; then tmpfs:/run ends."


def test_plan_names_a_policy_that_sleeps() -> None:
    """A policy for a folder that is no mount point would else look like one that is content."""
    asleep = StageStatus("var", "warn", "/var", None, None, "the mount point was not seen", ("page",))
    tick = replace(ticks.fresh(), stages=(asleep,))

    shown = " ".join(render_plan(tick, (), Settings(policies=plans.POLICIES), Screen(80)))

    assert "policy var does nothing: no watched file system is mounted on /var; " in shown


def test_explain_draws_what_lies_on_two_things_once() -> None:
    """A layer that is reached on two ways (data and metadata of a pool on one tmpfs) is drawn once."""
    pool = replace(
        ticks.RUN_LAYER, id=LayerId("tmpfs:/pool"), provides=(Ref("sb:9:9"),), rests_on=ticks.RUN_LAYER.provides * 2
    )
    mount = Mount("/pool", "tmpfs", "tmpfs", Ref("sb:9:9"))
    readings = (replace(ticks.RUN_READING, layer=pool.id), ticks.RUN_READING, ticks.RAM_READING)
    tick = ticks.tick_of((pool, ticks.RUN_LAYER, ticks.THE_RAM), readings, (), (mount,))

    lines = render_explain(tick, tick.verdicts, Screen())

    assert sum("tmpfs:/run " in line and "─" in line for line in lines) == 1
