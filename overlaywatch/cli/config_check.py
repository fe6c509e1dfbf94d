# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch config check [PATH]`: whether the configuration is right, and every error in it."""

import argparse

from overlaywatch.cli.parser import PROGRAM, add_json
from overlaywatch.cli.problem import Exit
from overlaywatch.cli.screen import printable
from overlaywatch.cli.world import World
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.settings import Settings


def options(parser: argparse.ArgumentParser) -> None:
    """What `config check` takes."""
    parser.add_argument("path", metavar="PATH", nargs="?", help="check this file alone; without: the ordinary files")
    add_json(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Read and check. 78 (EX_CONFIG) if anything is wrong; every error is told, not only the first."""
    try:
        settings, warnings = world.load(args.path)
    except ConfigErrors as errors:
        return _wrong(errors, args, world)
    files = world.gather(args.path).merged.files
    if args.json:
        world.write_json(_document(True, files, warnings, None))
    else:
        world.warn(warnings)
        world.write([_summary(settings, files)])
    return Exit.DONE


def _wrong(errors: ConfigErrors, args: argparse.Namespace, world: World) -> int:
    if args.json:
        world.write_json(_document(False, (), (), errors))
    else:
        world.err.write("".join(f"{PROGRAM}: {printable(str(error))}\n" for error in errors.errors))
    return Exit.CONFIG


def _summary(settings: Settings, files: tuple[str, ...]) -> str:
    if not files:
        return "ok: there is no configuration; overlaywatch watches, exports, and changes nothing"
    read = _counted(len(files), "file")
    stages = sum(len(policy.stages) for policy in settings.policies)
    parts = (_counted(len(settings.actions), "action"), _counted(len(settings.policies), "policy", "policies"))
    return f"ok: {', '.join(parts)} with {_counted(stages, 'stage')} in {read}: {printable(', '.join(files))}"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _document(
    ok: bool, files: tuple[str, ...], warnings: tuple[str, ...], errors: ConfigErrors | None
) -> dict[str, object]:
    found = errors.errors if errors else ()
    return {
        "version": 1,
        "ok": ok,
        "files": list(files),
        "warnings": list(warnings),
        "errors": [
            {"file": error.file, "key": error.key, "problem": error.problem, "expected": error.expected}
            for error in found
        ],
    }
