# SPDX-License-Identifier: Apache-2.0
"""A notification to deliver, from the frame in which it came, and what is known of each delivery.

This file must not know how it is sent. Times are Unix seconds, except `since` and `next_at`, which
are monotonic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from overlaywatch.pipe import Delivered, FrameError

ALERTMANAGER: Final = "alertmanager"
WEBHOOK: Final = "webhook"
APPLIED: Final = "applied"
FAILED: Final = "failed"

_DEFAULT_TIMEOUT: Final = 10.0
_LONGEST_TIMEOUT: Final = 60.0
_LONGEST_PAUSE: Final = 60.0
_MAX_URLS: Final = 32
_LAST_SECOND: Final = 253402300799 - 3600  # 9999-12-31, and an alert may end some minutes later


@dataclass(frozen=True, slots=True)
class Target:
    """Where a POST goes."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """What of the URL can be shown: paths and queries of webhooks are often secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def parse_target(url: str) -> Target:
    """The target of an http or https URL. Raises ValueError."""
    if any(each <= " " for each in url):  # urlsplit() would drop some of them: of `h:9<newline>9` it makes port 99
        raise ValueError("the URL has characters that must be percent-encoded")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http or https URL")
    tls = parts.scheme == "https"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise ValueError("the path of the URL has characters that must be percent-encoded")
    port = (443 if tls else 80) if parts.port is None else parts.port
    return Target(tls, parts.hostname, port, path)


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification: that something fires, or is over."""

    id: str
    receiver: str
    kind: str
    urls: tuple[str, ...]
    timeout: float
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    body: Mapping[str, object]

    @property
    def key(self) -> tuple[str, str]:
        """What a later notice about the same thing has in common with it."""
        return self.receiver, self.id


def parse_notice(frame: Mapping[str, object]) -> Notice:
    """The notice of a frame of type `notify`. Raises FrameError."""
    try:
        config = _mapping(frame["config"])
        notice = Notice(
            id=str(frame["id"]),
            receiver=str(frame["receiver"]),
            kind=str(frame["kind"]),
            urls=_urls(config),
            timeout=min(max(_number(config.get("timeout", _DEFAULT_TIMEOUT)), 0.1), _LONGEST_TIMEOUT),
            firing=bool(frame["firing"]),
            labels=_texts(frame["labels"]),
            annotations=_texts(frame["annotations"]),
            starts_at=_time(frame["starts_at"]),
            ends_at=None if frame["ends_at"] is None else _time(frame["ends_at"]),
            body=_mapping(frame["body"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a notification that cannot be read: {type(error).__name__}: {error}") from error
    if notice.kind not in (ALERTMANAGER, WEBHOOK) or not notice.urls:
        raise FrameError(f"a notification of kind {notice.kind!r} for {len(notice.urls)} URLs")
    return notice


def _urls(config: Mapping[str, object]) -> tuple[str, ...]:
    urls = config.get("urls", [config.get("url")])
    if not isinstance(urls, list):
        raise TypeError("urls is not a list")
    return tuple(dict.fromkeys(str(url) for url in urls if url))[:_MAX_URLS]


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in _mapping(value).items()}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    if not abs(value) <= _LAST_SECOND:
        raise ValueError("not a number that can be used")
    return float(value)


def _time(value: object) -> float:
    """Unix seconds that a calendar has."""
    seconds = _number(value)
    if not 0 <= seconds <= _LAST_SECOND:
        raise ValueError("a time that no calendar has")
    return seconds


# --- one delivery ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request to make, and the entries that it is about."""

    target: Target
    body: bytes
    timeout: float
    entries: "tuple[Entry, ...]"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: a status (None: none came) and, unless it is a good one, what went wrong."""

    status: int | None
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether it was taken."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def hopeless(self) -> bool:
        """Whether the same request would be refused again (RFC 9110 15.5); 408, 425 and 429 ask for patience."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in (408, 425, 429)


@dataclass(slots=True, eq=False)
class Entry:
    """A notice on its way to one URL. `told` is the outcome that the engine was last told."""

    notice: Notice
    since: float
    next_at: float
    failures: int = 0
    told: str = ""

    def report(self, target: str, outcome: str, error: str = "", *, final: bool = False) -> list[Delivered]:
        """A report if it is news: the first outcome, and each change of it."""
        if outcome == self.told and not final:
            return []
        self.told = outcome
        one = self.notice
        return [Delivered(one.id, one.receiver, one.firing, target, outcome, error, final)]


def pause_after(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … 60, of which a random part up to a half less."""
    return min(2.0 ** (failures - 1), _LONGEST_PAUSE) * (1 - random() / 2)
