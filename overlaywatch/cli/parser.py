# SPDX-License-Identifier: Apache-2.0
"""argparse, in the words of this program: errors are Problems, help goes where output goes.

This file must not know any verb. Options are never guessed from their beginning: a script that uses
an abbreviation would break when another option is added.
"""

import argparse
import textwrap
from importlib import import_module
from types import ModuleType
from typing import Final, NoReturn, TextIO

from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.verbs import VERBS, Verb

PROGRAM: Final = "overlaywatch"


class Parser(argparse.ArgumentParser):
    """The options of one verb."""

    def __init__(self, verb: Verb, out: TextIO | None = None) -> None:
        super().__init__(
            prog=f"{PROGRAM} {verb.name}",
            description=f"{verb.summary[0].upper()}{verb.summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._verb, self._out = verb, out

    def error(self, message: str) -> NoReturn:
        """Wrong usage, as a Problem."""
        raise Problem(self._verb.name, message, f"see '{self.prog} --help'", Exit.USAGE)

    def print_help(self, file: TextIO | None = None) -> None:  # type: ignore[override]
        """Help, on the output of this program."""
        super().print_help(file or self._out)


def parser_of(verb: Verb, out: TextIO | None = None) -> Parser:
    """The parser of a verb, with all its options."""
    parser = Parser(verb, out)
    module_of(verb).options(parser)
    if verb.looks:
        add_root(parser)
    return parser


def module_of(verb: Verb) -> ModuleType:
    """The module that does the verb: it has `options(parser)` and `run(args, world)`."""
    return import_module(f"overlaywatch.cli.{verb.module}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs; unknown is null")


def add_color(parser: argparse.ArgumentParser) -> None:
    """`--color`."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto (default): on a terminal, unless NO_COLOR is set or TERM is dumb",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config`."""
    parser.add_argument("--config", metavar="PATH", help="read this file alone, not the ordinary ones")


def add_root(parser: argparse.ArgumentParser) -> None:
    """`--root`."""
    parser.add_argument("--root", metavar="DIR", help="look at the machine that was captured into this folder")


def general_help() -> str:
    """What `overlaywatch --help` prints."""
    width = max(len(f"{verb.name} {verb.takes}") for verb in VERBS)
    lines = [f"  {f'{verb.name} {verb.takes}'.ljust(width)}  {verb.summary}" for verb in VERBS]
    head = f"""\
        usage: {PROGRAM} VERB [OPTION...]

        Knows how much room the writable overlay of a live-booted root really has,
        and acts before it ends.

        """
    tail = f"""
        '{PROGRAM} VERB --help' tells more, overlaywatch(8) everything.
        """
    return textwrap.dedent(head) + "\n".join(lines) + "\n" + textwrap.dedent(tail)
