# SPDX-License-Identifier: Apache-2.0
"""A second implementation of a running action: in this very process, one step each time it is listened to."""

from dataclasses import dataclass
from typing import ClassVar

from overlaywatch.engine.errand import Errand, failed
from overlaywatch.kernel.process import Process
from overlaywatch.model import Outcome
from overlaywatch.ports import Plan


@dataclass
class InHand:
    """Plans when it is heard first, and does what it planned when it is heard after the word was given."""

    errand: Errand
    is_begun: bool = False
    dies: bool = False
    pid: int = 1
    fd: int = -1
    process: ClassVar[Process] = Process(1, 1)
    _plan: Plan | None = None
    _is_over: bool = False

    def news(self, now: float, /) -> Plan | Outcome | None:
        """See children.Child."""
        if self.dies:
            self._is_over = True
            return failed(self.errand, "it was killed", now)
        if self._plan is None:
            self._plan = self.errand.plan()
            return self._plan
        if not self.is_begun:
            return None
        self._is_over = True
        return self.errand.apply(self._plan)

    def begin(self, limit_seconds: float | None, now: float, /) -> None:
        """See children.Child."""
        del limit_seconds, now
        self.is_begun = True

    def abandon(self) -> None:
        """See children.Child."""
        self._is_over = True

    def is_gone(self) -> bool:
        """See children.Child."""
        return self._is_over

    def wait(self, deadline: float, /) -> None:
        """See children.Child."""

    def end(self, deadline: float, /) -> Outcome | None:
        """It is always too late."""
        del deadline
        self._is_over = True
        return None
