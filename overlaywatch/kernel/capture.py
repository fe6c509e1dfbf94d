# SPDX-License-Identifier: Apache-2.0
"""From what was recorded of a machine to the files of a capture, with nothing private in them.

This file must not know how it was recorded (recording.py). captured.py says which files there are and reads them; the
same recording always gives the same bytes.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.calls import Value
from overlaywatch.kernel.captured import CALLS, FORMAT, MANIFEST, Manifest
from overlaywatch.kernel.cmdline import parse_cmdline
from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.disguise import HOST, Disguise, disguise_cmdline, disguise_target
from overlaywatch.kernel.dm_captured import ERROR_FILE, format_devices
from overlaywatch.kernel.mountinfo import split_options, unescape
from overlaywatch.kernel.recording import Recording
from overlaywatch.watch import STORES

_LOCAL: Final = STORES | frozenset(
    {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs"}
    | {"fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs"}
    | {"tracefs", "cramfs", "erofs", "fuseblk", "iso9660", "jffs2", "romfs", "squashfs", "ubifs", "udf"}
)
"""File systems of this machine: source and options tell nothing of others. Of the rest neither is kept."""

_PUBLIC: Final = frozenset({"proc/meminfo", "proc/devices"})
"""Files in which there is no name but the kernel's own."""

_PROC: Final = re.compile(r"proc/((self|1)/(mountinfo|cgroup)|meminfo|swaps|cmdline|devices|uptime|filesystems)")
"""Of /proc nothing else is kept: what is asked there may be about addresses and users."""

_TO_ESCAPE: Final = re.compile(r"[ \t\n\\,\"#]")
_NOT_IN_KEYS: Final = re.compile(r"[\x00-\x1f\x7f'\\\ud800-\udfff]")
_FROM: Final = re.compile(r"[:/@]+")
_BRANCHES: Final = "br:"
_DELETED: Final = " (deleted)"


@dataclass(frozen=True, slots=True)
class Capture:
    """A captured machine: the content of files and the targets of symbolic links, both by relative path.

    `folders` are there even if nothing is in them.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    links: Mapping[str, str]
    folders: frozenset[str] = frozenset()


def render_capture(recording: Recording, manifest: Manifest) -> Capture:
    """What was recorded, fit to be shown to strangers. The `host` of this manifest is the real one."""
    disguise = _learn(recording, manifest.host.hostname)
    files = {
        disguise.path(_moved(place, recording.links)): _disguised(place, raw, disguise)
        for place, raw in recording.files.items()
        if not place.startswith("proc/") or _PROC.fullmatch(place)
    }
    files |= {f"dm/{name}": _encode(text) for name, text in _dm(recording.dm, disguise).items()}
    files[CALLS] = _encode(_calls(recording, disguise))
    told = _told(manifest, recording)
    files[MANIFEST] = _encode(format_manifest(told))
    links = {place: _target(place, target) for place, target in recording.links.items()}
    return Capture(
        told, files, links, frozenset(disguise.path(_moved(place, recording.links)) for place in recording.folders)
    )


def _learn(recording: Recording, hostname: str) -> Disguise:
    disguise = Disguise(hostname)
    for device in recording.dm if isinstance(recording.dm, tuple) else ():
        if device.name.startswith("home-"):  # systemd-homed
            disguise.learn_name(device.name)
    for place, raw in recording.files.items():
        _learn_names(place, _decode(raw), disguise)
    for path in sorted(recording.paths):
        disguise.learn(path)
    return disguise


def _learn_names(place: str, text: str, disguise: Disguise) -> None:
    if place.endswith("/mountinfo"):
        _learn_mounts(text, disguise)
    elif place.endswith("/loop/backing_file"):
        disguise.learn_file(text.removesuffix("\n").removesuffix(_DELETED))
    elif place == "proc/swaps":
        for line in text.split("\n")[1:]:
            disguise.learn(unescape(re.split(r"[ \t]", line)[0]))


def _learn_mounts(text: str, disguise: Disguise) -> None:
    for line in text.split("\n"):
        fields = _mount_fields(line)
        if fields is not None:
            before, (fstype, source, options) = fields
            for path in (before[3], before[4]):
                disguise.learn(unescape(path))
            if fstype in _LOCAL:
                disguise.learn(unescape(source))
                for option in split_options(options):
                    for path in _paths(option):
                        disguise.learn(path)
            else:
                disguise.learn_name(unescape(source))
                for name in _FROM.split(unescape(source)):  # autofs has them in the mount point: /net/SERVER/SHARE
                    disguise.learn_name(name)


def _mount_fields(line: str) -> tuple[list[str], list[str]] | None:
    """(fields before the lone hyphen, the three after it); None for a line that is not one of the mount table."""
    before, hyphen, after = line.partition(" - ")
    first, last = before.split(" "), after.split(" ")
    return (first, last) if hyphen and len(first) >= 6 and len(last) == 3 else None


# --- each file ------------------------------------------------------------------------------------------------------


def _disguised(place: str, raw: bytes, disguise: Disguise) -> bytes:
    if place in _PUBLIC:
        return raw
    text = _decode(raw)
    if place.endswith("/mountinfo"):
        return _encode("\n".join(_mount(line, disguise) for line in text.split("\n")))
    if place == "proc/cmdline":
        return _encode(" ".join(map(_quoted, disguise_cmdline(parse_cmdline(text), disguise.text))) + "\n")
    if place == "proc/swaps":
        return _encode("\n".join(_swap(line, disguise) for line in text.split("\n")))
    if place.endswith("/loop/backing_file"):
        name = text.removesuffix("\n")
        path = name.removesuffix(_DELETED)
        return _encode(disguise.path(path) + name[len(path) :] + "\n")
    return _encode(disguise.text(text))


def _mount(line: str, disguise: Disguise) -> str:
    fields = _mount_fields(line)
    if fields is None:
        return disguise.text(line)
    before, (fstype, source, options) = fields
    before[3:5] = (_respelled(path, disguise.path) for path in before[3:5])
    if fstype in _LOCAL:
        source = _respelled(source, disguise.path)
        options = ",".join(_respelled(option, lambda one: _option(one, disguise)) for option in _split(options))
    else:
        source = _respelled(source, disguise.name)
        options = ",".join(option for option in options.split(",") if option in {"ro", "rw"}) or "rw"
    return " ".join(before) + " - " + " ".join((fstype, source, options))


def _split(options: str) -> list[str]:
    """Options as they are spelled; one in quotes stays in one piece."""
    return [options] if '"' in options else options.split(",")


def _option(option: str, disguise: Disguise) -> str:
    if option.startswith(_BRANCHES):
        return disguise.text(option)
    name, equals, _ = option.partition("=")
    return name + equals + ":".join(map(disguise.path, _paths(option)))


def _paths(option: str) -> list[str]:
    """`lowerdir=` and the branches of AUFS are lists of paths; in others a colon belongs to the path."""
    name, _, value = option.partition("=")
    if option.startswith(_BRANCHES):
        return re.split(r"=[a-z+_]+:|=[a-z+_]+$", option.removeprefix(_BRANCHES))
    return value.split(":") if name.startswith("lowerdir") else [value]


def _swap(line: str, disguise: Disguise) -> str:
    name = re.split(r"[ \t]", line)[0]
    return _respelled(name, disguise.path) + line[len(name) :]


def _respelled(spelled: str, change: Callable[[str], str]) -> str:
    """Text in the kernel's spelling, changed; as it was if nothing is to be changed."""
    plain = unescape(spelled)
    changed = change(plain)
    return spelled if changed == plain else _TO_ESCAPE.sub(lambda match: f"\\{ord(match[0]):03o}", changed)


def _quoted(word: str) -> str:
    return f'"{word}"' if any(map(str.isspace, word)) else word


def _moved(place: str, links: Mapping[str, str]) -> str:
    """What was read through a link to a device's folder (sys/dev/block/7:2) is written there, once."""
    parts = place.split("/")
    link = "/".join(parts[:4])
    if link not in links or len(parts) < 5:
        return place
    return "/".join(("sys/block", links[link].rpartition("/")[2], *parts[4:]))


def _target(place: str, target: str) -> str:
    """Devices are in sys/block, wherever the bus has them."""
    return f"../../block/{target.rpartition('/')[2]}" if place.startswith("sys/dev/block/") else target


# --- device-mapper, system calls, manifest --------------------------------------------------------------------------


def _dm(dm: tuple[DmDevice, ...] | str | None, disguise: Disguise) -> Mapping[str, str]:
    if dm is None:
        return {}
    if isinstance(dm, str):
        return {ERROR_FILE: dm + "\n"}
    return format_devices(_dm_device(device, disguise) for device in dm)


def _dm_device(device: DmDevice, disguise: Disguise) -> DmDevice:
    """Of the UUID only who made the device is kept (`LVM-`, `CRYPT-`)."""
    maker, hyphen, _ = device.uuid.partition("-")
    return replace(
        device,
        name=disguise.name(device.name),
        uuid=maker + hyphen if hyphen else "",
        table=tuple(map(disguise_target, device.table)),
        status=tuple(map(disguise_target, device.status)),
    )


def _calls(recording: Recording, disguise: Disguise) -> str:
    sections = []
    for call in sorted(recording.calls):
        answers = recording.calls[call]
        named = {disguise.path(key) if key in recording.paths else key: answer for key, answer in answers.items()}
        lines = [f"{_key(key)} = {_inline(named[key])}\n" for key in sorted(named)]
        sections.append(f"[{call}]\n" + "".join(lines))
    return "\n".join(sections)


def _inline(answer: Mapping[str, Value]) -> str:
    return "{ " + ", ".join(f"{name} = {_value(value)}" for name, value in answer.items()) + " }"


def _key(key: str) -> str:
    """A literal string of TOML; what may not stand in one, as the mount table spells it (`\\040`)."""
    return "'" + _NOT_IN_KEYS.sub(lambda match: _octal(match[0]), key) + "'"


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _value(value: Value | float) -> str:
    if isinstance(value, str):
        return json.dumps(value.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False).replace(
            "\x7f", "\\u007f"
        )
    return str(value).lower()


def format_manifest(manifest: Manifest) -> str:
    """The text that parse_manifest() reads."""
    host = manifest.host
    entries: dict[str, Value | float | Iterable[str] | None] = {
        "format": FORMAT,
        "captured_at": manifest.captured_at,
        "overlaywatch": manifest.overlaywatch,
        "python": manifest.python,
        "origin": manifest.origin,
        "hostname": host.hostname,
        "kernel": host.kernel,
        "boot_id": host.boot_id,
        "privileged": host.privileged,
        "notes": host.notes,
        "missing": manifest.missing,
    }
    return "".join(f"{name} = {_entry(value)}\n" for name, value in entries.items() if value is not None)


def _entry(value: Value | float | Iterable[str]) -> str:
    if isinstance(value, str | int | float):
        return _value(value)
    return "[" + ", ".join(map(_value, value)) + "]"


def _told(manifest: Manifest, recording: Recording) -> Manifest:
    host = replace(manifest.host, hostname=HOST, boot_id="")
    return replace(manifest, host=host, missing=tuple(_missing(recording)))


def _missing(recording: Recording) -> Iterable[str]:
    if isinstance(recording.dm, str):
        yield f"device-mapper: {recording.dm}"
    for call, answers in sorted(recording.calls.items()):
        refused = sum(answer.get("error") in {"EACCES", "EPERM"} for answer in answers.values())
        if refused:
            yield f"{call}: permission denied for {refused} of {len(answers)}"
    folders = {"/".join(place.split("/")[:3]) for place in recording.refused}
    yield from (f"{folder}: permission denied" for folder in sorted(folders))


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
