from pathlib import Path

import pytest

from napari_sam_amg.io.staging import make_folder, remove_empty, staged


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
