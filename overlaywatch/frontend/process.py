# SPDX-License-Identifier: Apache-2.0
"""Starting the frontend: a fork of the engine from memory, which gives up everything and then serves.

This file must not know what is served. prepare() does all that needs files, once, before the first
fork; spawn() needs none, so that a frontend can be replaced when the root file system is dead.

Sockets are bound by the frontend before it gives up its privileges (a port below 1024 needs them) and
listen after it. The engine never holds one: nothing that listens has privilege, not even for a moment,
and a frontend that dies lets go of its addresses.
"""

import contextlib
import ctypes
import encodings.idna
import fcntl
import os
import signal
import socket
import ssl
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from overlaywatch.frontend import listen, page, privileges
from overlaywatch.frontend.delivery import Delivery
from overlaywatch.frontend.facts import Facts
from overlaywatch.frontend.http_connection import DEFAULT_LIMITS, Limits
from overlaywatch.frontend.listen import Address
from overlaywatch.frontend.listeners import Listeners
from overlaywatch.frontend.loop import Frontend
from overlaywatch.frontend.metrics import OPENMETRICS_FORMAT, TEXT_FORMAT, Renderer
from overlaywatch.frontend.post import tls_for
from overlaywatch.frontend.privileges import Identity
from overlaywatch.frontend.textfile import Place
from overlaywatch.pipe import Problem, encode_report

NAME: Final = b"overlaywatch-fe"
"""What ps(1) and top(1) show; the kernel takes 15 bytes (prctl(2), PR_SET_NAME)."""

_PR_SET_NAME: Final = 15
_F_SETPIPE_SZ: Final = 1031  # include/uapi/linux/fcntl.h
_PIPE_BYTES: Final = 1024 * 1024
_LEFT_TO_THE_ENGINE: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""A service manager and a terminal send these to all processes; the engine decides, and says goodbye."""
_USED_LATER: Final = encodings.idna
"""Looking up a name imports it, and then there may be no disk to import from."""


@dataclass(frozen=True, slots=True)
class FrontendOptions:
    """All that a frontend needs to know. Made by prepare()."""

    addresses: tuple[Address, ...]
    identity: Identity
    urls: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    limits: Limits = DEFAULT_LIMITS
    textfile: Place | None = None


@dataclass(frozen=True, slots=True)
class FrontendHandle:
    """What the engine holds of a frontend: non-blocking ends of the two pipes. It must reap `pid`."""

    pid: int
    read_fd: int
    write_fd: int


def prepare(addresses: Sequence[str], urls: Sequence[str] = (), textfile: Place | None = None) -> FrontendOptions:
    """Everything that needs a file: names, users, certificates, imports. Raises AddressError.

    `addresses` as in `--web.listen-address`; `urls` of all receivers, so that their names are learnt
    while they can be looked up; `textfile` as textfile.prepare() made it.
    """
    found = listen.resolve(listen.parse_addresses(addresses))
    renderer = Renderer()
    for accept in (TEXT_FORMAT, OPENMETRICS_FORMAT):
        renderer.render(Facts(), accept)
    page.render(Facts(), "")
    return FrontendOptions(found, privileges.find_identity(), tuple(urls), tls_for(urls), textfile=textfile)


def renewed(options: FrontendOptions, urls: Sequence[str]) -> FrontendOptions:
    """The same for other receivers. Looks up no name: the engine, which reads its configuration again, cannot wait."""
    return replace(options, urls=tuple(urls), tls=tls_for(urls))


def spawn(options: FrontendOptions, sockets: Sequence[socket.socket] = ()) -> FrontendHandle:
    """Fork a frontend. Opens no file. Raises OSError if the machine has no room for a process.

    `sockets` are bound already by somebody else (a service manager); they are closed neither here nor
    in the engine.
    """
    engine_read, frontend_write, frontend_read, engine_write = _two_pipes()
    with contextlib.suppress(OSError):  # only so that a large tick goes through at once
        fcntl.fcntl(engine_write, _F_SETPIPE_SZ, _PIPE_BYTES)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            run_frontend(frontend_read, frontend_write, sockets, options)
    except OSError:
        os.close(engine_read)
        os.close(engine_write)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(frontend_read)
        os.close(frontend_write)
    os.set_blocking(engine_read, False)
    os.set_blocking(engine_write, False)
    return FrontendHandle(pid, engine_read, engine_write)


def _two_pipes() -> tuple[int, int, int, int]:
    """Both ends of each, or OSError and none: where descriptors are short it is tried again and again."""
    first = os.pipe2(os.O_CLOEXEC)
    try:
        return *first, *os.pipe2(os.O_CLOEXEC)
    except OSError:
        for fd in first:
            os.close(fd)
        raise


def run_frontend(
    engine_read_fd: int, engine_write_fd: int, listen_sockets: Sequence[socket.socket], options: FrontendOptions
) -> NoReturn:
    """The whole life of the child: bind, give up privilege, serve, exit. Never returns, never raises."""
    status = 1
    try:
        _forget_signals()
        ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME, 0, 0, 0)
        _detach_stdio(keep=(engine_read_fd, engine_write_fd, *(each.fileno() for each in listen_sockets)))
        listeners = Listeners(options.addresses, listen_sockets)
        listeners.bind()
        folder = () if options.textfile is None else (options.textfile.folder,)
        keep = (0, 1, 2, engine_read_fd, engine_write_fd, *listeners.filenos(), *folder)
        runs_as = privileges.drop(options.identity, keep)
        delivery = Delivery(time.monotonic, time.time, urls=options.urls, tls=options.tls)
        frontend = Frontend(engine_read_fd, engine_write_fd, listeners, delivery, options.limits, options.textfile)
        frontend.run(runs_as)
        status = 0
    except BaseException as error:  # the end of the process: nothing may run on into the engine's code
        _last_words(engine_write_fd, error)
    finally:
        os._exit(status)


def _forget_signals() -> None:
    """Handlers of the engine must not run here; spawn() blocks signals until now, so none has."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in _LEFT_TO_THE_ENGINE:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _detach_stdio(keep: Sequence[int]) -> None:
    """0, 1 and 2 lead to a socket that nobody reads: no terminal, no file, and no device is left open."""
    ours, nobodys = socket.socketpair()
    for number in (0, 1, 2):
        if number not in keep:
            os.dup2(ours.fileno(), number)
    ours.close()
    nobodys.close()


def _last_words(write_fd: int, error: BaseException) -> None:
    text = str(error) if isinstance(error, privileges.PrivilegeError) else "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError):
        os.write(write_fd, encode_report(Problem(f"the frontend ended: {text}")))
