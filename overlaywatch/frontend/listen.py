# SPDX-License-Identifier: Apache-2.0
"""Where HTTP is answered: `127.0.0.1:10087`, `[::]:10087`, `:10087`, `localhost:10087`, `off`.

This file must not know what is answered. Sockets are bound here and nothing more: listen(2) is called
by who has given up its privileges. `[::]` and an empty host mean every address, of both IP versions.
"""

import errno
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

OFF: Final = "off"

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]*(?:%\w+)?)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})")


class AddressError(ValueError):
    """An address that cannot be read or found; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host (empty: every address) and a port (0: the kernel chooses one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Each address once, in order; `off` means none. Raises AddressError."""
    found = [parse_address(text) for text in texts if text.strip() != OFF]
    return tuple(dict.fromkeys(found))


def parse_address(text: str) -> Address:
    """`HOST:PORT`, with an IPv6 host in brackets. Raises AddressError."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match["port"]) > 65535:
        raise AddressError(f"not an address to listen on: {text!r}; expected HOST:PORT, [IPV6]:PORT, :PORT or off")
    if match["six"] is not None and not _is_ip(match["six"]):
        raise AddressError(f"not an IPv6 address: {match['six']!r}; expected one such as [::1]:10087")
    return Address(match["six"] if match["six"] is not None else match["host"], int(match["port"]))


def resolve(addresses: Sequence[Address]) -> tuple[Address, ...]:
    """The same with names looked up. Done at start: later there may be no /etc/hosts. Raises AddressError."""
    found = [each for address in addresses for each in _resolve(address)]
    return tuple(dict.fromkeys(found))


def _resolve(address: Address) -> list[Address]:
    if not address.host or _is_ip(address.host):
        return [address]
    try:
        answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise AddressError(f"no address of the name {address.host!r}: {why}") from error
    return [Address(str(answer[4][0]), address.port) for answer in answers]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def bind(address: Address) -> socket.socket:
    """A socket that owns the address and does not listen yet. Raises OSError."""
    if address.host in ("", "::") and socket.has_ipv6:
        try:
            return _bound(socket.AF_INET6, address)
        except OSError as error:
            if not _lacks_ipv6(error):
                raise
            address = Address("0.0.0.0", address.port)  # noqa: S104  # all addresses were asked for
    return _bound(socket.AF_INET6 if ":" in address.host else socket.AF_INET, address)


def _lacks_ipv6(error: OSError) -> bool:
    """ipv6.disable=1 has no such sockets, net.ipv6.conf.all.disable_ipv6=1 no such addresses."""
    return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def _bound(family: socket.AddressFamily, address: Address) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Without it a restart would have to wait for the connections of the last process (TIME_WAIT).
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.host in ("", "::") else 1)
        host, _, scope = address.host.partition("%")
        host = host or "::"
        bound.bind((host, address.port) if not scope else (host, address.port, 0, socket.if_nametoindex(scope)))
    except OSError:
        bound.close()
        raise
    return bound


def name_of(bound: socket.socket) -> str:
    """`host:port` of a bound socket, with the port that the kernel chose."""
    host, port = bound.getsockname()[:2]
    return str(Address(host, port))
