# SPDX-License-Identifier: Apache-2.0
"""Giving up every privilege, for good, and proof that it is gone.

This file must not know what the process does afterwards. Everything is done with system calls: the
process may be forked when no file can be opened any more. Order matters (capabilities(7), prctl(2)):
the bounding set needs CAP_SETPCAP, so it goes before the user does; the parent-death signal is
cleared by the kernel when the user changes (kernel/cred.c, commit_creds), so it is set after.
"""

import contextlib
import ctypes
import gc
import itertools
import os
import pwd
import resource
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

USER: Final = "overlaywatch"
NOBODY: Final = 65534

_PR_SET_PDEATHSIG: Final = 1  # include/uapi/linux/prctl.h
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_NO_NEW_PRIVS: Final = 39
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522  # include/uapi/linux/capability.h
_SYS_CLOSE_RANGE: Final = 436  # the same number on every architecture
_HIGHEST_CAPABILITY: Final = 63
_UINT_MAX: Final = 2**32 - 1
_LOOKED_AT: Final = 256
"""verify() looks at so many descriptors; an engine has some dozens."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(Exception):
    """Something is left that must not be; nothing may be served."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the frontend runs as. `reachable` is False in a user namespace that maps no such user."""

    name: str
    uid: int
    gid: int
    reachable: bool = True


def find_identity() -> Identity:
    """The user overlaywatch if there is one, else nobody. Reads files: call it at start, not in need."""
    try:
        entry = pwd.getpwnam(USER)
        name, uid, gid = USER, entry.pw_uid, entry.pw_gid
    except KeyError:
        name, uid, gid = "nobody", NOBODY, NOBODY
    return Identity(name, uid, gid, _is_mapped(uid, "uid_map") and _is_mapped(gid, "gid_map"))


def _is_mapped(number: int, table: str) -> bool:
    """user_namespaces(7): each line is a first number inside, its number outside, and how many follow."""
    try:
        with open(f"/proc/self/{table}", encoding="ascii") as file:
            ranges = [[int(word) for word in line.split()] for line in file]
    except OSError:
        return True  # a kernel without user namespaces
    return any(first <= number < first + count for first, _, count in ranges)


def drop(identity: Identity, keep: Collection[int]) -> str:
    """Give up everything but the file descriptors `keep`; a sentence for the log that says what was done.

    Raises PrivilegeError if a step is refused or if anything is left afterwards. Where there is no
    other user to become (started without privilege, or as the only user of a namespace) the user
    stays, and is closed in all the same.
    """
    parent, privileged = os.getppid(), os.geteuid() == 0
    close_all_but(keep)
    try:
        _step_down_in_rank()
        if privileged:
            _drop_bounding_set()
        if privileged and identity.reachable:
            _change_user(identity)
        _close_in()
        _die_with(parent)
    except OSError as error:
        raise PrivilegeError(f"a step of giving up privilege was refused: {error.strerror}") from error
    verify(identity if privileged else None, keep)
    return _told(identity, privileged=privileged)


def _told(identity: Identity, *, privileged: bool) -> str:
    if not privileged:
        return f"was started as uid {os.getuid()}: there is no privilege to give up"
    if not identity.reachable:
        return f"has no capabilities, and stays uid 0 of a user namespace that has no user {identity.uid}"
    return f"runs as {identity.name} (uid {identity.uid}) without capabilities"


def close_all_but(keep: Collection[int]) -> None:
    """Close every other descriptor: the engine's devices, its files, its pipes.

    Objects of the engine that own these numbers live on in this copy of its memory. They are frozen
    out of garbage collection, so that none of them closes a number that is somebody else's by then.
    """
    gc.freeze()
    bounds = [-1, *sorted(set(keep)), _UINT_MAX]
    for low, high in itertools.pairwise(bounds):
        last = high if high == _UINT_MAX else high - 1
        if low + 1 <= last:
            _close_range(low + 1, last)


def _close_range(first: int, last: int) -> None:
    if _libc.syscall(_SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(0)) != 0:
        # Linux before 5.9 has no such call; the hard limit is the highest number there can be.
        os.closerange(first, min(last, resource.getrlimit(resource.RLIMIT_NOFILE)[1]) + 1)


def _step_down_in_rank() -> None:
    """The engine is the last to be killed and may be favoured by the scheduler; its frontend is neither."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("0")
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _drop_bounding_set() -> None:
    for capability in range(_HIGHEST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) > 0:
            _prctl(_PR_CAPBSET_DROP, capability)


def _change_user(identity: Identity) -> None:
    os.setgroups([])
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def _close_in() -> None:
    with contextlib.suppress(OSError):  # Linux before 4.3 has no ambient set
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir("/")
    os.umask(0o077)


def _die_with(parent: int) -> None:
    """No frontend outlives its engine, even if it is stuck. The engine may have died before this line."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, argument: int, then: int = 0) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(then), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


# --- capget(2), capset(2) --------------------------------------------------------------------------


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _set_capabilities() -> None:
    """None at all in the effective, permitted and inheritable sets."""
    header, data = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    if _libc.capset(ctypes.byref(header), data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _has_capabilities() -> bool:
    header, data = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    if _libc.capget(ctypes.byref(header), data) != 0:
        return True
    return any(half.effective | half.permitted | half.inheritable for half in data)


# --- proof ----------------------------------------------------------------------------------------


def verify(identity: Identity | None, keep: Collection[int]) -> None:
    """Raises PrivilegeError that names everything that is left. `identity` None: there was no privilege."""
    left = [*_left_over(keep), *([] if identity is None else _left_of_root(identity))]
    if left:
        raise PrivilegeError(f"after giving up privilege there is still: {', '.join(left)}")


def _left_over(keep: Collection[int]) -> Iterator[str]:
    if _has_capabilities():
        yield "a capability"
    if _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        yield "the right to gain privileges by execve"
    if any(is_open(number) for number in range(_LOOKED_AT) if number not in keep):
        yield "a file descriptor of the engine"


def _left_of_root(identity: Identity) -> Iterator[str]:
    if any(_libc.prctl(_PR_CAPBSET_READ, each, 0, 0, 0) > 0 for each in range(_HIGHEST_CAPABILITY + 1)):
        yield "a capability in the bounding set"
    if not identity.reachable:
        return
    if {*os.getresuid()} != {identity.uid} or {*os.getresgid()} != {identity.gid}:
        yield "another user or group"
    if os.getgroups():
        yield "a supplementary group"
    if 0 in (identity.uid, identity.gid) or _can_become_root():
        yield "the way back to root"


def _can_become_root() -> bool:
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return False
    return True


def is_open(number: int) -> bool:
    """Whether there is a descriptor of this number."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
