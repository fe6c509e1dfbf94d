# SPDX-License-Identifier: Apache-2.0
"""The guest is what the other tests of this folder rely on."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import ModuleLoader

pytestmark = pytest.mark.kernel(lab=True)


def test_kernel_has_the_targets_of_device_mapper() -> None:
    """Snapshot, thin pool and linear can be made."""
    listed = subprocess.run(["dmsetup", "targets"], check=True, capture_output=True, text=True).stdout
    targets = {line.split()[0] for line in listed.splitlines()}
    assert {"linear", "snapshot", "snapshot-origin", "thin", "thin-pool"} <= targets


def test_root_is_an_overlay_whose_upper_side_is_memory() -> None:
    """Whatever a test writes to the root ends with the guest: the host's files lie below."""
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = [line for line in fields if line[4] == "/"][-1]
    assert root[root.index("-") + 1] == "overlay"
    Path("/etc/overlaywatch-was-here").write_text("only in here")


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_loopback_carries_both_families(family: socket.AddressFamily, address: str) -> None:
    """Servers and clients of a test reach one another over loopback."""
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind((address, 0))
        server.listen()
        client.connect(server.getsockname()[:2])
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"


def test_modules_can_be_loaded_for_one_test(kernel_module: ModuleLoader) -> None:
    """A test asks for zram with the parameters it wants and gets its devices."""
    kernel_module("zram", "num_devices=2")
    assert Path("/sys/block/zram1").exists()


def test_scratch_is_a_tmpfs(scratch: Path) -> None:
    """Backing files that a test puts there rest on RAM, and on nothing of the host."""
    answer = subprocess.run(["stat", "-f", "-c", "%T", scratch], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "tmpfs"
