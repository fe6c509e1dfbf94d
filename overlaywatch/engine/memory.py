# SPDX-License-Identifier: Apache-2.0
"""What the daemon remembers over a restart: the policies' state, the ledger, what is owed, the alerts that fire.

Must not know what is decided from it. A memory of another boot is none: its clock is not ours, and
what was mounted then is gone. Without a place to keep it, nothing that changes the machine is done.
"""

import errno
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from overlaywatch.engine.fitting import fitted
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.outbox import Outbox
from overlaywatch.engine.owed import Owed
from overlaywatch.engine.state_file import MOST_BYTES, AlreadyRunningError, StateFile, StateTooLargeError, read_state
from overlaywatch.forecast import Forecaster
from overlaywatch.policy import PolicyState
from overlaywatch.policy_state import to_json

log: Final = logging.getLogger(__name__)

STATE_FILE: Final = "state"
_REMEDY: Final = "run as root, make room there, or set RUNTIME_DIRECTORY"


class Memory:
    """The parts that are kept, and the file they are kept in."""

    def __init__(self, folder: Path | None, boot_id: str, outbox: Outbox) -> None:
        self._boot_id = boot_id
        self._outbox = outbox
        self._saved_changes = 0
        self._is_cut_short = False
        self._folder = folder
        self._file: StateFile | None = None
        kept = self._open()
        ours = kept if boot_id and kept.get("boot_id") == boot_id else {}
        self.ledger = Ledger.from_json(ours.get("past"))
        self.owed = Owed()
        self.owed.restore(ours.get("owed"), time.monotonic())
        self.restored_policy_state = ours.get("policies")
        self.restored_forecasts = ours.get("forecasts")
        outbox.restore(ours.get("alerts"))

    @property
    def is_kept(self) -> bool:
        """Whether anything can be written down."""
        return self._file is not None

    @property
    def is_behind(self) -> bool:
        """Whether an alert was told, delivered or ended since save() was last called."""
        return self._outbox.changes != self._saved_changes

    def save(self, policy_state: PolicyState, forecaster: Forecaster) -> None:
        """Write everything down. Raises OSError if that cannot be done.

        What does not fit is left out, the least important first: see fitting.py.
        """
        self._saved_changes = self._outbox.changes
        file = self._file or self._try_again()
        state: Mapping[str, object] = {
            "boot_id": self._boot_id,
            "policies": to_json(policy_state),
            "past": self.ledger.as_json(),
            "owed": self.owed.as_json(),
            "alerts": self._outbox.as_json(),
            "forecasts": forecaster.to_json(),
        }
        try:
            file.save(state)
            self._is_cut_short = False
        except StateTooLargeError as error:
            self._save_what_fits(file, state, str(error))

    def _save_what_fits(self, file: StateFile, state: Mapping[str, object], problem: str) -> None:
        try:
            file.save(fitted(state, MOST_BYTES))
        except StateTooLargeError as error:
            raise OSError(errno.EFBIG, str(error)) from error
        if not self._is_cut_short:
            log.warning("%s; until then some of it is forgotten when the daemon is started anew", problem)
        self._is_cut_short = True

    def _open(self) -> Mapping[str, object]:
        """Open the file, if it can be; what it holds. Raises AlreadyRunningError."""
        if self._folder is None:
            return {}
        try:
            self._folder.mkdir(mode=0o755, exist_ok=True)
            self._file = StateFile(self._folder / STATE_FILE)
            return self._file.load()
        except OSError as error:
            told = "%s: %s; alerts are sent, but nothing is changed on this machine; %s"
            log.warning(told, self._folder, error.strerror, _REMEDY)
            return {}

    def _try_again(self) -> StateFile:
        """There may be room for the file by now: the tmpfs was full when we started, say. Raises OSError."""
        if self._folder is None:
            raise OSError(errno.EROFS, "nothing is remembered of a captured machine")
        try:
            again = StateFile(self._folder / STATE_FILE)
        except AlreadyRunningError as error:
            raise OSError(errno.EBUSY, "another overlaywatch holds the state; stop one of them") from error
        except OSError as error:
            raise OSError(error.errno, f"{self._folder}: {error.strerror}; {_REMEDY}") from error
        again.load()  # only to go on counting where the last writer stopped
        self._file = again
        return again

    def close(self) -> None:
        """Release the file; what was written stays."""
        if self._file:
            self._file.close()


def read_ledger(folder: Path, boot_id: str) -> Ledger:
    """The ledger of a daemon that may be running, without touching its file; empty if it cannot be read."""
    try:
        kept = read_state(folder / STATE_FILE)
    except OSError:
        return Ledger()
    return Ledger.from_json(kept.get("past")) if kept.get("boot_id") == boot_id else Ledger()
