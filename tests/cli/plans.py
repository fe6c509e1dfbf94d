# SPDX-License-Identifier: Apache-2.0
"""Plans as actions make them, for the screens of `plan`."""

from overlaywatch.model import NO_FORECAST, Decision, Tick
from overlaywatch.policy import Policy, Stage
from overlaywatch.ports import Plan
from overlaywatch.units import MIB

POLICIES = (Policy("root", (Stage("purge", ("free-caches", "reboot"), headroom_below=128 * MIB),), "/"),)


def some(tick: Tick) -> tuple[Plan, ...]:
    """A purge that would act, a reboot that would not, and an alert of another stage."""
    purge = _decision(tick, "purge", "free-caches", "9.8 MiB of headroom is less than 128.0 MiB")
    reboot = _decision(tick, "purge", "reboot", "9.8 MiB of headroom is less than 128.0 MiB")
    page = _decision(tick, "warn", "page", "84.6% used is more than 80.0%")
    return (
        Plan(
            "free-caches",
            "purge",
            purge,
            steps=(
                "delete /var/cache/apt/archives/linux-image-6.12.57-amd64_6.12.57-1_amd64.deb (98.2 MiB)",
                "delete /var/tmp/upload.part (12.0 MiB)",
            ),
            needs_bytes=246 * MIB,
        ),
        Plan("reboot", "reboot", reboot, refusal="up for 12 min, which is less than min_uptime (30 min)"),
        Plan("page", "alertmanager", page, steps=("POST http://alertmanager:9093/api/v2/alerts",)),
    )


def _decision(tick: Tick, stage: str, action: str, reason: str) -> Decision:
    return Decision("root", stage, "/", action, reason, tick.now, tick.verdicts[0], NO_FORECAST)
