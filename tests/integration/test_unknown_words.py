# SPDX-License-Identifier: Apache-2.0
"""A kernel that prints what none has printed yet: the state is unknown, that is counted, and nothing is done about it.

No kernel can be asked to do that, so what it prints is changed on its way: the daemon reads device-mapper by
a program called dmsetup that runs the real one and puts another word into its answer.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.integration import devices
from tests.integration.daemon import Daemon, layer, running
from tests.integration.receivers import webhook
from tests.integration.stacks import live
from tests.tools import need

pytestmark = pytest.mark.kernel

WORDS: Final = ("Sleeping", "16/8192 16 7/9", "‰/8192 16", "x" * 5000)

CONFIG: Final = """
[daemon]
dm_reader = "dmsetup"
interval = "1s"
[watch]
include = ["{place}"]
[action.hook]
type = "webhook"
url = "{url}"
[action.act]
type = "run"
command = ["touch", "{acted}"]
[[policy]]
name = "any"
[[policy.stage]]
name = "odd"
state_is = ["unknown", "invalid", "overflow", "failed"]
actions = ["act", "hook"]
"""

# The first case is that there is no word.
PROGRAM: Final = """#!/bin/sh
case "$(cat {word}) $* " in
" "*) ;;
*" status "*) {real} "$@" | sed "s,snapshot .*,snapshot $(cat {word}),"; exit ;;
esac
exec {real} "$@"
"""


@pytest.fixture
def word(tmp_path: Path) -> Path:
    """What the kernel is made to say; nothing while it is empty."""
    file, program = tmp_path / "word", tmp_path / "bin/dmsetup"
    file.touch()
    program.parent.mkdir()
    program.write_text(PROGRAM.format(word=file, real=need("dmsetup")))
    program.chmod(0o755)
    return file


def test_word_that_no_kernel_has_printed_yet(tmp_path: Path, scratch: Path, word: Path) -> None:
    """Each is shown as it is, with the last numbers and their age; people are told, the machine is left alone."""
    acted = tmp_path / "acted"
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    with webhook() as hook, live(tmp_path, scratch, size=8 * devices.MIB) as root:
        config = CONFIG.format(place=root.place, url=hook.url, acted=acted)
        with running(tmp_path, config, environment) as daemon:
            used = layer(daemon.fresh(), root.layer)["used_bytes"]
            for number, text in enumerate(WORDS, start=1):
                word.write_text(text)
                assert_unknown(daemon, root.layer, text, used)
                counted = daemon.metrics().value("source_unknown_statuses_total", source="dm-snapshot")
                assert counted is not None
                assert counted >= number
            assert hook.next()["labels"]["stage"] == "odd"
            word.write_text("")
            daemon.until(lambda status: layer(status, root.layer)["state"] == "ok", "the end of it")
    assert not acted.exists()


def assert_unknown(daemon: Daemon, name: str, text: str, used: int) -> None:
    """State, word, and the last numbers."""
    found = daemon.until(
        lambda status: one if (one := layer(status, name))["details"].get("status") == text else None, text
    )
    metrics = daemon.metrics()
    assert (found["state"], found["used_bytes"], found["headroom_bytes"]) == ("unknown", used, None)
    assert found["numbers_age_seconds"] > 0
    assert metrics.value("layer_state", layer=name, state="unknown") == 1
    assert metrics.value("layer_headroom_bytes", layer=name) is None
