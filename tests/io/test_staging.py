import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from napari_sam_amg.io.staging import make_folder, naming, remove_empty, settle, staged
from tests.io.killing import NAMES, found, publish


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(targets: list[Path], content: str, error: type[BaseException] | None = None) -> None:
    """Write the first target, and another called new."""
    with staged(targets) as folder:
        (folder / targets[0].name).write_text(content)
        (folder / "new").touch()
        if error is not None:
            raise error


def test_outputs_appear_at_the_end(tmp_path: Path) -> None:
    with staged([tmp_path / "out" / "a", tmp_path / "out" / "masks"]) as folder:
        (folder / "a").write_text("new")
        (folder / "masks").mkdir()
        (folder / "masks" / "0").touch()
        assert [name for name in names(tmp_path / "out") if not name.startswith(".")] == []
    assert names(tmp_path / "out") == ["a", "masks"]
    assert names(tmp_path / "out" / "masks") == ["0"]


def test_outputs_are_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "old").touch()
    with staged([tmp_path / "a", tmp_path / "masks"]) as folder:
        (folder / "a").write_text("new")
        (folder / "masks").mkdir()
    assert names(tmp_path) == ["a", "masks"]
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path / "masks") == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_remains_of_a_failure(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error):
        write([tmp_path / "x" / "y" / "a"], "", error)
    assert names(tmp_path) == []


def test_failure_while_moving_puts_everything_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError):
        write([tmp_path / "a", tmp_path / "new", tmp_path / "absent"], "new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="is in the way"):
        write([tmp_path / "a"], "new")
    assert (tmp_path / "a").is_dir()


def test_make_folder_returns_what_it_made(tmp_path: Path) -> None:
    made = make_folder(tmp_path / "x" / "y")
    assert made == [tmp_path / "x" / "y", tmp_path / "x"]
    (tmp_path / "x" / "kept").touch()
    remove_empty(made)
    assert names(tmp_path / "x") == ["kept"]


def test_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/out cannot be written to: Not a directory"):
        make_folder(tmp_path / "file" / "out")


def test_killed_at_any_moment_the_outputs_are_the_old_or_the_new_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.io.killing", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "again").iterdir())) > 20


def test_files_are_on_the_disk_before_they_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    moved: list[Path] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check_move(source: Path, target: Path) -> None:
        if ".part" in str(source) and ".part" not in str(target):
            for file in (source, *source.rglob("*")):
                assert file.stat().st_ino in synced
            if target.name == NAMES[-1]:
                assert tmp_path.stat().st_ino in synced
            synced.discard(tmp_path.stat().st_ino)
            moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", check_move)
    publish(tmp_path, "new")
    assert [target.name for target in moved] == list(NAMES)
    assert tmp_path.stat().st_ino in synced


@pytest.mark.parametrize("without", [(), ("a_masks", "a_features.csv")])
@pytest.mark.parametrize("step", range(1, 14))
def test_failure_at_any_move_puts_everything_back(
    step: int, without: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "old")
    left = iter(range(step - 1))

    def counted(original: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(left, "end") == "end":
                monkeypatch.undo()  # once: what follows puts things back
                raise OSError(errno.EPERM, "Operation not permitted", str(arguments[0]))
            return original(*arguments, **options)

        return call

    for name in ("rename", "replace", "fsync"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    with pytest.raises(PermissionError):
        publish(tmp_path, "new", without)
    assert set(found(tmp_path).values()) == {"old"}
    assert names(tmp_path) == sorted(NAMES)


def test_two_that_write_the_same_outputs(tmp_path: Path) -> None:
    publish(tmp_path, "old")
    other = [tmp_path / "a_overlay.png", tmp_path / "a_run.json"]  # another set with the same record
    with staged([tmp_path / name for name in NAMES]) as stage:
        for blocked in (lambda: publish(tmp_path, "new"), lambda: settle(other), lambda: write(other, "")):
            with pytest.raises(ValueError, match=r"a_run.json is being written by another process: wait"):
                blocked()
        for name in NAMES:
            (stage / name).mkdir() if name == "a_masks" else (stage / name).write_text("mine")
    assert (tmp_path / "a_labels.tif").read_text() == "mine"


def test_without_hard_links_as_on_a_usb_stick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    publish(tmp_path, "old")
    publish(tmp_path, "new")
    assert set(found(tmp_path).values()) == {"new"}
    assert names(tmp_path) == sorted(NAMES)


@pytest.mark.parametrize("length", [200, 240, 251, 255])
def test_names_as_long_as_the_file_system_takes(length: int, tmp_path: Path) -> None:
    target = tmp_path / ("ü" * (length // 2) + "x" * (length % 2))
    with staged([target]) as folder:
        (folder / target.name).touch()
    assert names(tmp_path) == [target.name]


def test_errors_name_the_output_and_not_the_hidden_file(tmp_path: Path) -> None:
    def write_into_a_folder() -> None:
        with staged([tmp_path / "a"]) as folder:
            (folder / "a").mkdir()
            (folder / "a").write_text("")

    with pytest.raises(IsADirectoryError) as caught:
        write_into_a_folder()
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="No space") as full, staged([tmp_path / "a"]), naming(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(tmp_path / "a")
    assert names(tmp_path) == []


def test_a_folder_that_goes_away_meanwhile_is_an_error_and_no_more(tmp_path: Path) -> None:
    def lose_the_folder() -> None:
        with staged([tmp_path / "out" / "a"]) as folder:
            (folder / "a").touch()
            (tmp_path / "out").rename(tmp_path / "gone")

    with pytest.raises(FileNotFoundError):
        lose_the_folder()
