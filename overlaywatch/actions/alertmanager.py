# SPDX-License-Identifier: Apache-2.0
"""The action `alertmanager`: an alert for every Alertmanager of a cluster (API v2).

This file must not know how it is sent. The frontend posts it to each URL, again and again while it fires.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from overlaywatch.actions import notification
from overlaywatch.actions.tell import Teller
from overlaywatch.config.table import Table
from overlaywatch.ports import ActionContext


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """`[action.NAME]` with `type = "alertmanager"`. `urls` are base URLs, without `/api/v2`; seconds."""

    urls: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    timeout: float

    @classmethod
    def from_table(cls, table: Table) -> "AlertmanagerSettings":
        """Read and check all keys. Raises ConfigErrors."""
        settings = cls(
            urls=table.strings("urls", at_least=1, expected="expected a list of URLs"),
            labels=table.string_table("labels", default={}),
            annotations=table.string_table("annotations", default={}),
            timeout=table.duration("timeout", default=10.0, minimum=1.0, maximum=60.0),
        )
        for index, url in enumerate(settings.urls):
            notification.checked_url(table, "urls", url, f"[{index}]")
        notification.checked_names(table, "labels", settings.labels, notification.RESERVED_LABELS)
        notification.checked_names(table, "annotations", settings.annotations)
        table.finish()
        return settings


@dataclass(frozen=True, slots=True)
class AlertmanagerAction(Teller):
    """Fires one alert for each stage and mount point; firing again renews it."""

    type: ClassVar[str] = "alertmanager"
    one_per_firing: ClassVar[bool] = False

    @classmethod
    def from_table(cls, table: Table, context: ActionContext) -> "AlertmanagerAction":
        """The action of `[action.NAME]`. Raises ConfigErrors."""
        settings = AlertmanagerSettings.from_table(table)
        sender = notification.Sender(
            receiver=context.name,
            kind=cls.type,
            hostname=context.hostname,
            targets=tuple(map(notification.origin, settings.urls)),
            config={"urls": list(settings.urls), "timeout": settings.timeout},
            labels=settings.labels,
            annotations=settings.annotations,
        )
        return cls(sender, context.send, context.unix_time)
