# SPDX-License-Identifier: Apache-2.0
"""What the daemon remembers over a restart: the policies' state, the ledger, what is owed, the alerts that fire.

Must not know what is decided from it. A memory of another boot is none: its clock is not ours, and
what was mounted then is gone. Without a place to keep it, nothing that changes the machine is done.
"""

import errno
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.outbox import Outbox
from overlaywatch.engine.owed import Owed
from overlaywatch.engine.state_file import StateFile, StateTooLargeError, read_state
from overlaywatch.forecast import Forecaster
from overlaywatch.policy import PolicyState
from overlaywatch.policy_state import to_json

log: Final = logging.getLogger(__name__)

STATE_FILE: Final = "state"


class Memory:
    """The parts that are kept, and the file they are kept in."""

    def __init__(self, folder: Path, boot_id: str, outbox: Outbox) -> None:
        self._boot_id = boot_id
        self._outbox = outbox
        self._saved_changes = 0
        self._file = _open(folder)
        kept = self._file.load() if self._file else {}
        ours = kept if kept.get("boot_id") == boot_id else {}
        self.ledger = Ledger.from_json(ours.get("past"))
        self.owed = Owed()
        self.owed.restore(ours.get("owed"))
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

        What was learned for forecasts comes last: if it does not fit, the rest is written without it.
        """
        self._saved_changes = self._outbox.changes
        if self._file is None:
            raise OSError(errno.ENOENT, "there is no folder for the state; run as root, or set RUNTIME_DIRECTORY")
        state: Mapping[str, object] = {
            "boot_id": self._boot_id,
            "policies": to_json(policy_state),
            "past": self.ledger.as_json(),
            "owed": self.owed.as_json(),
            "alerts": self._outbox.as_json(),
        }
        try:
            self._file.save({**state, "forecasts": forecaster.to_json()})
        except StateTooLargeError:
            self._save_at_least(self._file, state)

    @staticmethod
    def _save_at_least(file: StateFile, state: Mapping[str, object]) -> None:
        try:
            file.save(state)
        except StateTooLargeError as error:
            raise OSError(errno.EFBIG, str(error)) from error

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


def _open(folder: Path) -> StateFile | None:
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        return StateFile(folder / STATE_FILE)
    except OSError as error:
        log.warning("%s: %s; alerts are sent, but nothing is changed on this machine", folder, error.strerror)
        return None
