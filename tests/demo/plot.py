# SPDX-License-Identifier: Apache-2.0
"""What is going to happen: a mount point, the policy that guards it, and the same policy in English.

It must not know what the mount point lies on, nor how anything is shown. The policy is the example of
docs/configuration.md in a hurry: seconds in place of hours.
"""

from dataclasses import dataclass
from pathlib import Path

PACKAGES = 8
"""Files of 1 MiB that may be deleted."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A mount point to be filled. Where `reboots` is false the last resort is only shown, never taken."""

    mount_point: str
    reboots: bool

    @property
    def cache(self) -> Path:
        """Files that a policy may purge."""
        return Path(self.mount_point) / "var/cache/demo"

    @property
    def log(self) -> Path:
        """The file that grows and grows."""
        return Path(self.mount_point) / "var/log/runaway.log"

    def config(self, webhook: int, *, purged: bool = False) -> str:
        """What the daemon is told at first, and again, where it must not reboot, once it has `purged`.

        The action `reboot` comes into the configuration together with dry-run, never before: no mistake of
        the daemon can restart a machine on which this is only a demonstration.
        """
        last = self.reboots or purged
        return f"""
[daemon]
actions = "{"on" if self.reboots or not purged else "dry-run"}"
[watch]
include = ["{self.mount_point}"]
[action.page]
type = "webhook"
url = "http://127.0.0.1:{webhook}/"
[action.clean]
type = "purge"
paths = ["{self.cache}/*.deb"]
older_than = "1s"
until_headroom = "1GiB"
[[policy]]
name = "root"
mount_point = "{self.mount_point}"
[[policy.stage]]
name = "warn"
used_above = "50%"
actions = ["page"]
[[policy.stage]]
name = "purge"
used_above = "60%"
actions = ["clean"]
{_LAST_RESORT if last else ""}"""

    def in_english(self) -> str:
        """The policy, read back."""
        last = "the machine is rebooted" if self.reboots else "a reboot is called for, and here only shown"
        return (
            f"The policy for {self.mount_point}: above 50% use somebody is paged (a webhook); above 60% old packages in"
            f" {self.cache} are deleted; above 75%, or when the kernel has given the overlay up, {last}."
        )


_LAST_RESORT = """
[action.reboot]
type = "reboot"
grace = "2s"
min_uptime = "1s"
[[policy.stage]]
name = "last-resort"
used_above = "75%"
state_is = ["overflow", "invalid"]
actions = ["page", "reboot"]
"""
