"""The command with real files: table, CSV, JSON, bad input."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam_amg.cli.main import main

TRUTH = np.zeros((12, 16), np.uint16)
TRUTH[1:5, 1:5], TRUTH[1:5, 5:9], TRUTH[7:11, 2:6] = 1, 2, 9  # 16 pixels each, the first two touch
FOUND = np.zeros_like(TRUTH)
FOUND[1:5, 1:5], FOUND[1:5, 5:8], FOUND[7:9, 2:6], FOUND[9:11, 2:6], FOUND[11, 15] = 5, 4, 3, 2, 1
# IoU 1, 3/4, and 1/2 twice: a split; one found object lies alone: TP 3, FN 0, FP 2


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two data sets: one with one image and its truth, one with two of which one is empty."""
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    write(pred / "one" / "a_labels.tif", FOUND)
    write(gt / "one" / "a_mask.png", TRUTH)
    write(gt / "one" / "a.png", TRUTH * 50)
    write(pred / "two" / "b_cp_masks.png", TRUTH)
    write(gt / "two" / "b_gt.tif", TRUTH)
    write(pred / "two" / "c_cp_masks.png", np.zeros_like(TRUTH))
    write(gt / "two" / "c_gt.tif", np.zeros_like(TRUTH))
    return pred, gt


def write(path: Path, labels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(labels).save(path)
    else:
        tifffile.imwrite(path, labels)
    return path


def evaluate(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def table(capture: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """The printed rows by name, cells by column; every line must be as long as the others."""
    lines = capture.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(re.fullmatch(":?-+:?", cell) for cell in rows[1])
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[:1] + rows[2:]}


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, gt = write(tmp_path / "a_labels.tif", FOUND), write(tmp_path / "truth_gt.png", TRUTH)
    assert evaluate(pred, gt) == 0
    rows = table(capsys)
    assert list(rows) == ["data set", "truth"]
    assert rows["truth"] == {
        "images": "1", "objects": "3", "found": "5", "AP@.5": "0.600", "AP@.75": "0.333",
        "mean AP .5:.9": f"{(3 / 5 + 5 * 2 / 6 + 3 * 1 / 7) / 9:.3f}", "precision": "0.600", "recall": "1.000",
        "F1": "0.750", "matched IoU": "0.750", "SEG": f"{(1 + 3 / 4) / 3:.3f}",
    }  # fmt: skip


def test_folders_give_a_row_a_data_set_and_one_for_all(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*folders) == 0
    rows = table(capsys)
    assert list(rows) == ["data set", "one", "two", "all"]
    assert [rows[name]["images"] for name in ("one", "two", "all")] == ["1", "2", "3"]
    assert [rows[name]["AP@.5"] for name in ("one", "two", "all")] == ["0.600", "1.000", f"{6 / 8:.3f}"]


def test_images_are_printed_if_asked_for(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(*folders, "--per-image") == 0
    rows = table(capsys)
    assert list(rows) == ["data set", "one", "one: a", "two", "two: b", "two: c", "all"]
    assert (rows["two: c"]["objects"], rows["two: c"]["AP@.5"], rows["two: c"]["SEG"]) == ("0", "-", "-")


def test_csv_and_json_hold_every_figure(folders: tuple[Path, Path], tmp_path: Path) -> None:
    csv_path, json_path = tmp_path / "out" / "scores.csv", tmp_path / "scores.json"
    assert evaluate(*folders, "--csv", csv_path, "--json", json_path) == 0
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [(row["level"], row["data_set"], row["image"]) for row in rows]
    assert places == [
        ("image", "one", "a"), ("data set", "one", ""), ("image", "two", "b"), ("image", "two", "c"),
        ("data set", "two", ""), ("all", "", ""),
    ]  # fmt: skip
    assert [float(rows[0][f"ap_{percent}"]) for percent in (50, 55, 75, 80, 95)] == pytest.approx(
        [3 / 5, 2 / 6, 2 / 6, 1 / 7, 1 / 7]
    )
    assert (rows[0]["matched_50"], rows[0]["matched_95"], rows[3]["ap_50"]) == ("3", "1", "")
    assert "iou_error" not in rows[0]
    content = json.loads(json_path.read_text())
    one, two = content["data_sets"]
    assert (one["data_set"], one["per_image"][0]["image"], two["per_image"][1]["ap_50"]) == ("one", "a", None)
    assert content["all"]["ap_50"] == float(rows[-1]["ap_50"]) == 6 / 8
    assert content["thresholds"][:2] == [0.5, 0.55]
    assert (content["planes"], content["failures"]) == (False, [])


def test_predicted_iou_is_compared_with_the_true_one(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted = {1: 0.1, 2: 0.3, 3: 0.5, 4: 0.7, 5: 0.9}
    text = "".join(f"{label},{iou}\n" for label, iou in predicted.items())
    (folders[0] / "one" / "a_features.csv").write_text(f"index,predicted_iou\n{text}")
    assert evaluate(*folders, "--csv", tmp_path / "scores.csv", "--json", tmp_path / "scores.json") == 0
    true = [0, 1 / 2, 1 / 2, 3 / 4, 1]
    correlation = np.corrcoef(list(predicted.values()), true)[0, 1]
    rows = table(capsys)
    for name in ("one", "all"):
        assert rows[name]["r(IoU)"] == f"{correlation:.3f}"
        assert rows[name]["IoU error"] == f"{(2.5 - sum(true)) / 5:.3f}"
    assert rows["two"]["r(IoU)"] == "-"
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert [row["rated_labels"] for row in csv.DictReader(file)] == ["5", "5", "", "", "", "5"]
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["data_sets"][0]["iou_error"] == pytest.approx(-0.05)
    assert "iou_error" not in content["data_sets"][1]


def test_a_stack_is_a_volume_unless_planes_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = np.stack([TRUTH, TRUTH]), np.stack([TRUTH, np.where(TRUTH > 0, TRUTH + 20, 0)]).astype(np.uint16)
    paths = write(tmp_path / "found.tif", found), write(tmp_path / "s.tif", truth)
    assert evaluate(*paths) == 0
    row = table(capsys)["s"]
    assert (row["images"], row["objects"], row["found"], row["recall"], row["AP@.5"]) == (
        "1",
        "3",
        "6",
        "1.000",
        "0.500",
    )
    assert evaluate(*paths, "--planes", "--per-image") == 0
    rows = table(capsys)
    assert list(rows) == ["data set", "s", "s: s[0]", "s: s[1]"]
    assert (rows["s"]["images"], rows["s"]["objects"], rows["s"]["AP@.5"]) == ("2", "6", "1.000")


def test_files_that_exist_are_kept_unless_told_otherwise(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("mine")
    assert evaluate(*folders, "--csv", path) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"napari-sam-amg: error: {path} exists already: give --overwrite to replace it\n"
    assert path.read_text() == "mine"
    assert evaluate(*folders, "--csv", path, "--overwrite") == 0
    assert path.read_text().startswith("level,data_set,image,images,true_objects")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no partner": (
        lambda one: write(one / "z_labels.tif", TRUTH),
        r"z_labels.tif: error: no partner: .*'z' in .*gt/one",
    ),
    "shape": (
        lambda one: write(one / "a_labels.tif", TRUTH[1:]),
        r"pred/one/a_labels.tif: error: shape \(11, 16\) is not that of .*a_mask.png, \(12, 16\): they must be equal",
    ),
    "floats": (
        lambda one: write(one / "a_labels.tif", TRUTH.astype(np.float32) / 2),
        "pred/one/a_labels.tif: error: value 0.5 is not allowed: of labels saved as float32",
    ),
    "colour": (
        lambda one: write(one / "a_labels.tif", np.zeros((12, 16, 3), np.uint8)),
        r"pred/one/a_labels.tif: error: an image in colour, of shape \(12, 16, 3\)",
    ),
    "text": (
        lambda one: (one / "a_labels.tif").write_text("hello"),
        "pred/one/a_labels.tif: error: not an image that can be read: allowed are PNG, TIFF, NPY and OME-Zarr",
    ),
    "bad truth": (
        lambda one: write(one.parents[1] / "gt" / "one" / "a_mask.png", np.zeros((12, 16, 3), np.uint8)),
        "gt/one/a_mask.png: error: an image in colour",
    ),
    "negative": (
        lambda one: write(one / "a_labels.tif", TRUTH.astype(np.int32) - 1),
        "pred/one/a_labels.tif: error: label -1 is not allowed: 0 is background",
    ),
    "bad table": (
        lambda one: (one / "a_features.csv").write_text("index,predicted_iou\n1,good\n"),
        "pred/one/a_features.csv: error: line 2: index='1', predicted_iou='good' is not allowed",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line_and_the_others_are_evaluated(
    spoil: Callable[[Path], Any],
    message: str,
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(folders[0] / "one")
    assert evaluate(*folders, "--json", tmp_path / "scores.json") == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert re.search(message, line)
    assert "| two " in captured.out
    (failure,) = json.loads((tmp_path / "scores.json").read_text())["failures"]
    assert line == f"{failure['path']}: error: {failure['reason']}"


def test_nothing_is_written_where_nothing_could_be_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "pred" / "a.png", TRUTH)
    write(tmp_path / "gt" / "b.png", TRUTH)
    (tmp_path / "empty").mkdir()
    for gt, lines in (("gt", 2), ("empty", 2), ("gone", 1)):
        assert evaluate(tmp_path / "pred", tmp_path / gt, "--csv", tmp_path / "out" / "a.csv") == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == lines
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--csv", "."], "error: . is a folder: give the name of a file"),
        (["--csv", "new", "--json", "new"], "error: --csv and --json are both new: give two files"),
        (["--csv", "a.png/new"], "error: the output folder a.png cannot be written to"),
    ],
)
def test_bad_outputs_are_named(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "a.png", TRUTH)
    monkeypatch.chdir(tmp_path)
    assert evaluate("a.png", "a.png", *words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("words", [[], ["a.png"], ["a.png", "b.png", "c.png"], ["a.png", "b.png", "--no-such-flag"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        evaluate(*words)
    assert caught.value.code == 2
    assert "usage: napari-sam-amg" in capsys.readouterr().err


def test_the_process_needs_no_torch(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.png", TRUTH))
    code = (
        "import sys; from napari_sam_amg.cli.main import main; status = main(sys.argv[1:]);"
        "print([name for name in ('torch', 'napari', 'pandas') if name in sys.modules]); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "evaluate", path, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "[]")


def run_in_shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    program = f'"{sys.executable}" -m napari_sam_amg evaluate'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("EVALUATE", program)],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "status"), [("| true", 1), ("> /dev/full", 1), (">&-", 1)], ids=["closed pipe", "full", "closed"]
)
def test_files_are_written_and_failures_counted_whatever_becomes_of_the_table(
    where: str, status: int, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    write(tmp_path / "gt" / "two" / "lonely_gt.tif", TRUTH)
    done = run_in_shell(f"EVALUATE pred gt --csv all.csv {where}", tmp_path)
    assert done.returncode == status
    assert (tmp_path / "all.csv").read_text().count("\n") > 3
    assert "Traceback" not in done.stderr
    assert ("No space left on device: standard output" in done.stderr) == (where == "> /dev/full")


def test_what_is_read_or_is_no_file_is_never_replaced(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "gt" / "two" / "b_gt.tif"
    (tmp_path / "link").symlink_to(truth)
    os.mkfifo(tmp_path / "pipe")
    for target, message in (
        (truth, "that are read"),
        (tmp_path / "link", "that are read"),
        (tmp_path / "pipe", "pipe"),
    ):
        assert evaluate(*folders, "--csv", target, "--overwrite") == 1
        assert message in capsys.readouterr().err
    assert (tifffile.imread(truth) == TRUTH).all()


def test_a_link_to_write_to_stays(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert evaluate(*folders, "--csv", tmp_path / "link.csv") == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("level,")


def test_a_bad_table_of_features_leaves_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = write(tmp_path / "a_labels.tif", FOUND), write(tmp_path / "gt.png", TRUTH)
    (tmp_path / "a_features.csv").write_text("index,predicted_iou\n1,much\n", "utf-8")
    assert evaluate(found, truth) == 1
    printed = capsys.readouterr()
    assert "a_features.csv: error: line 2" in printed.err
    assert "| gt" in printed.out


def test_a_mask_of_black_and_white_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = write(tmp_path / "a.tif", FOUND), write(tmp_path / "b.png", (TRUTH > 0).astype(np.uint8) * 255)
    assert evaluate(found, truth) == 0
    assert "b.png: warning: its only id is 255" in capsys.readouterr().err


def test_axes_in_another_order_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.stack([TRUTH] * 9).reshape(3, 3, *TRUTH.shape)
    for axes in ("ZTYX", "TZYX"):
        tifffile.imwrite(tmp_path / f"{axes}.ome.tif", stack, photometric="minisblack", metadata={"axes": axes})
    assert evaluate(tmp_path / "ZTYX.ome.tif", tmp_path / "TZYX.ome.tif") == 1
    assert "axes ZTYX are not those of" in capsys.readouterr().err
    assert evaluate(tmp_path / "ZTYX.ome.tif", tmp_path / "ZTYX.ome.tif") == 0


def test_a_data_set_called_all_is_not_taken_for_the_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("all", "other"):
        write(tmp_path / "pred" / name / "a.tif", TRUTH)
        write(tmp_path / "gt" / name / "a.tif", TRUTH)
    assert evaluate(tmp_path / "pred", tmp_path / "gt") == 0
    assert list(table(capsys)) == ["data set", "all", "other", "all data sets"]


def test_a_name_that_is_no_text_is_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.tif")
    try:
        write(tmp_path / "pred" / name, TRUTH)
    except OSError:
        pytest.skip("this file system takes text only")
    write(tmp_path / "gt" / name, TRUTH)
    assert evaluate(tmp_path / "pred", tmp_path / "gt", "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json") == 0
    assert "caf\\udce9" in (tmp_path / "a.csv").read_text("utf-8")
    assert "caf\\udce9" in (tmp_path / "a.json").read_text("utf-8")


def test_a_link_to_itself_fails_alone(folders: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    pred, gt = folders
    for path in (pred / "one" / "d_labels.tif", gt / "one" / "d_mask.png"):
        path.symlink_to(path.name)
    assert evaluate(pred, gt, "--csv", tmp_path / "scores.csv") == 1
    captured = capsys.readouterr()
    assert "--debug" not in captured.err
    assert (tmp_path / "scores.csv").exists()
