# SPDX-License-Identifier: Apache-2.0
"""The addresses that were asked for: bound before privilege is given up, opened after it.

This file must not know what is answered. An address that is taken, or not there yet, costs only
itself, and is tried again; a port below 1024 can be bound only with privilege, so for such a one only a
new frontend helps.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final

from overlaywatch.frontend.listen import Address, bind, name_of
from overlaywatch.pipe import Listening

RETRY_SECONDS: Final = 10.0


class Listeners:
    """`given` are sockets that somebody else has bound, or listens on already."""

    def __init__(self, addresses: Sequence[Address], given: Sequence[socket.socket] = ()) -> None:
        self._bound: list[tuple[Address | None, socket.socket]] = [(None, each) for each in given]
        self._failed: dict[Address, str] = dict.fromkeys(addresses, "")
        self._open: list[str] = []
        self._retry_at: float | None = None

    def bind(self) -> None:
        """Bind what is not bound yet; listen to nothing."""
        for address in tuple(self._failed):
            try:
                self._bound.append((address, bind(address)))
                del self._failed[address]
            except OSError as error:
                self._failed[address] = error.strerror or str(error)

    def filenos(self) -> list[int]:
        """Descriptors of what is bound and not open yet."""
        return [each.fileno() for _, each in self._bound]

    def open(self, listen: Callable[[socket.socket], None], now: float) -> Listening:
        """Hand what is bound to `listen`; how things stand afterwards."""
        waiting, self._bound = self._bound, []
        for address, bound in waiting:
            try:
                name = name_of(bound)
                listen(bound)
                self._open.append(name)
            except OSError as error:
                bound.close()
                # With SO_REUSEADDR two sockets may be bound to one address; the second cannot listen.
                if address is not None:
                    self._failed[address] = error.strerror or str(error)
        self._retry_at = now + RETRY_SECONDS if self._failed else None
        return Listening(tuple(self._open), tuple(f"{address}: {why}" for address, why in self._failed.items()))

    def next_retry(self) -> float | None:
        """When retry() is to be called."""
        return self._retry_at

    def retry(self, listen: Callable[[socket.socket], None], now: float) -> Listening | None:
        """Try again what failed; how things stand, if that is news."""
        before = dict(self._failed)
        self.bind()
        stands = self.open(listen, now)
        return stands if self._failed != before else None
