# SPDX-License-Identifier: Apache-2.0
"""The lab's kernel on processors with more registers than it knows."""

import ctypes
import shutil
from pathlib import Path

import pytest

from tests.lab import xstate


def test_only_a_processor_with_amx_needs_it(tmp_path: Path) -> None:
    """The flag decides; a machine without /proc/cpuinfo needs nothing."""
    cpuinfo = tmp_path / "cpuinfo"
    assert not xstate.is_needed(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx512f pku\n")
    assert not xstate.is_needed(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx512f pku amx_bf16 amx_tile amx_int8\n")
    assert xstate.is_needed(cpuinfo)


@pytest.mark.skipif(
    not xstate.is_needed() or shutil.which(xstate.COMPILER) is None, reason="another processor: without AMX"
)
def test_the_library_stands_in_for_ptrace() -> None:
    """It is built without a warning, and has the function that is replaced."""
    (assignment,) = xstate.environment()
    assert callable(ctypes.CDLL(assignment.removeprefix("LD_PRELOAD=")).ptrace)
