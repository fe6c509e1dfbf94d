# SPDX-License-Identifier: Apache-2.0
"""What each dependency costs in memory: the same imports with an empty stand-in in its place.

`python -m benchmarks.dependencies [PACKAGE]` prints the PSS of an interpreter that has imported all that
the daemon imports, in bytes, without that package. A stand-in answers every name, so imports go through;
the daemon could not work with it.
"""

import gc
import subprocess
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class StandIn(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        """Whatever is asked for."""
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda *_, **__: None})


class Blocker(MetaPathFinder, Loader):
    """Finds a stand-in for one package and everything in it."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for the package alone."""
        del path, target
        return ModuleSpec(name, self) if name.split(".", maxsplit=1)[0] == self._package else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The stand-in; a path makes it a package, of which more can be imported."""
        module = StandIn(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing."""


def pss() -> int:
    """The proportional set size of this process in bytes."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure(package: str = "") -> int:
    """PSS of a fresh interpreter with the daemon's imports, without `package`."""
    command = [sys.executable, "-m", "benchmarks.dependencies", *([package] if package else [])]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.meta_path.insert(0, Blocker(sys.argv[1]))
    import overlaywatch.service  # noqa: F401

    print(pss())
