# SPDX-License-Identifier: Apache-2.0
"""Imports a part of a package without running the package's own __init__, which would import all the rest.

This file must not know which package. In an image that is held in memory every MiB counts: the netlink socket of
pyroute2 0.9 takes 14 MiB this way instead of 25, that of 0.7 4 MiB instead of 26, and a third of the time.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bare_package(name: str) -> Iterator[None]:
    """Within this, `import name.part` runs the part but not `name` itself. Afterwards `import name` works as ever.

    If the part cannot do without, nothing of it stays behind, and the error is raised: import it as usual then.
    """
    spec = importlib.util.find_spec(name)
    if name in sys.modules or spec is None:
        yield
        return
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        yield
    except BaseException:
        for module in [one for one in sys.modules if one.startswith(f"{name}.")]:
            del sys.modules[module]
        raise
    finally:
        del sys.modules[name]
