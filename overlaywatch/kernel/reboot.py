# SPDX-License-Identifier: Apache-2.0
"""The two ways to restart a machine that need neither a program nor a file: reboot(2) and SysRq.

This file must not know when that is right. Nothing is written out first and no service is asked: data
that is only in memory is lost. Both work with a dead root file system, from a process that is locked
into memory. Looked up when the module is imported, so that nothing need be read at that moment.
"""

import ctypes
import os
from typing import Final

from overlaywatch.kernel.root import KernelRoot

LINUX_REBOOT_CMD_RESTART: Final = 0x01234567
"""reboot(2); include/uapi/linux/reboot.h."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_reboot: Final = _libc.reboot


def restart() -> None:
    """reboot(2) with LINUX_REBOOT_CMD_RESTART. Does not return, or raises OSError (EPERM without CAP_SYS_BOOT)."""
    _reboot(ctypes.c_int(LINUX_REBOOT_CMD_RESTART))
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def restart_by_sysrq(root: KernelRoot) -> None:
    """`b` into /proc/sysrq-trigger: works whatever kernel.sysrq says (admin-guide/sysrq.rst). Raises OSError."""
    fd = os.open(root.proc / "sysrq-trigger", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"b")
    finally:
        os.close(fd)
