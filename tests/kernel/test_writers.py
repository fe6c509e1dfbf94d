# SPDX-License-Identifier: Apache-2.0
"""Who has written most is found among the real processes of this machine."""

import itertools
import subprocess
import sys
from pathlib import Path

import psutil

from overlaywatch.kernel.writers import Writer, describe, most, read_writers

WRITE = "import sys; open(sys.argv[1], 'wb').write(bytes(3_000_000)); print(flush=True); sys.stdin.read()"


def test_greatest_first() -> None:
    """Ranked by bytes, cut at the limit, without those who have written nothing."""
    small, great, none = Writer(3, "small", 10), Writer(4, "great", 2048), Writer(5, "none", 0)
    assert most([small, none, great], 5) == (great, small)
    assert most([small, none, great], 1) == (great,)
    assert describe([great, small]) == "great (4) 2.0 KiB, small (3) 10 B"
    assert describe([]) == ""


def test_process_that_writes_is_found(tmp_path: Path) -> None:
    """A process that has written 3 MB is there, with no less."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = {one.pid: one for one in read_writers(100_000, into_memory=True, patience=60.0).writers}
        process.communicate()
    assert found[process.pid].written_bytes >= 3_000_000


def test_name_is_the_kernels_own(tmp_path: Path) -> None:
    """Not that of the command line: to read it can take as long as the process waits for a dead device."""
    program = "a-name-of-more-than-15-bytes"
    rename = f"open('/proc/self/comm', 'w').write('{program}')"
    command = [program, "-c", f"{rename}; {WRITE}", str(tmp_path / "file")]
    with subprocess.Popen(command, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = {one.pid: one.name for one in read_writers(100_000, into_memory=True, patience=60.0).writers}
        process.communicate()
    assert found[process.pid] == program[:15]


def test_who_writes_for_others_is_left_out() -> None:
    """Process 1 inherits everybody's figures, and kernel threads write what others have written."""
    found = {one.pid for one in read_writers(100_000, into_memory=True, patience=60.0).writers}
    assert found & {1, 2} == set()


def test_thousands_of_processes_are_not_waited_for() -> None:
    """The newest are looked at while there is time; that the others were not is said."""
    times = itertools.count()
    newest = max(psutil.pids())
    found = read_writers(100_000, into_memory=True, patience=2.0, clock=lambda: float(next(times)))
    assert found.not_seen >= len(psutil.pids()) // 2
    assert all(one.pid >= newest - 1000 for one in found.writers)
    assert read_writers(patience=0.0).writers == ()
