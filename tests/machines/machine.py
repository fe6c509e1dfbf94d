# SPDX-License-Identifier: Apache-2.0
"""One machine of this folder: what it is, what a person says of it, and what overlaywatch says.

Each folder is a capture (overlaywatch/kernel/captured.py) of which the manifest has a table `expected` for some mount
points, written from what is known of the live system and not from what overlaywatch said; beside it lie `status.json`
and `metrics.txt`, which are what overlaywatch said when somebody last read them and agreed.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from overlaywatch.config.settings import Settings
from overlaywatch.document import status_document
from overlaywatch.frontend.facts import Facts
from overlaywatch.frontend.metrics import TEXT_FORMAT, Renderer
from overlaywatch.kernel.captured import MANIFEST, open_capture
from overlaywatch.model import Tick
from overlaywatch.registry import take_look

FOLDER: Final = Path(__file__).parent
NAMES: Final = sorted(path.parent.name for path in FOLDER.glob(f"*/{MANIFEST}"))
STATUS: Final = "status.json"
METRICS: Final = "metrics.txt"
HEADROOM: Final[dict[str, Callable[[int | None, int], bool]]] = {
    "headroom_at_least": lambda answer, value: answer is not None and answer >= value,
    "headroom_at_most": lambda answer, value: answer is not None and answer <= value,
    "unknown": lambda answer, value: (answer is None) == bool(value),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine by the name of its folder."""

    name: str

    @property
    def folder(self) -> Path:
        """Where it is: `overlaywatch explain --root FOLDER` shows it to a person."""
        return FOLDER / self.name

    @property
    def manifest(self) -> dict[str, Any]:
        """What it is, where it is from, what is expected."""
        return tomllib.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))

    def look(self) -> Tick:
        """One look. What depends on this machine and this moment is set to nothing."""
        tick = take_look(Settings(), open_capture(self.folder))
        sources = tuple(replace(report, duration_seconds=0.0) for report in tick.survey.sources)
        return replace(tick, now=0.0, survey=replace(tick.survey, sources=sources))

    def answers(self) -> dict[str, str]:
        """The content of the files STATUS and METRICS."""
        status = json.loads(json.dumps(status_document(self.look())))
        metrics, _ = Renderer().render(Facts(status=status), TEXT_FORMAT)
        return {STATUS: json.dumps(status, indent=1) + "\n", METRICS: metrics.decode()}

    def kept(self) -> dict[str, str]:
        """What the files say."""
        return {name: (self.folder / name).read_text(encoding="utf-8") for name in (STATUS, METRICS)}

    def keep(self) -> bool:
        """Write the files anew; whether they changed."""
        changed = False
        for name, text in self.answers().items():
            path = self.folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                changed = True
        return changed


def differences(expected: dict[str, Any], status: dict[str, Any]) -> list[str]:
    """Where the answer is not what a person expects, in words.

    A key is one of the status document, of which `remedy` has all the parts; or `headroom_at_least`,
    `headroom_at_most`, `unknown` (no headroom can be told), `watched`.
    """
    mounts = {mount["mount_point"]: mount for mount in status["mounts"]}
    wrong = []
    for point, wanted in expected.items():
        if (point in mounts) != wanted.get("watched", True):
            wrong.append(f"{point}: {'watched' if point in mounts else 'not watched'}")
        elif point in mounts:
            wrong += [
                f"{point}: {key}: expected {value!r}, said {said(mounts[point], key)!r}"
                for key, value in wanted.items()
                if not agrees(key, value, said(mounts[point], key))
            ]
    return wrong


def said(mount: dict[str, Any], key: str) -> Any:
    """What was said of a mount point to an expectation."""
    return mount["headroom_bytes"] if key in HEADROOM else mount.get(key)


def agrees(key: str, value: Any, answer: Any) -> bool:
    """Whether an answer is as expected."""
    if key in HEADROOM:
        return HEADROOM[key](answer, value)
    if key == "remedy":
        return all(part in answer for part in ([value] if isinstance(value, str) else value))
    return bool(answer == value)
