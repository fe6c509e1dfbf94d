# SPDX-License-Identifier: Apache-2.0
"""Every parser of text that is not ours: of the kernel, of programs, of the network, of files. One line adds one.

A line gives a name, the parser, how bytes become a call of it (feeds.py), what must hold of what it accepts
(oracles.py), and the only error that it may raise. Real texts are in `corpus/NAME/`, one in each file, or in each line
of `corpus/NAME.txt` or `corpus/NAME.hex`; `texts` is the NAME if another parser has them already. A test finds parsers
that are not here. Of all results but those with `any_numbers` every number must be one that can be, and every text one
that can be said (oracles.sane).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from overlaywatch import pipe, policy_state, units
from overlaywatch.actions.globs import PatternError, parse_pattern
from overlaywatch.cli.pausefile import parse_pause
from overlaywatch.config.bootwords import parse_boot_words
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.parse import parse_fragment
from overlaywatch.engine import errand, pause
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.outbox import Outbox
from overlaywatch.engine.owed import Owed
from overlaywatch.engine.state_file import parse_slot
from overlaywatch.engine.systemd import watchdog_seconds
from overlaywatch.forecast import Forecaster
from overlaywatch.frontend import http_request, listen, notice, post
from overlaywatch.history import History
from overlaywatch.kernel import (
    aufs,
    blockdev,
    btrfs,
    calls,
    captured,
    cgroup,
    cmdline,
    dm_dmsetup,
    dm_target,
    dm_wire,
    exception_store,
    fsmap,
    loop,
    meminfo,
    mountinfo,
    ram_disk,
    shutdown,
    super_blocks,
)
from overlaywatch.kernel.beneath import parse_mount_id
from overlaywatch.kernel.dm_open import has_device_mapper
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.openfiles import mapped_paths
from overlaywatch.kernel.process import parse_stat
from overlaywatch.kernel.statfs import parse_statvfs
from overlaywatch.kernel.uevent import parse_uevent
from overlaywatch.policy import PolicyState
from overlaywatch.trace import TraceError, parse_trace
from tests.fuzz import feeds, oracles
from tests.fuzz.feeds import Feed, NotForThisParser
from tests.fuzz.oracles import Oracle, again, anything, both, in_text
from tests.kernel import printed

HERE: Final = Path(__file__).parent
_SECTOR: Final = 512
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Parser:
    """One line of the table."""

    name: str
    function: Callable[..., Any]
    feed: Feed = feeds.text
    oracle: Oracle = anything
    error: type[Exception] | tuple[type[Exception], ...] = KernelTextError
    texts: str = ""
    any_numbers: bool = False

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """What may be raised: that the input is no good."""
        errors = self.error if isinstance(self.error, tuple) else (self.error,)
        return *errors, NotForThisParser

    def parse(self, data: bytes) -> Any:
        """What the parser makes of the bytes. Raises one of `refusals`."""
        return self.feed(self.function, data)

    def corpus(self) -> tuple[bytes, ...]:
        """Real texts."""
        place = HERE / "corpus" / (self.texts or self.name)
        if place.is_dir():
            return tuple(file.read_bytes() for file in sorted(place.iterdir()))
        if (lines := place.with_name(f"{place.name}.txt")).exists():
            return tuple(lines.read_bytes().removesuffix(b"\n").split(b"\n"))
        return tuple(map(bytes.fromhex, place.with_name(f"{place.name}.hex").read_text().split()))


def _mountinfo(table: tuple[mountinfo.MountInfo, ...]) -> str:
    return "".join(map(printed.line_of, table))


def _swaps(swaps: tuple[meminfo.Swap, ...]) -> str:
    return printed.SWAPS_HEADING + "".join(map(printed.swap_line, swaps))


def _infos(devices: tuple[Any, ...]) -> str:
    return "".join(map(printed.info_line, devices))


def _loop(one: loop.LoopDevice) -> bytes:
    return feeds.joined_attributes(printed.loop_attributes(one))


def _policy_state(state: PolicyState) -> str:
    return json.dumps(policy_state.to_json(state))


def _targets(devices: dict[str, Any]) -> str:
    return printed.dmsetup_lines(devices)


def _report(report: pipe.Report) -> bytes:
    return pipe.encode_report(report)[4:]


# fmt: off
PARSERS: Final[tuple[Parser, ...]] = (
    # the kernel's text
    Parser("mountinfo", mountinfo.parse_mountinfo, oracle=both(in_text(), again(_mountinfo))),
    Parser("options", mountinfo.split_options, oracle=again(printed.options_of)),
    Parser("unescape", mountinfo.unescape, oracle=again(printed.escaped)),
    Parser("meminfo", meminfo.parse_meminfo, oracle=both(in_text(_KIB), again(printed.meminfo_of))),
    Parser("swaps", meminfo.parse_swaps, oracle=oracles.swaps_in_text, any_numbers=True),
    Parser("cmdline", cmdline.parse_cmdline, oracle=again(lambda words: " ".join(f'"{word}"' for word in words))),
    Parser("snapshot-table", dm_target.parse_snapshot_table, oracle=both(in_text(), again(printed.snapshot_table))),
    Parser("snapshot-status", dm_target.parse_snapshot_status, oracle=both(in_text(), again(lambda one: one.word))),
    Parser("linear-table", dm_target.parse_linear_table, oracle=both(in_text(), again(printed.linear_table))),
    Parser("thin-pool-table", dm_target.parse_thin_pool_table, oracle=both(in_text(), again(printed.thin_pool_table))),
    Parser("thin-pool-status", dm_target.parse_thin_pool_status, oracle=both(in_text(), again(lambda one: one.word))),
    Parser("thin-table", dm_target.parse_thin_table, oracle=both(in_text(), again(printed.thin_table))),
    Parser("thin-status", dm_target.parse_thin_status, oracle=both(in_text(), again(lambda one: one.word))),
    Parser("table-devices", dm_target.parse_devices, oracle=in_text(), texts="snapshot-table"),
    Parser("bdi-stats", blockdev.parse_bdi_stats, feeds.raw, oracles.pending_sum),
    Parser("count", blockdev.parse_count, feeds.placed, both(in_text(), again(str))),
    Parser("loop", loop.parse_loop, feeds.loop_attributes, both(in_text(1, _SECTOR), again(_loop))),
    Parser("maps", mapped_paths, feeds.listed),
    Parser("fdinfo", parse_mount_id, oracle=in_text()),
    Parser("cgroup-limit", cgroup.parse_limit, feeds.raw, in_text()),
    Parser("cgroup-stat", cgroup.parse_stat, oracle=in_text()),
    Parser("zram", ram_disk.parse_mm_stat, feeds.zram, in_text()),
    Parser("f2fs-status", shutdown.parse_f2fs_status, feeds.raw),
    Parser("process-stat", parse_stat, oracle=in_text()),
    Parser("devices", has_device_mapper),
    Parser("uevent", parse_uevent, feeds.raw, in_text()),
    Parser("aufs-branch", aufs.parse_branch),
    Parser("aufs-options", aufs.parse_options, feeds.words),
    Parser("aufs-si", aufs.parse_si, feeds.words, texts="aufs-options"),
    Parser("btrfs-errors", btrfs.parse_error_stats, oracle=oracles.sum_of_all),
    Parser("nfs-volumes", super_blocks.parse_nfs_volumes, oracle=in_text()),
    Parser("device-number", super_blocks.parse_number, oracle=in_text()),
    # answers of system calls and ioctls, and what lies on disks
    Parser("btrfs-info", btrfs.parse_fs_info, feeds.raw),
    Parser("fsmap", fsmap.parse_answer, feeds.raw),
    Parser("store-header", exception_store.parse_header, feeds.raw),
    Parser("store-area", exception_store.parse_area, feeds.bytes_listed),
    Parser("statvfs", parse_statvfs, feeds.statvfs),
    Parser("dm-answer", dm_wire.parse_answer, feeds.raw),
    Parser("dm-list", dm_wire.parse_device_list, feeds.raw, oracles.device_numbers),
    Parser("dm-targets", dm_wire.parse_targets, feeds.dm_targets, oracles.dm_targets),
    Parser("loop-status", loop.parse_loop_status64, feeds.raw),
    # programs
    Parser("dmsetup-info", dm_dmsetup.parse_info, oracle=both(in_text(), again(_infos))),
    Parser("dmsetup-targets", dm_dmsetup.parse_targets, feeds.dmsetup_lines, both(in_text(), again(_targets))),
    # who boots, configures and starts it
    Parser("boot-words", parse_boot_words, feeds.words),
    Parser("toml", parse_fragment, feeds.configuration, error=ConfigErrors),
    Parser("size", units.parse_size, oracle=oracles.SIZE, error=units.UnitError, any_numbers=True),
    Parser("ratio", units.parse_ratio, oracle=oracles.RATIO, error=units.UnitError),
    Parser("duration", units.parse_duration, oracle=oracles.DURATION, error=units.UnitError, any_numbers=True),
    Parser("pattern", parse_pattern, oracle=oracles.matching_is_quick, error=PatternError),
    Parser("address", listen.parse_address, oracle=both(in_text(), again(str)), error=listen.AddressError),
    Parser("addresses", listen.parse_addresses, feeds.words, error=listen.AddressError, texts="address"),
    Parser("watchdog", watchdog_seconds, feeds.watchdog, oracles.within(1e-6, 1e14)),
    # captured machines and traces
    Parser("trace", parse_trace, oracle=in_text(), error=TraceError),
    Parser("manifest", captured.parse_manifest, feeds.manifest, error=captured.CaptureError),
    Parser("captured-answer", calls.decode, feeds.captured_answer, error=(OSError, ValueError)),
    # the network
    Parser("http-head", http_request.parse_head, feeds.head, error=http_request.BadRequest),
    Parser("http-head-end", http_request.end_of_head, feeds.buffer, error=http_request.BadRequest, texts="http-head"),
    Parser("accept-encoding", http_request.prefers_gzip, feeds.accept_encoding),
    Parser("http-answer", post.read_answer, feeds.http_answer),
    Parser("url", notice.parse_target, oracle=oracles.a_good_target, error=ValueError),
    # the pipe between engine and frontend, and between engine and child
    Parser("stream", pipe.Decoder.feed, feeds.chunks, oracles.frames_in_order, pipe.FrameError),
    Parser("frame", pipe.parse, feeds.raw, again(json.dumps), pipe.FrameError, any_numbers=True),
    Parser("report", pipe.parse_report, feeds.raw, again(_report), pipe.FrameError),
    Parser("notice", notice.parse_notice, feeds.of_object, oracles.a_good_notice, pipe.FrameError, any_numbers=True),
    Parser("errand", errand.decode, feeds.of_errand),
    # files of its own, that others may write
    Parser("state-slot", parse_slot, feeds.raw, any_numbers=True),
    Parser("state-body", parse_slot, feeds.slot_body, any_numbers=True),
    Parser("policy-state", policy_state.from_json, feeds.of_json_now, again(_policy_state)),
    Parser("ledger", Ledger.from_json, feeds.ledger, again(json.dumps)),
    Parser("owed", Owed.restore, feeds.restored_now(Owed), again(json.dumps)),
    Parser("outbox", Outbox.restore, feeds.restored(Outbox), again(json.dumps)),
    Parser("forecasts", Forecaster.from_json, feeds.forecaster, again(json.dumps)),
    Parser("history", History.from_json, feeds.history),
    Parser("pause", parse_pause),
    Parser("pause-expired", pause.expired, feeds.text_now, texts="pause"),
)
# fmt: on
