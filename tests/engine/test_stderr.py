# SPDX-License-Identifier: Apache-2.0
"""The log's way out: pipes, terminals, sockets and files, read and unread. Nothing of it may wait."""

import logging
import os
import pty
import socket
import stat
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest

from overlaywatch.engine.journal import JournalFormatter, leads_to_journal
from overlaywatch.engine.stderr import TOLD_AGAIN_SECONDS, StderrHandler

Ends = tuple[int, int]


def a_pipe() -> Ends:
    """(write, read)"""
    read_fd, write_fd = os.pipe()
    return write_fd, read_fd


def a_terminal() -> Ends:
    """(the side of programs, the side of the screen)"""
    screen, terminal = pty.openpty()
    tty.setraw(terminal)
    return terminal, screen


def a_socket() -> Ends:
    """A stream, as the journal gives to services."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


MAKERS = [a_pipe, a_terminal, a_socket]


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """Both ends, closed afterwards."""
    make: Callable[[], Ends] = request.param
    write_fd, read_fd = make()
    yield write_fd, read_fd
    for fd in (write_fd, read_fd):
        os.close(fd)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own; its handlers are closed afterwards."""
    made = logging.Logger("overlaywatch.test")
    yield made
    for handler in made.handlers:
        handler.close()


def attached(logger: logging.Logger, fd: int) -> logging.Logger:
    """The logger, writing there."""
    handler = StderrHandler(fd)
    handler.setFormatter(JournalFormatter(to_journal=True))
    logger.addHandler(handler)
    return logger


def drained(fd: int) -> str:
    """All that can be read now."""
    os.set_blocking(fd, False)
    found = b""
    try:
        while data := os.read(fd, 1 << 20):
            found += data
    except BlockingIOError:
        pass
    return found.decode()


@pytest.mark.parametrize("ends", MAKERS, indirect=True)
def test_nobody_reads_and_nothing_waits(ends: Ends, logger: logging.Logger) -> None:
    """Megabytes into what takes kilobytes; when somebody reads again, the loss is told."""
    log = attached(logger, ends[0])
    began = time.monotonic()
    for number in range(3000):
        log.warning("%d %s", number, "x" * 1000)
    took = time.monotonic() - began
    before = drained(ends[1])
    log.warning("afterwards")
    after = drained(ends[1]).replace("\r\n", "\n").lstrip("\n").split("\n")

    assert took < 2.0
    assert before.startswith("<4>0 xxx")
    assert after[0].startswith("<4>")
    assert after[0].endswith(" messages were lost: nobody read them")
    assert after[1:] == ["<4>afterwards", ""]


@pytest.mark.parametrize("ends", MAKERS, indirect=True)
def test_flags_of_a_shared_descriptor_stay(ends: Ends, logger: logging.Logger) -> None:
    """A shell shares its terminal with us: it must not find it non-blocking."""
    attached(logger, ends[0]).warning("hello")

    assert os.get_blocking(ends[0])
    assert "hello" in drained(ends[1])


@pytest.mark.parametrize("ends", [a_pipe, a_socket], indirect=True)
def test_a_reader_that_has_gone_is_no_end(ends: Ends, logger: logging.Logger) -> None:
    """EPIPE and SIGPIPE are for programs whose purpose is their output."""
    log = attached(logger, ends[0])
    nobody = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nobody, ends[1])
    os.close(nobody)
    log.warning("hello")

    assert stat.S_ISCHR(os.fstat(ends[1]).st_mode)


def test_files_are_appended_to(tmp_path: Path, logger: logging.Logger) -> None:
    """Whoever redirects to a file keeps what was in it, and gets all of a long line."""
    path = tmp_path / "log"
    path.write_text("before\n")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    attached(logger, fd).warning("x" * 100_000)
    os.close(fd)

    assert path.read_text() == "before\n<4>" + "x" * 100_000 + "\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("ends", [a_pipe], indirect=True)
def test_another_users_pipe_is_written_to_with_care(ends: Ends, logger: logging.Logger) -> None:
    """After `su` the terminal of the old user cannot be opened: then a poll says whether it takes anything."""
    os.fchmod(ends[0], 0)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setresuid(65534, 65534, 65534)
            log = attached(logger, ends[0])
            began = time.monotonic()
            for number in range(300):
                log.warning("%d %s", number, "x" * 1000)
            status = int(time.monotonic() - began > 1.0)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert drained(ends[1]).startswith("<4>0 xxx")


@pytest.mark.parametrize("ends", [a_pipe], indirect=True)
def test_the_same_traceback_is_told_once_an_hour(ends: Ends, logger: logging.Logger) -> None:
    """A fault that is met at every tick must not fill the disk that we guard with its traceback."""
    log = attached(logger, ends[0])
    for number in range(5):
        _fail(log, 5 if number < 4 else 6)
    said = drained(ends[1])
    record = log.makeRecord("overlaywatch", logging.ERROR, "", 0, "again", (), _caught(5))
    record.created += TOLD_AGAIN_SECONDS + 1
    log.handle(record)

    assert said.count("Traceback") == 2
    assert "ValueError: 5" in said
    assert "ValueError: 6" in said
    assert "again" in drained(ends[1])


def _fail(log: logging.Logger, number: int) -> None:
    try:
        _raise(number)
    except ValueError:
        log.exception("a fault")


def _caught(number: int) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        _raise(number)
    except ValueError as error:
        return type(error), error, error.__traceback__
    raise AssertionError


def _raise(number: int) -> None:
    raise ValueError(number)


@pytest.mark.parametrize("to_journal", [True, False])
def test_no_name_can_pretend_to_be_another_line(to_journal: bool) -> None:
    """Control characters are shown, not obeyed; every line has its priority or our name in front."""
    formatter = JournalFormatter(to_journal=to_journal)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "one\x1b[2J\x85\u2028\r\ntwo\t\udcff", None, None)
    prefix = "<3>" if to_journal else "overlaywatch: "

    assert formatter.format(record) == f"{prefix}one\\x1b[2J\\x85\\u2028\\r\n{prefix}two\\t\\xff"


def test_only_the_journals_own_stream_gets_priorities(tmp_path: Path) -> None:
    """A shell that was started by a service inherits JOURNAL_STREAM, but not the stream."""
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    found = os.fstat(fd)
    verdicts = [
        leads_to_journal(fd, f"{found.st_dev}:{found.st_ino}"),
        leads_to_journal(fd, f"{found.st_dev}:{found.st_ino + 1}"),
        leads_to_journal(fd, ""),
        leads_to_journal(fd, "8:x"),
    ]
    os.close(fd)

    assert verdicts == [True, False, False, False]


def test_closed_standard_descriptors_are_held() -> None:
    """Started with 1 and 2 closed, no file of ours gets these numbers, and then our messages."""
    code = (
        "import os; os.close(1); os.close(2)\n"
        "from overlaywatch.engine.journal import set_up; set_up(('a warning',))\n"
        "fd = os.open('/proc/self/mountinfo', os.O_RDONLY); os._exit(fd)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode >= 3
