# SPDX-License-Identifier: Apache-2.0
"""The page: what it shows, and that nothing in it can do anything."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from overlaywatch.frontend import page
from overlaywatch.frontend.facts import Facts
from overlaywatch.model import Tick
from tests.cli import ticks
from tests.frontend.support import facts_of

EVIL = '<script>alert("1")</script>\udcff&amp;\''


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.depth: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it; what needs no end tag is not opened."""
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.depth.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It closes what was opened last."""
        assert self.depth.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        self.text += data


def shown(tick: Tick) -> Tags:
    """The page of a machine, read as a browser does."""
    return Tags(page.render(facts_of(tick), "nothing yet").decode())


@pytest.mark.parametrize(
    "machine",
    [
        ticks.filling,
        ticks.overflowed,
        ticks.invalid,
        ticks.sparse,
        ticks.unprivileged,
        ticks.nothing_watched,
        ticks.many,
    ],
)
def test_tags_are_closed_in_order(machine: Callable[[], Tick]) -> None:
    """The page of every machine is well formed."""
    assert shown(machine()).depth == []


def test_it_says_what_matters() -> None:
    """Mount point, headroom, time to full, limit, failure, chain, policy: all are there in people's units."""
    text = shown(ticks.filling()).text
    for words in (
        "live-7",
        "/run",
        "8 min",
        "dm-snapshot:live-rw",
        "read_only",
        "ramfs:rootfs",
        "warn",
        "84.6%",
        "MiB",
    ):
        assert words in text


def test_unknown_is_a_dash_or_a_bound() -> None:
    """What cannot be seen without privilege is a bound or a dash, with the reason below; never a 0."""
    text = shown(ticks.unprivileged()).text
    assert "≤ " in text
    assert "unreadable" in text
    assert "run it with sudo" in text
    assert "Permission denied" in text


def test_nothing_runs_and_nothing_is_fetched() -> None:
    """No script, no image, no form, no style of an attribute, and no address of elsewhere."""
    tags = shown(ticks.filling()).tags
    assert {name for name, _ in tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "a", "table", "tr", "th", "td", "div",
        "span", "b", "i", "code",
    }  # fmt: skip
    attributes = {name for _, attributes in tags for name in attributes}
    assert attributes <= {"lang", "charset", "http-equiv", "name", "content", "class", "role", "aria-label", "href"}
    assert {attributes["href"] for name, attributes in tags if name == "a"} == {"/metrics", "/api/v1/status"}


def test_what_a_machine_says_is_text() -> None:
    """A mount point, a reason or a host name that looks like HTML is shown, not obeyed."""
    tick = ticks.filling()
    host = replace(tick.host, hostname=EVIL, notes=(EVIL,))
    verdicts = tuple(replace(each, mount=replace(each.mount, mount_point=EVIL), remedy=EVIL) for each in tick.verdicts)
    stages = tuple(replace(stage, reason=EVIL, stage=EVIL, policy=EVIL, actions=(EVIL,)) for stage in tick.stages)
    tags = shown(replace(tick, host=host, verdicts=verdicts, stages=stages))
    assert "script" not in {name for name, _ in tags.tags}
    assert '<script>alert("1")</script>\\udcff&amp;\'' in tags.text


def test_the_style_is_allowed_by_its_hash() -> None:
    """The policy allows the one style sheet of the page by its hash, and nothing else."""
    text = page.render(facts_of(ticks.filling()), "").decode()
    style = re.search(r"<style>(.*)</style>", text)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = dict(page.HEADERS)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("used", "width", "level"),
    [
        (0, 0, "ok"),
        (1, 1, "ok"),
        (699, 69, "ok"),
        (700, 70, "warn"),
        (999, 99, "bad"),
        (1000, 100, "bad"),
    ],
)
def test_bars_are_as_long_as_they_should(used: int, width: int, level: str) -> None:
    """A bar shows whole percents, something for a little, and is full only when it is."""
    reading = ticks.plain_reading(ticks.RUN_LAYER, used, 1000)
    tick = ticks.tick_of((ticks.RUN_LAYER, ticks.THE_RAM), (reading, ticks.RAM_READING), (), (ticks.RUN_MOUNT,))
    classes = [attributes["class"] for name, attributes in shown(tick).tags if name == "i"]
    assert classes[0] == f"w{width} {level}"


def test_without_a_tick_there_is_a_notice() -> None:
    """Before the first tick, and when the last is too old, the page says so."""
    assert "nothing to see" in Tags(page.render(Facts(), "nothing to see").decode()).text


def test_a_pause_and_a_refused_reload_are_seen() -> None:
    """That nothing is done, or that old settings are in use, stands at the top."""
    facts = facts_of(ticks.filling())
    assert facts.daemon is not None
    facts.daemon["paused"] = True
    facts.daemon["config_last_reload_successful"] = False
    text = Tags(page.render(facts, "").decode()).text
    assert "paused" in text
    assert "last reload refused" in text
