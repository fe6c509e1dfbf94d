# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.demo`: half a minute of a filling overlay, in the best place that this machine has."""

import argparse
import os
import sys

from tests.demo import stages

STAGES = {"lab": stages.in_the_lab, "here": stages.on_this_kernel, "namespace": stages.in_a_namespace}
INSIDE = {"lab": stages.inside_the_lab, "namespace": stages.inside_the_namespace}


def main() -> int:
    """The exit status says whether everything that was promised has happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--stage", choices=sorted(STAGES), help="the place (default: the best there is)")
    parser.add_argument("--inside", choices=sorted(INSIDE), help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help="MiB that are written in a second (default: 2.5)")
    given = parser.parse_args()
    if given.rate:
        os.environ[stages.RATE] = str(given.rate)
    if given.inside:
        return INSIDE[given.inside]()
    return STAGES.get(given.stage or stages.best(), stages.nowhere)()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
