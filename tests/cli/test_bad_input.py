"""Bad input: one clear line, exit status 1, no traceback, nothing written."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.cli.main import main
from tests.cli.terminal import INFO, Terminal
from tests.disc_model import blobs


def image(write: Callable[[Path], Any]) -> Callable[[Path], list[object]]:
    """Arguments for a bad image."""

    def arguments(folder: Path) -> list[object]:
        write(folder / "bad.tif")
        return [folder / "bad.tif"]

    return arguments


def model(content: bytes) -> Callable[[Path], list[object]]:
    """Arguments for a good image and a bad checkpoint."""

    def arguments(folder: Path) -> list[object]:
        (folder / "bad.pt").write_bytes(content)
        return [*good(folder), "--checkpoint", folder / "bad.pt"]

    return arguments


def flags(*words: object) -> Callable[[Path], list[object]]:
    """Arguments for a good image and bad settings."""
    return lambda folder: [*good(folder), *words]


def good(folder: Path) -> list[object]:
    tifffile.imwrite(folder / "good.tif", blobs())
    return [folder / "good.tif"]


def array(pixels: Any) -> Callable[[Path], list[object]]:
    return image(lambda path: tifffile.imwrite(path, pixels))


def unwritable(folder: Path) -> list[object]:
    (folder / "out").write_text("a file where the folder should be")
    return good(folder)


BAD: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "empty file": (image(lambda path: path.touch()), "bad.tif: error: the file is empty"),
    "text": (image(lambda path: path.write_text("hello")), "bad.tif: error: not an image that can be read"),
    "1 x 1": (array(np.ones((1, 1), np.uint8)), "bad.tif: error: the image is 1 x 1 pixels"),
    "3 x 20000": (array(np.arange(60000, dtype=np.uint16).reshape(3, -1)), "bad.tif: error: .* 3 x 20000 pixels"),
    "8 x 20000": (array(np.arange(160000).reshape(8, -1).astype(np.float32)), "bad.tif: error: .* too elongated"),
    "complex": (array(np.ones((20, 30), np.complex64)), "bad.tif: error: pixels of type complex64"),
    "no such file": (lambda folder: [folder / "gone.tif"], "gone.tif: error: no such file or folder"),
    "empty folder": (lambda folder: [folder], ": error: no image in this folder"),
    "empty checkpoint": (model(b""), "error: .*bad.pt: is empty"),
    "foreign checkpoint": (model(b"GGUF" + bytes(100)), "error: .*bad.pt: not a PyTorch file"),
    "missing checkpoint": (flags("--checkpoint", "gone.pt"), "error: 'gone.pt' is neither"),
    "unknown model": (flags("--model", "vit_x"), "error: model='vit_x' is unknown: choose one of embedded, vit_t"),
    "absent model": (flags("--model", "vit_b"), "error: model 'vit_b' is not on this machine: download https://"),
    "unknown device": (flags("--device", "abacus"), "error: device='abacus' is not available: choose one of auto"),
    "no points": (flags("--points-per-side", 0), "error: points_per_side=0 is out of range: allowed is 1 to 512"),
    "threshold": (flags("--pred-iou-thresh", 1.5), r"error: pred_iou_thresh=1\.5 is out of range: allowed is 0 to 1"),
    "negative": (flags("--stability-score-thresh", -0.1), r"error: stability_score_thresh=-0\.1 is out of range"),
    "nan": (flags("--box-nms-thresh", "nan"), "error: box_nms_thresh=nan is not allowed"),
    "word": (flags("--overlap", "big"), "error: overlap='big' is not allowed: choose one of score, small, large"),
    "grids and points": (
        lambda folder: [*good(folder), "--points-per-side", 4, "--point-grids", write_grid(folder)],
        "error: exactly one of points_per_side and point_grids must be given",
    ),
    "grids for other layers": (
        lambda folder: [*good(folder), "--crop-n-layers", 1, "--point-grids", write_grid(folder)],
        "error: point_grids holds 1 grids, but crop_n_layers=1 needs 2",
    ),
    "no grids": (flags("--point-grids", "gone.json"), "error: point_grids: gone.json cannot be read"),
    "intensities": (flags("--intensities", 9, 3), "error: intensities from 9 to 3 are no range"),
    "equal intensities": (flags("--intensities", 9, 9), "error: intensities from 9 to 9 are no range"),
    "pixel size": (flags("--pixel-size", 0), "error: pixel_size=0.0 is not allowed"),
    "negative pixel size": (flags("--pixel-size", "-1e3"), r"error: pixel_size=-1000\.0 is not allowed"),
    "negative intensities": (flags("--intensities", "-1e-3", "-1e3"), r"error: intensities from -0\.001 to -1000"),
    "infinite intensities": (flags("--intensities", "-inf", "inf"), "error: intensities from -inf to inf"),
    "input of nobody": (lambda folder: ["~nouser/a.tif"], "~nouser/a.tif: error: no such file or folder"),
    "checkpoint of nobody": (flags("--checkpoint", "~nouser/a.pt"), "error: '~nouser/a.pt' is not .* no user 'nouser'"),
    "grids of nobody": (flags("--point-grids", "~nouser/a.npy"), "error: '~nouser/a.npy' is not allowed: there is no"),
    "output of nobody": (
        lambda folder: [*good(folder), "--output", "~nouser"],
        "error: '~nouser' is not allowed: there is no user 'nouser'",
    ),
    "channel": (flags("--channel", 1), "good.tif: error: channel=1 is not in this image: allowed is 0"),
    "unwritable output": (unwritable, "error: the output folder .* cannot be written to"),
}  # fmt: skip
NEEDS_TINY = (
    "8 x 20000",
    "channel",
    "complex",
    "1 x 1",
    "3 x 20000",
    "empty file",
    "text",
    "grids for",
)


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_clear_line(
    arguments: Callable[[Path], list[object]],
    message: str,
    tmp_path: Path,
    tiny_checkpoint: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path / "models"))
    words = [str(word) for word in arguments(tmp_path)]
    if request.node.callspec.id.startswith(NEEDS_TINY):
        words += ["--checkpoint", str(tiny_checkpoint)]
    before = sorted(tmp_path.iterdir())
    assert main(["segment", "--output", str(tmp_path / "out"), *words]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert re.search(message, line)
    assert sorted(tmp_path.iterdir()) == before


def write_grid(folder: Path) -> Path:
    (folder / "grid.json").write_text("[[0.5, 0.5]]")
    return folder / "grid.json"


def test_checkpoint_of_another_kind_than_the_named_model(tiny_checkpoint: Path, terminal: Terminal) -> None:
    terminal.model.info = dataclasses.replace(INFO, architecture="vit_t", amg_defaults={})
    path = terminal.png()
    assert terminal.segment(path, "--model", "vit_b_lm", "--checkpoint", tiny_checkpoint) == 1
    assert terminal.lines()[1] == [
        f"napari-sam-amg: error: {tiny_checkpoint} is a vit_t checkpoint, not vit_b_lm: leave out --model"
    ]
    assert terminal.segment(path, "--model", "vit_t_lm", "--checkpoint", tiny_checkpoint) == 0
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert record["settings"]["parameters"]["pred_iou_thresh"] == 0.6


def test_process_ends_with_the_status_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_text("hello")
    (tmp_path / "bad.pt").touch()
    code = (
        "import sys; from napari_sam_amg.cli.main import main; status = main(sys.argv[1:]);"
        "print([name for name in ('torch', 'napari', 'qtpy') if name in sys.modules]); sys.exit(status)"
    )
    words = ["segment", "bad.tif", "--output", "out", "--checkpoint", "bad.pt"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stdout == "['torch']\n"  # and no napari, although a model was to be loaded
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("napari-sam-amg: error: bad.pt: is empty (0 bytes)")


def test_python_runs_the_package_as_the_command() -> None:
    command = [sys.executable, "-m", "napari_sam_amg", "segment", "--points-per-side", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("the following arguments are required: INPUT, --output")
