# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch config show`: all settings that are in force, and where each value comes from."""

import argparse

from overlaywatch.cli.parser import add_config, add_json
from overlaywatch.cli.problem import Exit
from overlaywatch.cli.world import World
from overlaywatch.config.render import to_data, to_toml
from overlaywatch.registry import with_defaults


def options(parser: argparse.ArgumentParser) -> None:
    """What `config show` takes."""
    add_json(parser)
    add_config(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Show what was read, also where it would be refused: this is how one finds out why. Secrets are not shown."""
    gathered = world.gather(args.config)
    world.warn(gathered.warnings)
    whole = with_defaults(gathered.merged)
    if args.json:
        # The hash is that of the metrics: of what is written.
        world.write_json({"version": 1, **to_data(whole), "hash": gathered.merged.fingerprint})
    else:
        world.write_text(to_toml(whole))
    return Exit.DONE
