# SPDX-License-Identifier: Apache-2.0
"""From the words of the command line to a verb, and from what goes wrong in it to an exit status.

This is the one boundary at which errors are told: everything below raises.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from overlaywatch import __version__
from overlaywatch.cli.parser import PROGRAM, general_help, module_of, parser_of
from overlaywatch.cli.plugin import plugin_line
from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.screen import printable
from overlaywatch.cli.verbs import VERBS, Verb
from overlaywatch.cli.world import World
from overlaywatch.config.errors import ConfigErrors

SIGNALLED: Final = 128
SIGINT: Final = 2
SIGPIPE: Final = 13


def dispatch(argv: Sequence[str] | None, world: World) -> int:
    """Do what the words say; the exit status, that of a shell (128 + n) for a signal."""
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv), world)
        world.flush()
        return status
    except Problem as problem:
        silence(world.out)
        return _tell(problem, world)
    except BrokenPipeError:
        silence(world.out)
        return SIGNALLED + SIGPIPE
    except KeyboardInterrupt:
        return SIGNALLED + SIGINT


def _dispatch(words: list[str], world: World) -> int:
    if words[:1] in (["--help"], ["-h"], ["help"]):
        world.write_text(general_help())
        return Exit.DONE
    if words == ["--version"]:
        world.write_text(f"{PROGRAM} {__version__}\n")
        return Exit.DONE
    verb, rest = find_verb(words)
    return _run_as_plugin(verb, rest, world) if verb.plugin else _run(verb, rest, world)


def find_verb(words: Sequence[str]) -> tuple[Verb, list[str]]:
    """The verb and the words after it. Raises Problem: none, or none that is known."""
    for verb in VERBS:
        own = verb.name.split()
        if list(words[: len(own)]) == own:
            return verb, list(words[len(own) :])
    see = f"see '{PROGRAM} --help'"
    if not words:
        raise Problem("a verb is missing", remedy=f"try '{PROGRAM} status', or {see}", status=Exit.USAGE)
    if words[0] == "config":
        names = " or ".join(f"'{verb.name}'" for verb in VERBS if verb.name.startswith("config "))
        raise Problem("config", f"expected {names}", see, Exit.USAGE)
    from difflib import get_close_matches  # noqa: PLC0415  (slow to load, and rarely wanted)

    close = get_close_matches(words[0], [verb.name for verb in VERBS], n=1)
    hint = f"did you mean '{close[0]}'?" if close else see
    raise Problem(printable(words[0]), "no such verb", hint, Exit.USAGE)


def _run(verb: Verb, words: list[str], world: World) -> int:
    try:
        return _do(verb, words, world)
    except ConfigErrors as errors:
        for error in errors.errors:
            _tell(Problem(str(error)), world)
        return Exit.CONFIG
    except BrokenPipeError:
        raise
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise Problem(verb.name, why, _remedy(verb.name, error)) from error


def _remedy(verb: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"try 'sudo {PROGRAM} {verb}'"
    return "look for why in the kernel's log (dmesg)"


def _run_as_plugin(verb: Verb, words: list[str], world: World) -> int:
    """Whatever goes wrong, the answer is UNKNOWN: a traceback ends with 1, and that would be a warning."""
    try:
        return _do(verb, words, world)
    except BrokenPipeError:
        raise
    except ConfigErrors as errors:
        told = f"the configuration is wrong: {errors.errors[0]}" if errors.errors else "the configuration is wrong"
    except Exception as error:
        told = str(error) or type(error).__name__
    world.write([plugin_line("UNKNOWN", told)])
    return Exit.CANNOT_KNOW


def _do(verb: Verb, words: list[str], world: World) -> int:
    try:
        args = parser_of(verb, world.out).parse_args(words)
    except SystemExit as done:  # --help
        return done.code if isinstance(done.code, int) else Exit.DONE
    root = args.root if verb.looks else None
    status: int = module_of(verb).run(args, world if root is None else world.below(root))
    return status


def _tell(problem: Problem, world: World) -> int:
    world.err.write(f"{PROGRAM}: {printable(str(problem))}\n")
    return problem.status


def silence(out: TextIO) -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere (see SIGPIPE in docs of `signal`)."""
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
