# SPDX-License-Identifier: Apache-2.0
"""A machine that is written down by hand: a Fedora live system in a few lines."""

from pathlib import Path

MOUNTS = """\
60 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/live-rw rw
61 60 0:20 / /run rw,nosuid shared:2 - tmpfs tmpfs rw,size=401324k
62 60 0:31 / /home/alice/shared rw - cifs //nas.example.org/alice rw,username=alice,password=geheim
63 61 8:1 / /run/media/alice/STICK rw - vfat /dev/sda1 rw
"""
CALLS = """\
[loop]
'loop2' = { device = "0:2", inode = 1061 }
[statvfs]
'/' = { block_size = 4096, blocks = 377442, blocks_free = 180000, blocks_available = 175904, files = 96000, files_free = 50000 }
'/run' = { block_size = 4096, blocks = 100331, blocks_free = 100000, blocks_available = 100000, files = 819200, files_free = 819000 }
'/run/media/alice/STICK' = { block_size = 4096, blocks = 1000, blocks_free = 10, blocks_available = 10, files = 0, files_free = 0 }
"""  # noqa: E501
MEMORY = """\
MemTotal:         996368 kB
MemFree:          700000 kB
MemAvailable:     705000 kB
Dirty:                 8 kB
Writeback:             0 kB
SwapTotal:             0 kB
SwapFree:              0 kB
"""
LOOP = {
    "size": "131072",
    "ro": "0",
    "dev": "7:2",
    "loop/backing_file": "/overlay (deleted)",
    "loop/offset": "0",
    "loop/sizelimit": "0",
    "loop/autoclear": "0",
}
FILES = {
    "manifest.toml": 'format = 1\ncaptured_at = 1700000000\nkernel = "6.1.0"\n',
    "calls.toml": CALLS,
    "proc/1/mountinfo": MOUNTS,
    "proc/meminfo": MEMORY,
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/cmdline": "root=live:LABEL=LIVE rd.live.image password=geheim rd.luks.key=/k ip=10.0.0.2::10.0.0.1\n",
    "dm/info": "live-rw//254//0////L--w//1//0\n",
    "dm/table": "live-rw: 0 3072000 snapshot 7:1 7:2 PO 8\n",
    "dm/status": "live-rw: 0 3072000 snapshot 2448/131072 24\n",
    "sys/block/dm-0/size": "3072000\n",
    "sys/block/sda1/size": "8000\n",
    **{f"sys/block/loop2/{name}": f"{text}\n" for name, text in LOOP.items()},
}
LINKS = {
    "sys/dev/block/254:0": "../../block/dm-0",
    "sys/dev/block/7:2": "../../block/loop2",
    "sys/dev/block/8:1": "../../block/sda1",
}


def write(folder: Path) -> Path:
    """Write it into a folder."""
    for place, text in FILES.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for place, target in LINKS.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return folder
