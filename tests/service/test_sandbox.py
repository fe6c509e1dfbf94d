# SPDX-License-Identifier: Apache-2.0
"""The running unit: who it is, what it may, and that its sandbox lets it see the machine."""

import subprocess
from pathlib import Path

import pytest

from tests.service.conftest import Service, fields, get, status, wait_until

pytestmark = pytest.mark.kernel(systemd=True)


def test_status_says_in_words_how_much_is_left(running: Service) -> None:
    """`systemctl status` shows the mount point that is worst off and its room."""
    wait_until(lambda: " left on " in running.show("StatusText"))


def test_who_listens_can_do_nothing(running: Service) -> None:
    """The frontend runs as its own user without any capability; the engine has those of the unit and no more."""
    frontend, engine = fields(running.frontend), fields(running.pid)
    user = subprocess.run(["id", "-u", "overlaywatch"], check=True, capture_output=True, text=True).stdout.strip()
    assert set(frontend["Uid"].split()) == {user}
    assert {frontend[name].strip("0") for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert (frontend["NoNewPrivs"], engine["NoNewPrivs"]) == ("1", "1")
    assert (frontend["Seccomp"], engine["Seccomp"]) == ("2", "2")
    allowed = {"sys_admin", "sys_boot", "ipc_lock", "setuid", "setgid", "setpcap", "kill"}
    allowed |= {"dac_override", "dac_read_search", "fowner", "sys_ptrace"}
    assert names_of(engine["CapBnd"]) == allowed


def names_of(mask: str) -> set[str]:
    """The names of a set of capabilities (include/uapi/linux/capability.h)."""
    numbers = {
        "chown": 0, "dac_override": 1, "dac_read_search": 2, "fowner": 3, "kill": 5, "setgid": 6, "setuid": 7,
        "setpcap": 8, "ipc_lock": 14, "sys_ptrace": 19, "sys_admin": 21, "sys_boot": 22,
    }  # fmt: skip
    value = int(mask, 16)
    known = {name for name, number in numbers.items() if value >> number & 1}
    assert value == sum(1 << numbers[name] for name in known), mask
    return known


def test_engine_is_locked_into_memory_and_spared_by_the_oom_killer(running: Service) -> None:
    """What the emergency needs is granted by the unit: locked pages, the lowest OOM score, no core dump."""
    engine, frontend = running.pid, running.frontend
    locked, resident = (int(fields(engine)[name].split()[0]) for name in ("VmLck", "VmRSS"))
    # All but a page or two that the kernel shares with every process.
    assert locked >= resident - 64
    scores = [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in (engine, frontend)]
    assert scores == ["-1000", "0"]
    assert "is not locked" not in running.journal()
    assert "is not lowered" not in running.journal()


def test_system_is_read_only_for_the_engine_and_var_is_not(running: Service) -> None:
    """In the service's own mount table /usr and /etc cannot be written; what purge works on can."""

    def touch(path: str) -> int:
        command = ["nsenter", f"--mount=/proc/{running.pid}/ns/mnt", "touch", path]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert [touch(path) for path in ("/usr/x", "/etc/x", "/var/tmp/x", "/tmp/x")] == [1, 1, 0, 0]


def test_mount_made_later_is_seen_at_once(running: Service) -> None:
    """The service has a mount table of its own, and reports that of the machine: a new tmpfs with its true size."""
    del running
    place = Path("/srv/later")
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "later", place], check=True)
    try:
        assert wait_until(lambda: "/srv/later" in mounts()) < 5
        with (place / "file").open("wb") as file:
            file.write(bytes(16 << 20))
        wait_until(lambda: mounts()["/srv/later"]["headroom_bytes"] == 32 << 20)
    finally:
        subprocess.run(["umount", place], check=True)
    assert wait_until(lambda: "/srv/later" not in mounts()) < 5


def mounts() -> dict[object, dict[str, object]]:
    """The watched mount points of the status document, by name."""
    return {mount["mount_point"]: mount for mount in status()["mounts"]}


def test_everything_is_read_through_the_sandbox(running: Service) -> None:
    """Device policy and system call filter let through what every source reads."""
    del running
    lines = [line for line in get("/metrics").splitlines() if line.startswith("overlaywatch_source_success{")]
    assert lines != []
    assert [line for line in lines if not line.endswith(" 1.0")] == []
