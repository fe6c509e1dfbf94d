# SPDX-License-Identifier: Apache-2.0
"""`--textfile`: the metrics as a file for node_exporter, written by a process without privilege."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from overlaywatch.frontend import privileges
from overlaywatch.frontend.process import prepare
from overlaywatch.frontend.textfile import EVERY, Place, Textfile, TextfileError
from overlaywatch.frontend.textfile import prepare as prepare_textfile
from overlaywatch.pipe import Listening, Problem
from tests.cli import ticks
from tests.frontend.frontends import frontend
from tests.frontend.support import tick_frame, until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is not on the root file system: /dev/shm is a tmpfs on every Linux."""
    with TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def place(folder: Path) -> Iterator[Place]:
    """A prepared file."""
    made = prepare_textfile(str(folder / "overlaywatch.prom"))
    yield made
    os.close(made.folder)


@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("overlaywatch.prom", "absolute path"),
        ("/dev/shm/overlaywatch.txt", "NAME.prom"),
        ("/dev/shm/.prom", "NAME.prom"),
        ("/dev/shm/no/such/x.prom", "No such file"),
        ("/dev/null/x.prom", "Not a directory"),
        ("/x.prom", "the file system that is guarded"),
    ],
)
def test_a_place_where_it_must_not_be(path: str, because: str) -> None:
    """Each mistake is named, with what to do instead; nothing is written on the guarded file system."""
    with pytest.raises(TextfileError, match=because):
        prepare_textfile(path)


def test_readers_see_whole_files_only(place: Place, folder: Path) -> None:
    """Replaced every 15 s by a rename, readable for everybody, and gone at the end."""
    now, bodies = [0.0], iter([b"one 1\n", b"two 2\n"])
    textfile = Textfile(place, lambda: next(bodies), lambda: now[0])
    assert (textfile.step(), list(folder.iterdir())) == ("", [])
    textfile.begin()
    assert textfile.step() == ""
    first = (folder / "overlaywatch.prom").open("rb")
    now[0] = EVERY - 1
    assert (textfile.step(), textfile.next_due()) == ("", EVERY)
    now[0] = EVERY
    assert textfile.step() == ""
    with first:
        assert first.read() == b"one 1\n"
    assert (folder / "overlaywatch.prom").read_bytes() == b"two 2\n"
    assert (folder / "overlaywatch.prom").stat().st_mode & 0o777 == 0o644
    textfile.close()
    assert list(folder.iterdir()) == []


def test_a_link_in_its_place_is_not_followed(place: Place, folder: Path) -> None:
    """Whoever may write to the folder cannot make it write elsewhere."""
    victim = folder / "victim"
    victim.write_text("precious")
    (folder / ".overlaywatch.prom.tmp").symlink_to(victim)
    textfile = Textfile(place, lambda: b"x 1\n", lambda: 0.0)
    textfile.begin()
    problem = textfile.step()
    assert "symbolic links" in problem
    assert victim.read_text() == "precious"


def test_the_frontend_writes_it(place: Place, folder: Path) -> None:
    """The real process, without privilege: the figures of the tick; and the file goes when it goes."""
    os.chown(folder, privileges.find_identity().uid, -1)
    options = prepare(["off"], textfile=place)
    with frontend(options) as forked:
        forked.take(Listening)
        forked.send(tick_frame(ticks.filling()))
        until(lambda: "overlaywatch_build_info" in _text(folder), lambda: forked.listen(0.05))
    assert list(folder.iterdir()) == []


def test_a_folder_that_it_may_not_write_to(place: Place, folder: Path) -> None:
    """It is said once, with the remedy, and everything else goes on."""
    folder.chmod(0o755)
    with frontend(prepare(["off"], textfile=place)) as forked:
        forked.send(tick_frame(ticks.filling()))
        if os.geteuid() == 0:
            assert "the user overlaywatch must be able to write there" in forked.take(Problem).text


def _text(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*.prom"))
