# SPDX-License-Identifier: Apache-2.0
"""Private names are replaced, the same name by the same word, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.devmapper import DmTarget
from overlaywatch.kernel.disguise import COMMON, Disguise, disguise_cmdline, disguise_target

WORDS = st.sampled_from(
    ["home", "media", "mnt", "run", "user", "root", "alice", "bob", "live", "overlay", "private1", "x"]
)
PATHS = st.lists(WORDS, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def taught(*paths: str, host: str = "node7") -> Disguise:
    """Who knows these paths."""
    disguise = Disguise(host)
    for path in paths:
        disguise.learn(path)
    return disguise


@pytest.mark.parametrize(
    "path",
    ["/", "/run", "/run/live/overlay", "/media/root-rw/overlay", "/mnt/live/memory", "/home", "/var/lib/overlays/etc",
     "/run/archiso/cowspace/persistent_ARCH/x86_64", "/home/user", "/home/liveuser", "/LiveOS/rootfs.img", "upper"],
)  # fmt: skip
def test_what_live_systems_are_made_of_stays(path: str) -> None:
    """It is public, and the machine is recognised by it."""
    assert taught(path).path(path) == path


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/home/alice", "/home/private1"),
        ("/home/alice/Pictures", "/home/private1/private2"),
        ("/media/alice/STICK", "/media/private1/private2"),
        ("/run/media/alice/STICK", "/run/media/private1/private2"),
        ("/run/user/1000/doc", "/run/user/private1/private2"),
        ("/mnt/customers", "/mnt/private1"),
        ("/root/vault", "/root/private1"),
        ("/dev/disk/by-label/ALICE", "/dev/disk/by-label/private1"),
        ("/@home/alice", "/@home/private1"),
        ("/media/root-rw/overlay/home/alice", "/media/root-rw/overlay/home/private1"),
    ],
)
def test_what_is_somebodys_is_replaced(path: str, seen: str) -> None:
    """By words that count."""
    assert taught(path).path(path) == seen


def test_a_private_name_is_private_everywhere() -> None:
    """A path of the initramfs that ends in it, too."""
    assert taught("/home/alice/x").path("/live/alice") == "/live/private1"


def test_files_behind_loops() -> None:
    """Those of live systems are known; of others the end of the name stays."""
    disguise = Disguise("")
    files = ("/LiveOS/overlay-LIVE-0A1B", "/run/archiso/airootfs.sfs", "/srv/alice-and-bob.img")
    for path in files:
        disguise.learn_file(path)
    assert [disguise.path(path) for path in files] == [*files[:2], "/srv/private1.img"]


@given(st.lists(PATHS, min_size=1))
def test_paths_fit_together_as_before(paths: list[str]) -> None:
    """Equal if they were equal, below one another if they were; nothing private is left; once more changes nothing."""
    disguise = taught(*paths)
    seen = [disguise.path(path) for path in paths]
    for one, its in zip(paths, seen, strict=True):
        for other, others in zip(paths, seen, strict=True):
            assert (one == other) == (its == others)
            assert f"{one}/".startswith(f"{other}/") == f"{its}/".startswith(f"{others}/")
    private = {part for path in paths if path.startswith("/home/") for part in path.split("/")[2:]} - COMMON
    assert not {part for path in seen for part in path.split("/")} & {part for part in private if part != "private1"}
    assert [taught(*seen).path(path) for path in seen] == seen


@pytest.mark.parametrize(
    ("host", "text", "seen"),
    [
        ("node7", "root=/dev/mapper/node7-root", "root=/dev/mapper/host-root"),
        ("desk-3.example.org", "desk--3--vg-root desk-3 desk-3.example.org", "host--vg-root host host"),
        ("node7", "node77 mynode7", "node77 mynode7"),
        ("live", "/run/live", "/run/live"),
        ("", "a", "a"),
    ],
)
def test_the_host_has_no_name(host: str, text: str, seen: str) -> None:
    """Nor in names that installers make of it; a name that everybody has tells nothing."""
    assert Disguise(host).text(text) == seen


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("root=live:LABEL=LIVE", "root=live:LABEL=LIVE"),
        ("rd.live.overlay.size=64", "rd.live.overlay.size=64"),
        ("overlayroot=tmpfs", "overlayroot=tmpfs"),
        ("quiet", "quiet"),
        ("overlayroot=crypt:dev=/dev/sdb,pass=secret", "overlayroot=crypt:removed"),
        ("root=live:https://user:word@boot.example.org/x", "root=live:removed"),
        ("root=nfs:10.0.0.1:/srv?token=1", "root=nfs:removed"),
        ("root=live:nfs:srv.example.org:/live.img", "root=live:nfs:removed"),
        ("root=srv:/export", "root=removed"),
        ("root=192.168.7.1:/export", "root=removed"),
        ("root=nbd:[fe80::7]:live", "root=nbd:removed"),
        ("root=iscsi:target::3260::iqn.2009-06.example", "root=iscsi:removed"),
        ("archiso_nfs_srv=10.0.0.1:/srv/arch", "archiso_nfs_srv=removed"),
        ("archiso_nbd_srv=tank", "archiso_nbd_srv=removed"),
        ("kiwiserver=tank", "kiwiserver=removed"),
        ("root=live:/dev/sr0", "root=live:/dev/sr0"),
        ("root=live:CDLABEL=F-1.2.3", "root=live:CDLABEL=F-1.2.3"),
        ("rd.live.overlay=/dev/sda1:/overlay", "rd.live.overlay=/dev/sda1:/overlay"),
        ("rd.live.overlay=LABEL=RW:/overlay", "rd.live.overlay=LABEL=RW:/overlay"),
        ("root=overlay:UUID=12-34", "root=overlay:UUID=12-34"),
        ("password=x", None),
        ("rd.luks.key=/k", None),
        ("rd.luks.uuid=1", None),
        ("ip=10.0.0.2::10.0.0.1", None),
        ("anything.else=x", None),
        ("ds=nocloud;s=http://10.0.0.1/", None),
    ],
)
def test_words_of_the_command_line(word: str, seen: str | None) -> None:
    """Those that say how the machine was booted stay, without secrets and addresses; all others go."""
    assert disguise_cmdline([word], str) == ((seen,) if seen is not None else ())


KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("target", "params", "seen"),
    [
        ("crypt", f"aes-xts-plain64 {KEY} 0 254:1 8", "- - 0 254:1 8"),
        ("crypt", f"aes {'1' * 32} 0 254:1 8", "- - 0 254:1 8"),
        ("integrity", "7:0 0 - J 2 internal_hash:hmac:00 journal_crypt:x:01", "7:0 0 - - 2 - -"),
        ("brand-new", "secret 7:1", "- 7:1"),
        ("snapshot", "7:1 7:2 PO 8", "7:1 7:2 PO 8"),
        ("snapshot", "Invalid", "Invalid"),
        ("thin-pool", "1 23/4096 100/2048 - rw discard_passdown", "1 23/4096 100/2048 - rw discard_passdown"),
    ],
)
def test_keys_of_targets(target: str, params: str, seen: str) -> None:
    """Where a key may stand only numbers stay, also if the key consists of digits."""
    assert disguise_target(DmTarget(0, 8, target, params)).params == seen
