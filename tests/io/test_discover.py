from pathlib import Path

import pytest

from napari_sam_amg.io.discover import SUFFIXES, BadInput, find_inputs

OUT = Path("out")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def bases(inputs: list[Path], recursive: bool = False) -> list[str]:
    jobs, failures = find_inputs(inputs, OUT, recursive)
    assert not failures
    return [str(job.output("")) for job in jobs]


def test_folder_in_order_of_name(tmp_path: Path) -> None:
    touch(tmp_path, "b.TIF", "a.png", "c.ome.tif", "d.jpeg", "notes.txt", ".hidden.png", "sub/e.png")
    assert bases([tmp_path]) == ["out/a", "out/b", "out/c", "out/d"]


def test_own_outputs_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a_labels.tif", "a_overlay.png", "a_run.json", "a_masks/0.png", ".a.part/b.tif")
    assert bases([tmp_path], recursive=True) == ["out/a"]


def test_own_endings_of_others_are_not_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "b_overlay.png", "b_masks/0.png")
    assert bases([tmp_path], recursive=True) == ["out/b_overlay", "out/b_masks/0"]


def test_recursive_keeps_the_subfolders(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "x/a.tif", "x/y/a.tif")
    assert bases([tmp_path], recursive=True) == ["out/a", "out/x/a", "out/x/y/a"]


def test_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.tif")
    assert bases([tmp_path / "b.tif", tmp_path, tmp_path / "a.tif"]) == ["out/b", "out/a"]


def test_endings_tell_files_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a.png", "b.png")
    assert bases([tmp_path]) == ["out/a.png", "out/a.tif", "out/b"]


def test_names_that_differ_in_case_alone_are_one_where_folders_take_them_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "x/caf\u00e9.tif", "y/CAFE\u0301.png", "z/b.tif")
    folders = [tmp_path / name for name in "xyz"]
    assert bases(folders) == ["out/caf\u00e9", "out/CAFE\u0301", "out/b"]
    monkeypatch.setattr("sys.platform", "darwin")
    assert bases(folders) == ["out/caf\u00e9.tif", "out/CAFE\u0301.png", "out/b"]


def test_same_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.tif", "y/a.tif")
    with pytest.raises(ValueError, match=r"x/a\.tif and .*y/a\.tif would both be written as out/a\.tif_\*"):
        find_inputs([tmp_path / "x", tmp_path / "y"], OUT)


def test_what_is_not_found_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "empty/notes.txt")
    jobs, failures = find_inputs([tmp_path / "empty", tmp_path / "no.tif", tmp_path / "a.tif"], OUT)
    assert [job.name for job in jobs] == ["a"]
    assert failures == [
        BadInput(tmp_path / "empty", "no image in this folder: looked for " + ", ".join(SUFFIXES)),
        BadInput(tmp_path / "no.tif", "no such file or folder"),
    ]


def test_impossible_path_is_a_failure(tmp_path: Path) -> None:
    _, failures = find_inputs([tmp_path / ("x" * 5000)], OUT)
    assert [failure.reason for failure in failures] == ["cannot be searched: File name too long"]


def test_a_file_that_is_found_again_says_so_and_is_done_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    files, _ = find_inputs([tmp_path, tmp_path / "a.tif"], OUT)
    assert [(file.path.name, [path.name for path in file.also]) for file in files] == [("a.tif", ["b.tif", "a.tif"])]


@pytest.mark.parametrize("names", [("a_labels.tif",), ("a_labels.tif", "b_labels.tif", "b_overlay.png", "b_run.json")])
def test_a_folder_with_nothing_but_our_outputs_is_told_so(names: tuple[str, ...], tmp_path: Path) -> None:
    _, bad = find_inputs([touch(tmp_path, *names)], OUT)
    count = {1: "1 file is an output", 4: "3 files are outputs"}[len(names)]
    assert bad == [BadInput(tmp_path, f"no image in this folder: its {count} of this program, such as NAME_labels.tif")]


@pytest.mark.parametrize("name", ["a.bmp", "a.GIF", "a.webp", "a.lsm", "a.stk", "a.jp2", "a.avif", "a.pgm"])
def test_other_pictures_and_microscopes_own_endings_are_found_in_folders(name: str, tmp_path: Path) -> None:
    assert bases([touch(tmp_path, name)]) == ["out/a"]
