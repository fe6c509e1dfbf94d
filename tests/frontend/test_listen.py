# SPDX-License-Identifier: Apache-2.0
"""Addresses: how they are written, and what is bound."""

import os
import socket

import pytest

from overlaywatch.frontend.listen import Address, AddressError, bind, name_of, parse_address, parse_addresses, resolve
from overlaywatch.frontend.listeners import RETRY_SECONDS, Listeners


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:10087", "127.0.0.1", 10087),
        ("[::]:10087", "::", 10087),
        ("[::1]:0", "::1", 0),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        (":10087", "", 10087),
        ("localhost:65535", "localhost", 65535),
        (" 192.0.2.1:1 ", "192.0.2.1", 1),
    ],
)
def test_good_addresses(text: str, host: str, port: int) -> None:
    """Host and port, IPv6 in brackets, an empty host for every address."""
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", "10087", "127.0.0.1", "::1:10087", "[::1]", "[1.2.3.4.5]:1", "[:::]:1", "a:65536", "a:-1", "a b:1", "a:1/"],
)
def test_bad_addresses_say_what_was_expected(text: str) -> None:
    """A text that is no address is refused with the forms that are."""
    with pytest.raises(AddressError, match="expected"):
        parse_address(text)


def test_off_is_no_address() -> None:
    """`off` serves nothing; the same address twice is one."""
    assert parse_addresses(["off"]) == ()
    assert parse_addresses(["127.0.0.1:1", "off", "127.0.0.1:1"]) == (Address("127.0.0.1", 1),)


def test_names_become_numbers() -> None:
    """A name is looked up at start; numbers stay; a name that leads nowhere is an error that names it."""
    found = resolve([Address("localhost", 5), Address("::1", 6), Address("", 7)])
    assert found[-2:] == (Address("::1", 6), Address("", 7))
    assert {address.host for address in found[:-2]} <= {"127.0.0.1", "::1"}
    with pytest.raises(AddressError, match="aaaa"):
        resolve([Address("a" * 64, 1)])  # a label has 63 letters at most, so nobody is asked


@pytest.mark.parametrize("text", ["[::]:0", ":0"])
def test_all_addresses_means_both_versions(text: str) -> None:
    """A socket for every address takes clients of IPv4, and of IPv6 where the kernel has it."""
    bound = bind(parse_address(text))
    bound.listen()
    port = bound.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    if bound.family == socket.AF_INET6:
        with socket.create_connection(("::1", port), timeout=5):
            pass
    bound.close()


def test_one_version_is_one_version() -> None:
    """[::1] is IPv6 alone, 127.0.0.1 IPv4 alone: they can have the same port."""
    first = bind(Address("127.0.0.1", 0))
    port = first.getsockname()[1]
    second = bind(Address("::1", port))
    assert (name_of(first), name_of(second)) == (f"127.0.0.1:{port}", f"[::1]:{port}")
    first.close()
    second.close()


def test_bound_is_not_listening() -> None:
    """Nobody can connect to what was only bound."""
    bound = bind(Address("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname(), timeout=5)
    bound.close()


def test_an_address_that_is_taken_costs_only_itself() -> None:
    """The others are opened; the taken one is named with its reason, and tried again until it is free."""
    other = bind(Address("127.0.0.1", 0))
    other.listen()
    taken = Address("127.0.0.1", other.getsockname()[1])
    opened: list[socket.socket] = []

    def listen(bound: socket.socket) -> None:
        bound.listen()
        opened.append(bound)

    listeners = Listeners([taken, Address("127.0.0.1", 0)])
    listeners.bind()
    stands = listeners.open(listen, now=100.0)
    assert stands.addresses == (name_of(opened[0]),)
    assert stands.failed == (f"{taken}: Address already in use",)
    assert listeners.next_retry() == 100.0 + RETRY_SECONDS
    assert listeners.retry(listen, now=110.0) is None
    other.close()
    news = listeners.retry(listen, now=120.0)
    assert news is not None
    assert (news.addresses, news.failed) == ((name_of(opened[0]), str(taken)), ())
    assert listeners.next_retry() is None
    for bound in opened:
        bound.close()


def test_two_that_are_bound_to_one_address() -> None:
    """When somebody else begins to listen between bind and listen, that is a failure like any other."""
    listeners = Listeners([Address("127.0.0.1", 0)])
    listeners.bind()
    (fileno,) = listeners.filenos()
    with socket.socket(fileno=os.dup(fileno)) as same:
        port = same.getsockname()[1]
    rival = bind(Address("127.0.0.1", port))
    rival.listen()
    stands = listeners.open(lambda bound: bound.listen(), now=0.0)
    assert (stands.addresses, len(stands.failed)) == ((), 1)
    rival.close()
