# SPDX-License-Identifier: Apache-2.0
"""Inputs that were never printed, made of some that were: bytes, words, numbers, blanks and lengths are changed.

This file must not know any format. The same corpus and seed give the same inputs, whatever the machine.
"""

import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")

LONGEST: Final = 64 * 1024
"""Bytes of an input at most: what a KeptFile reads at once."""

_POOL: Final = 512
_RARELY: Final = 1 / 4096
_WORD: Final = re.compile(rb"[0-9]+|[A-Za-z_]+|[ \t]+|.", re.DOTALL)
_NUMBER: Final = re.compile(rb"[0-9]+")
_BLANKS: Final = re.compile(rb"[ \t\r\n]+")

_EDGES: Final = (number for bits in (0, 8, 16, 31, 32, 63, 64) for number in (2**bits - 1, 2**bits, -(2**bits)))
_NUMBERS: Final = (
    *(str(number).encode() for number in _EDGES),
    *(b"00", b"007", b"1e9", b"0x10", b"1_000", b"-0", b"+1", b"9" * 25, b"7" * 4400, b"NaN", b"1e999", b"3.5"),
)
_PIECES: Final = (
    *(b"\0", b"\n", b"\r\n", b"\r", b" ", b"\t", b"\v", b"\x1c", b"\x85", b"\xa0", b"\xff", b"\xc3", b"\xef\xbb\xbf"),
    *("\u0663", "\u00b2", "\uff11", "\u2028", "\u00a0", "\U0001d7d9", "\u0130"),  # digits and blanks of other scripts
    *(b"\xed\xa0\x80", b"\\040", b"\\054", b"\\012", b"\\", b'"', b"'", b"=", b",", b":", b": ", b"/", b"//", b"-"),
    *(b" - ", b"*", b"**", b"[", b"]", b"{", b"}", b"[[", b"#", b"%", b"..", b"null", b"true", b"[]", b"{}"),
    b"\\ud800",
)
PIECES: Final = tuple(piece.encode() if isinstance(piece, str) else piece for piece in _PIECES)
_BLANK_RUNS: Final = (b"", b" ", b"  ", b"\t", b"\n", b"\n\n", b"\r\n", b" \n", b"\0", b"\x0b", b"\xc2\xa0")
_WORDS_32: Final = (0, 1, 2, 7, 8, 12, 40, 304, 312, 313, 352, 1024, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Mutator:
    """Gives one input after the other. What a parser has accepted and is given to keep() is changed further."""

    def __init__(self, corpus: Sequence[bytes], seed: str) -> None:
        self._random = Random(seed)
        self._pool = list(corpus)
        self._real = len(corpus)
        self._longest = 4 * max(map(len, corpus), default=0) + 64

    def input(self) -> bytes:
        """One more input."""
        data = self._any(self._pool)
        while True:
            data = self._any(_MUTATIONS)(self, data)
            if self._random.random() < 0.5:
                break
        if self._random.random() < _RARELY:
            data = self._pumped(data)
        return data[:LONGEST]

    def keep(self, data: bytes) -> None:
        """Changes of it lead further from what is real; the real ones stay in the pool."""
        if len(data) > self._longest:
            return
        if len(self._pool) < self._real + _POOL:
            self._pool.append(data)
        elif self._random.random() < 0.1:
            self._pool[self._real + self._below(_POOL)] = data

    def _below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def _any(self, items: Sequence[T]) -> T:
        return items[self._below(len(items))]

    def _span(self, data: bytes, expression: re.Pattern[bytes]) -> tuple[int, int]:
        """The first match from a place at random on; at the end of the text an empty one."""
        match = expression.search(data, self._below(len(data) + 1))
        return match.span() if match else (len(data), len(data))

    def _pumped(self, data: bytes) -> bytes:
        """A piece of it so often that the whole is as long as may be: time must not grow faster than that."""
        start, end = sorted((self._below(len(data) + 1), self._below(len(data) + 1)))
        piece = data[start:end] or b"a"
        return data[:end] + piece * (LONGEST // len(piece)) + data[end:]


def _flip(self: Mutator, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = self._below(len(data))
    return data[:at] + bytes((data[at] ^ (1 << self._below(8)),)) + data[at + 1 :]


def _put_piece(self: Mutator, data: bytes) -> bytes:
    at = self._below(len(data) + 1)
    return data[:at] + self._any(PIECES) + data[at + self._below(2) :]


def _replace_number(self: Mutator, data: bytes) -> bytes:
    start, end = self._span(data, _NUMBER)
    return data[:start] + self._any(_NUMBERS) + data[end:]


def _replace_blanks(self: Mutator, data: bytes) -> bytes:
    start, end = self._span(data, _BLANKS)
    return data[:start] + self._any(_BLANK_RUNS) + data[end:]


def _delete_word(self: Mutator, data: bytes) -> bytes:
    start, end = self._span(data, _WORD)
    return data[:start] + data[end:]


def _repeat_word(self: Mutator, data: bytes) -> bytes:
    start, end = self._span(data, _WORD)
    return data[:end] + data[start:end] * (1 + self._below(3)) + data[end:]


def _swap_words(self: Mutator, data: bytes) -> bytes:
    (a, b), (c, d) = sorted((self._span(data, _WORD), self._span(data, _WORD)))
    return data if b > c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _other_word(self: Mutator, data: bytes) -> bytes:
    other = self._any(self._pool)
    start, end = self._span(data, _WORD)
    first, last = self._span(other, _WORD)
    return data[:start] + other[first:last] + data[end:]


def _splice(self: Mutator, data: bytes) -> bytes:
    other = self._any(self._pool)
    return data[: self._below(len(data) + 1)] + other[self._below(len(other) + 1) :]


def _cut(self: Mutator, data: bytes) -> bytes:
    start, end = sorted((self._below(len(data) + 1), self._below(len(data) + 1)))
    return data[:start] if self._below(2) else data[:start] + data[end:]


def _put_integer(self: Mutator, data: bytes) -> bytes:
    """Counts, offsets and lengths of binary answers, in their places."""
    size = 4 << self._below(2)
    at = self._below(len(data) // 4 + 1) * 4
    number = self._any(_WORDS_32) if self._below(4) else self._below(len(data) + 1)
    return data[:at] + struct.pack("=Q", number)[:size] + data[at + size :]


_MUTATIONS: Final[Sequence[Callable[[Mutator, bytes], bytes]]] = (
    *(_flip, _put_piece, _put_piece, _replace_number, _replace_number, _replace_blanks, _delete_word, _repeat_word),
    *(_swap_words, _other_word, _other_word, _splice, _cut, _put_integer),
)
