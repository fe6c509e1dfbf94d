# SPDX-License-Identifier: Apache-2.0
"""Files and kernel command line to settings, by the one way in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from overlaywatch.config.bootwords import BootWords, parse_boot_words
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.load import gather, load
from overlaywatch.config.settings import ActionsMode

VENDOR = "usr/lib/overlaywatch/overlaywatch.d/10-base.toml"
MAIN = "etc/overlaywatch/overlaywatch.toml"
DROP_IN = "etc/overlaywatch/overlaywatch.d/50-site.toml"


def write(root: Path, name: str, text: str) -> Path:
    """Make a file with its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the privilege to read everything."""
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(uid)


def errors_of(root: Path, *words: str, explicit: Path | None = None) -> list[str]:
    """The errors of loading, line by line."""
    with pytest.raises(ConfigErrors) as caught:
        load(root, words, explicit)
    return str(caught.value).splitlines()


def test_all_files_together_are_the_settings(tmp_path: Path) -> None:
    """Image, administrator and drop-in each have their say, and each value knows whose it is."""
    vendor = write(tmp_path, VENDOR, '[daemon]\ninterval = "5s"\nactions = "off"\ndm_reader = "ioctl"')
    main = write(tmp_path, MAIN, '[daemon]\ninterval = "6s"\nactions = "dry-run"')
    drop_in = write(tmp_path, DROP_IN, '[daemon]\ninterval = "7s"')
    settings, warnings = load(tmp_path)
    assert (settings.daemon.interval, settings.daemon.actions.value, settings.daemon.dm_reader.value) == (
        7.0,
        "dry-run",
        "ioctl",
    )
    assert warnings == ()
    assert settings.origins["daemon.interval"] == str(drop_in)
    assert settings.origins["daemon.actions"] == str(main)
    assert settings.origins["daemon.dm_reader"] == str(vendor)


def test_nothing_at_all_is_the_defaults(tmp_path: Path) -> None:
    """A machine without files has settings, and always the same hash."""
    settings, warnings = load(tmp_path)
    assert (settings.policies, warnings, settings.hash) == ((), (), load(tmp_path / "other")[0].hash)


def test_hash_is_that_of_what_is_in_force(tmp_path: Path) -> None:
    """A brake on the kernel command line is another configuration; a comment is none."""
    write(tmp_path, MAIN, '[daemon]\nactions = "on"')
    plain = load(tmp_path)[0].hash
    assert load(tmp_path, ["overlaywatch.actions=off"])[0].hash != plain
    write(tmp_path, MAIN, '# a comment\n[daemon]\nactions = "on"')
    assert load(tmp_path)[0].hash == plain


def test_explicit_file_is_read_alone(tmp_path: Path) -> None:
    """No drop-in and no file of this machine changes a run with --config."""
    write(tmp_path, VENDOR, '[daemon]\ndm_reader = "dmsetup"')
    write(tmp_path, MAIN, "this is wrong")
    explicit = write(tmp_path, "x.toml", '[daemon]\ninterval = "5s"')
    other = write(tmp_path, "y.toml", '[daemon]\ninterval = "6s"')
    settings, warnings = load(tmp_path, [f"overlaywatch.config={other}"], explicit)
    assert (settings.daemon.interval, settings.daemon.dm_reader.value, warnings) == (5.0, "auto", ())


def test_explicit_file_must_be_there(tmp_path: Path) -> None:
    """Whoever names a file wants it."""
    missing = tmp_path / "missing.toml"
    assert errors_of(tmp_path, explicit=missing) == [
        f"{missing}: cannot be read: No such file or directory; name a file that is there"
    ]


def test_errors_of_all_files_are_told_together(tmp_path: Path) -> None:
    """Two files with slips need one run to be put right."""
    vendor = write(tmp_path, VENDOR, "a = ")
    main = write(tmp_path, MAIN, "b = 1\nb = 2")
    write(tmp_path, DROP_IN, "").unlink()
    (tmp_path / DROP_IN).symlink_to("gone")
    lines = errors_of(tmp_path)
    assert [line.split(": ")[0] for line in lines] == [f"{vendor}:1:5", f"{main}:2:6", str(tmp_path / DROP_IN)]


def test_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    """A file in the place of a folder."""
    write(tmp_path, "etc/overlaywatch/overlaywatch.d", "")
    assert errors_of(tmp_path) == [
        f"{tmp_path}/etc/overlaywatch/overlaywatch.d: cannot be read: Not a directory; expected a folder"
    ]


def test_forbidden_file_is_an_error_or_is_skipped(tmp_path: Path) -> None:
    """The daemon must know everything; `status` without privilege says what it could not read, and goes on."""
    path = write(tmp_path, "x.toml", '[daemon]\ninterval = "5s"')
    path.chmod(0)
    with as_nobody():
        remedy = "run as root, or let it be read"
        assert errors_of(tmp_path, explicit=path) == [f"{path}: cannot be read: Permission denied; {remedy}"]
        settings, warnings = load(tmp_path, (), path, skip_forbidden=True)
    assert settings.daemon.interval == 10.0
    assert warnings == (f"{path}: skipped: Permission denied; run as root to have it read",)


def test_skipping_is_for_forbidden_files_only(tmp_path: Path) -> None:
    """A missing file stays an error."""
    with pytest.raises(ConfigErrors):
        load(tmp_path, (), tmp_path / "missing", skip_forbidden=True)


def test_file_that_everybody_may_write_is_a_warning(tmp_path: Path) -> None:
    """It lets anybody decide what root runs."""
    path = write(tmp_path, MAIN, "")
    path.chmod(0o646)
    warnings = load(tmp_path)[1]
    assert [warning.startswith(f"{path}: everybody may write this file") for warning in warnings] == [True]


# --- the kernel command line -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(ActionsMode))
def test_actions_word_has_the_last_word(tmp_path: Path, mode: ActionsMode) -> None:
    """It overrides the ordinary files, and a file that was named."""
    write(tmp_path, MAIN, '[daemon]\nactions = "dry-run"')
    explicit = write(tmp_path, "x.toml", '[daemon]\nactions = "dry-run"')
    words = ["ro", f"overlaywatch.actions={mode.value}", "quiet"]
    for named in (None, explicit):
        settings, warnings = load(tmp_path, words, named)
        assert (settings.daemon.actions, warnings) == (mode, ())
        assert settings.origins["daemon.actions"] == "kernel command line"


def test_last_actions_word_counts() -> None:
    """A word that is added at the boot menu comes last."""
    assert parse_boot_words(["overlaywatch.actions=on", "overlaywatch.actions=off"]) == BootWords(ActionsMode.OFF)
    assert parse_boot_words(["overlaywatch.actions=off", "overlaywatch.actions=on"]) == BootWords(ActionsMode.ON)


@pytest.mark.parametrize(
    "word",
    [
        "overlaywatch.actions=maybe",
        "overlaywatch.actions=OFF",
        "overlaywatch.actions=",
        "overlaywatch.actions",
        "overlaywatch.action=off",
        "overlaywatch.config=relative.toml",
        "overlaywatch.config",
        "overlaywatch.",
    ],
)
@pytest.mark.parametrize("other", [[], ["overlaywatch.actions=on"]])
def test_word_that_is_not_understood_brakes(tmp_path: Path, word: str, other: list[str]) -> None:
    """It is a warning, not a failure, and nothing is changed: it may have been meant as the brake."""
    write(tmp_path, MAIN, '[daemon]\ninterval = "5s"\nactions = "on"')
    settings, warnings = load(tmp_path, [*other, word])
    assert (settings.daemon.actions, settings.daemon.interval) == (ActionsMode.OFF, 5.0)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"kernel command line: {word.partition('=')[0]}: ")
    assert warnings[0].endswith("; actions are off")


@pytest.mark.parametrize("word", ["ro", "overlaywatch", "xoverlaywatch.actions=off", "overlay.actions=off", "", "="])
def test_words_of_others_are_left_alone(word: str) -> None:
    """Everything on the command line that is not ours means nothing."""
    assert parse_boot_words([word]) == BootWords()


def test_config_word_names_the_one_file(tmp_path: Path) -> None:
    """It is read alone, under the root that is looked at."""
    write(tmp_path, MAIN, '[daemon]\ndm_reader = "dmsetup"')
    write(tmp_path, "run/initramfs/x.toml", '[daemon]\ninterval = "5s"')
    settings, warnings = load(tmp_path, ["overlaywatch.config=/run/initramfs/x.toml"])
    assert (settings.daemon.interval, settings.daemon.dm_reader.value, warnings) == (5.0, "auto", ())
    assert settings.daemon.actions is ActionsMode.ON


def test_config_word_for_a_missing_file_brakes(tmp_path: Path) -> None:
    """The ordinary files are read, so that the machine is watched as usual, and nothing is changed."""
    write(tmp_path, MAIN, '[daemon]\ninterval = "5s"\nactions = "on"')
    settings, warnings = load(tmp_path, ["overlaywatch.config=/gone.toml", "overlaywatch.actions=on"])
    assert (settings.daemon.interval, settings.daemon.actions) == (5.0, ActionsMode.OFF)
    (warning,) = warnings
    reason = f"overlaywatch.config: {tmp_path}/gone.toml cannot be read: No such file or directory"
    assert warning == f"kernel command line: {reason}; the ordinary files are read instead, and actions are off"


def test_errors_in_the_file_of_the_config_word_are_errors(tmp_path: Path) -> None:
    """A file that is there is meant; half of it could say the opposite."""
    write(tmp_path, "x.toml", '[daemon]\ninterval = "5 parsecs"')
    lines = errors_of(tmp_path, "overlaywatch.config=/x.toml")
    assert [line.split(": ")[:2] for line in lines] == [[f"{tmp_path}/x.toml", "daemon.interval"]]


def test_config_word_and_a_misread_one(tmp_path: Path) -> None:
    """The file is taken, and the brake too."""
    write(tmp_path, "x.toml", '[daemon]\ninterval = "5s"\nactions = "on"')
    settings, warnings = load(tmp_path, ["overlaywatch.config=/x.toml", "overlaywatch.actoins=off"])
    assert (settings.daemon.interval, settings.daemon.actions, len(warnings)) == (5.0, ActionsMode.OFF, 1)
    assert 'did you mean "overlaywatch.actions"?' in warnings[0]


def test_gather_shows_what_is_wrong_too(tmp_path: Path) -> None:
    """`config show` helps to find an error, so it must not need its absence."""
    path = write(tmp_path, MAIN, "[daemon]\ninterval = 5")
    gathered = gather(tmp_path, ["overlaywatch.actions=off"])
    assert gathered.merged.values == {"daemon": {"interval": 5, "actions": "off"}}
    assert gathered.merged.files == (str(path),)
