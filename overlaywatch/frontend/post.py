# SPDX-License-Identifier: Apache-2.0
"""One HTTP POST, in a thread that may be lost to it: names, connections, TLS, an answer of bounded size.

This file must not know what is posted or when. Every step has its timeout; the whole has one from
outside: abort() cuts the connection, so that a server that sends one byte now and then ends too.
"""

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Final

from overlaywatch import __version__
from overlaywatch.frontend.notice import Post, Result

_TOO_LONG: Final = "it took too long"
_MOST_OF_AN_ANSWER: Final = 2048
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


Place = tuple[int, tuple[object, ...]]
"""An address family, and an address of it for connect(2)."""


def look_up(host: str, port: int) -> list[Place]:
    """What the system knows of a name. Raises OSError, or UnicodeError for what can be no name."""
    return [(answer[0], answer[4]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class AddressBook:
    """Where names led to when they could last be looked up: a dead root takes /etc/resolv.conf with it."""

    def __init__(self, look_up: Callable[[str, int], list[Place]] = look_up) -> None:
        self._look_up = look_up
        self._known: dict[tuple[str, int], list[Place]] = {}

    def find(self, host: str, port: int) -> list[Place]:
        """Places to try in turn. Raises what the lookup raises if it never succeeded."""
        try:
            self._known[host, port] = self._look_up(host, port)
        except OSError:
            if (host, port) not in self._known:
                raise
        return self._known[host, port]

    def learn(self, places: Iterable[tuple[str, int]]) -> None:
        """Look them up now, for the time when it will not be possible."""
        for host, port in places:
            try:
                self.find(host, port)
            except (OSError, UnicodeError):
                continue  # it will be asked again when there is something to tell


class Flight:
    """One request under way: it can be cut off from another thread."""

    def __init__(self, post: Post, book: AddressBook, tls: ssl.SSLContext | None) -> None:
        self.post = post
        self._book = book
        self._tls = tls
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def run(self) -> Result:
        """Make the request and wait for the answer. Whatever goes wrong is in the result."""
        try:
            result = self._exchange()
            # http.client takes a connection that was cut within the headers for their end.
            return Result(None, _TOO_LONG) if self._aborted else result
        except Exception as error:  # the boundary of the thread: a result always comes back
            return Result(None, _TOO_LONG if self._aborted else _words(error))
        finally:
            with self._lock:
                self._socket = None

    def abort(self) -> None:
        """Cut the connection, if there is one; run() returns then."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # it may be cut already
                    # Not SSLSocket.shutdown, which takes the session away from the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _exchange(self) -> Result:
        target = self.post.target
        connection = http.client.HTTPConnection(target.host, target.port, timeout=self.post.timeout)
        try:
            connection.sock = self._connect()
            connection.request("POST", target.path or "/", self.post.body, _HEADERS)
            return read_answer(connection.getresponse())
        finally:
            connection.close()

    def _connect(self) -> socket.socket:
        target = self.post.target
        problem: OSError | None = None
        for family, address in self._book.find(target.host, target.port):
            try:
                return self._connect_to(family, address)
            except OSError as error:
                problem = error
        raise problem or OSError(f"no address of {target.host}")

    def _connect_to(self, family: int, address: tuple[object, ...]) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            made.settimeout(self.post.timeout)
            self._hold(made)
            made.connect(address)
            if self.post.target.tls:
                made = self._encrypted(made)
        except BaseException:
            made.close()
            raise
        return made

    def _encrypted(self, connected: socket.socket) -> socket.socket:
        context = self._tls or tls_context()
        wrapped = context.wrap_socket(connected, server_hostname=self.post.target.host, do_handshake_on_connect=False)
        try:
            self._hold(wrapped)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def _hold(self, held: socket.socket) -> None:
        with self._lock:
            if self._aborted:
                raise TimeoutError(_TOO_LONG)
            self._socket = held


def read_answer(response: http.client.HTTPResponse) -> Result:
    """What a server says: only the first bytes of its text are for people, whatever else follows."""
    text = response.read(_MOST_OF_AN_ANSWER).decode("utf-8", "replace")
    good = 200 <= response.status < 300
    return Result(response.status, "" if good else f"HTTP {response.status} {response.reason}: {text.strip()}")


_HEADERS: Final = {
    "Content-Type": "application/json",
    "User-Agent": f"overlaywatch/{__version__}",
    "Connection": "close",
}


def _words(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text or type(error).__name__


def tls_for(urls: Iterable[str]) -> ssl.SSLContext | None:
    """A context if one of the URLs wants it."""
    return tls_context() if any(url.lower().startswith("https:") for url in urls) else None


def tls_context() -> ssl.SSLContext:
    """A context that needs no file any more: the whole bundle of authorities is in memory.

    The default context of OpenSSL looks into a directory when it meets a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    for bundle in (os.environ.get(paths.openssl_cafile_env), paths.cafile, *_BUNDLES):
        if bundle and os.path.isfile(bundle):
            context.load_verify_locations(cafile=bundle)
            return context
    context.load_default_certs()
    return context
