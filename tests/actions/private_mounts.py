# SPDX-License-Identifier: Apache-2.0
"""Tests that mount: each runs in a child with a mount namespace of its own, which ends with the child."""

import ctypes
import functools
import os
import pickle
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec

import pytest

P = ParamSpec("P")

CLONE_NEWNS: Final = 0x00020000
_libc: Final = ctypes.CDLL(None, use_errno=True)


def in_private_mounts(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test where it may mount what it likes: nobody else sees it, and nothing remains."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        if os.geteuid() != 0:
            if os.environ.get("CI") == "true":
                pytest.fail("these tests need root in CI")
            pytest.skip("needs root to mount")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os._exit(_child(functools.partial(test, *args, **kwargs), writer))
        os.close(writer)
        with open(reader, "rb") as report:
            text = report.read()
        os.waitpid(pid, 0)
        if text != b"ok":
            pytest.fail(pickle.loads(text) if text else "the child died", pytrace=False)  # noqa: S301

    return wrapper


def _child(test: Callable[[], None], writer: int) -> int:
    try:
        if _libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        test()
    except BaseException:
        os.write(writer, pickle.dumps(traceback.format_exc()[-60000:]))
        return 1
    os.write(writer, b"ok")
    return 0


def mount_tmpfs(path: Path, size: str = "16m") -> Path:
    """A tmpfs of its own; for the children of in_private_mounts only."""
    path.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size}", "none", path)
    return path


def mount(*arguments: str | Path) -> None:
    """mount(8)"""
    subprocess.run(["mount", *map(str, arguments)], check=True)
