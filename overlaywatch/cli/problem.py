# SPDX-License-Identifier: Apache-2.0
"""How a command says that it could not do what it was asked, and with which exit status.

This file must not know any verb.
"""

from enum import IntEnum


class Exit(IntEnum):
    """The exit statuses of every verb but `check`; CONFIG is EX_CONFIG of sysexits.h."""

    DONE = 0
    BAD_NEWS = 1
    USAGE = 2
    CANNOT_KNOW = 3
    CONFIG = 78


class Problem(Exception):  # noqa: N818  (a person is told of a problem, not of an exception)
    """Printed as `overlaywatch: what: why; remedy`; `why` and `remedy` may be left out."""

    def __init__(self, what: str, why: str = "", remedy: str = "", status: Exit = Exit.BAD_NEWS) -> None:
        super().__init__(what)
        self.what, self.why, self.remedy, self.status = what, why, remedy, status

    def __str__(self) -> str:
        told = f"{self.what}: {self.why}" if self.why else self.what
        return f"{told}; {self.remedy}" if self.remedy else told
