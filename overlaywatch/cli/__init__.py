# SPDX-License-Identifier: Apache-2.0
"""The command line: one file for each verb, found in `verbs.py`, each loaded only when it is asked for.

A verb is `options(parser)`, which says what it takes, and `run(args, world)`, which does it and gives
the exit status. What is shown is made by pure functions in the files `*_view.py`.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """The program `overlaywatch`: the exit status."""
    # Compiled modules are written beside their sources: to the very overlay whose room is guarded.
    sys.dont_write_bytecode = True
    from overlaywatch.cli.dispatch import dispatch
    from overlaywatch.cli.world import real_world

    return dispatch(argv, real_world())
