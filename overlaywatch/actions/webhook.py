# SPDX-License-Identifier: Apache-2.0
"""The action `webhook`: one JSON document posted when a stage becomes true, one when it is over.

This file must not know how it is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from overlaywatch.actions import notification
from overlaywatch.actions.tell import Teller
from overlaywatch.config.table import Table
from overlaywatch.ports import ActionContext


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """`[action.NAME]` with `type = "webhook"`. `timeout` in seconds, for each attempt."""

    url: str
    labels: Mapping[str, str]
    timeout: float

    @classmethod
    def from_table(cls, table: Table) -> "WebhookSettings":
        """Read and check all keys. Raises ConfigErrors."""
        settings = cls(
            url=table.string("url", expected="expected a URL"),
            labels=table.string_table("labels", default={}),
            timeout=table.duration("timeout", default=10.0, minimum=1.0, maximum=60.0),
        )
        notification.checked_url(table, "url", settings.url)
        notification.checked_names(table, "labels", settings.labels, notification.RESERVED_LABELS)
        table.finish()
        return settings


@dataclass(frozen=True, slots=True)
class WebhookAction(Teller):
    """Each firing is a document of its own, with an id of its own."""

    type: ClassVar[str] = "webhook"
    one_per_firing: ClassVar[bool] = True

    @classmethod
    def from_table(cls, table: Table, context: ActionContext) -> "WebhookAction":
        """The action of `[action.NAME]`. Raises ConfigErrors."""
        settings = WebhookSettings.from_table(table)
        sender = notification.Sender(
            receiver=context.name,
            kind=cls.type,
            hostname=context.hostname,
            targets=(notification.origin(settings.url),),
            config={"url": settings.url, "timeout": settings.timeout},
            labels=settings.labels,
            annotations={},
        )
        return cls(sender, context.send, context.unix_time)
