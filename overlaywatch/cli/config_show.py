# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch config show`: the merged configuration, and where each value comes from."""

import argparse

from overlaywatch.cli.parser import add_config, add_json
from overlaywatch.cli.problem import Exit
from overlaywatch.cli.world import World
from overlaywatch.config.render import to_data, to_toml


def options(parser: argparse.ArgumentParser) -> None:
    """What `config show` takes."""
    add_json(parser)
    add_config(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Show what was read, also where it would be refused: this is how one finds out why. Secrets are not shown."""
    gathered = world.gather(args.config)
    world.warn(gathered.warnings)
    if args.json:
        world.write_json({"version": 1, **to_data(gathered.merged)})
    else:
        world.write_text(to_toml(gathered.merged))
    return Exit.DONE
