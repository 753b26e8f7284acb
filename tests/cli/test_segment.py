"""Images and stacks in; labels, tables and other formats out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.cli.main import main
from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models import checkpoint
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.registry import embedded_path
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import generate_masks, segment_planes
from tests.cli.terminal import DEFAULTS, STACK, Terminal
from tests.disc_model import blobs


def test_image_to_labels_features_and_record(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png()) == 0
    assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_run.json"]
    (step,) = [s for s in segment_planes(PlaneStack(blobs()), terminal.model, AmgParameters(**DEFAULTS)) if s.result]
    np.testing.assert_array_equal(tifffile.imread(terminal.out / "a_labels.tif"), step.result.labels)
    pd.testing.assert_frame_equal(pd.read_csv(terminal.out / "a_features.csv"), step.result.features, check_dtype=False)
    out, err = terminal.lines()
    assert len(out) == 1
    assert out[0].startswith(f"{terminal.folder / 'a.png'}: 96 x 128 pixels, 1 plane, 3 masks, 3 labels in ")
    assert out[0].endswith(f" s -> {terminal.out / 'a_labels.tif'}, a_features.csv, a_run.json")
    assert err == []


def test_stack_is_segmented_plane_by_plane(terminal: Terminal) -> None:
    assert terminal.segment(terminal.stack()) == 0
    labels = tifffile.imread(terminal.out / "s_labels.tif")
    assert labels.shape == STACK.shape
    assert [np.unique(plane).tolist() for plane in labels] == [[0, 1, 2, 3], [0], [0, 4, 5]]
    table = pd.read_csv(terminal.out / "s_features.csv")
    assert table["index"].tolist() == [1, 2, 3, 4, 5]
    assert table["plane"].tolist() == [0, 0, 0, 2, 2]


def test_record_says_all_that_is_needed_to_repeat(terminal: Terminal) -> None:
    assert terminal.segment(terminal.stack(), "--pred-iou-thresh", "0.91") == 0
    record = json.loads((terminal.out / "s_run.json").read_text())
    expected = AmgParameters(**DEFAULTS | {"pred_iou_thresh": 0.91})
    assert record["settings"]["parameters"] == dataclasses.asdict(expected)
    assert record["settings"]["precision"] == "exact"
    assert record["settings"]["model"] == {
        "name": "blobs",
        "architecture": "none",
        "file": "blobs.pt",
        "sha256": "0" * 64,
    }
    assert record["input"]["shape"] == [3, 96, 128]
    assert record["input"]["dtype"] == "uint8"
    assert record["input"]["sha256"] == hash_file(terminal.folder / "s.tif")
    assert (record["planes"], record["masks"], record["labels"]) == (3, 5, 5)
    assert (record["intensities"]["low"], record["intensities"]["high"]) == (0, 200)
    assert record["outputs"] == ["s_labels.tif", "s_features.csv", "s_run.json"]
    assert {"napari-sam-amg", "python", "torch", "numpy"} <= set(record["versions"])


def test_real_network_end_to_end(tiny_checkpoint: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "load_model", load_model)
    rgb = np.random.default_rng(0).integers(0, 256, (40, 64, 3)).astype(np.uint8)
    arguments = ["--checkpoint", tiny_checkpoint, "--intensities", 0, 255, "--format", "coco-rle", "--device", "cpu"]
    assert terminal.segment(terminal.png("rgb.png", rgb), *arguments) == 0
    masks = generate_masks(rgb, load_model(tiny_checkpoint, "cpu"))
    assert len(masks) > 0
    assert json.loads((terminal.out / "rgb_masks.json").read_text()) == masks.to_coco("coco_rle")


@pytest.mark.skipif(not embedded_path().exists(), reason="the embedded model is not trained yet")
def test_demo(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(device="cpu")  # the one that ships, on fewer points
    model.info = dataclasses.replace(model.info, amg_defaults={**model.info.amg_defaults, "points_per_side": 4})
    monkeypatch.setattr(checkpoint, "load_model", lambda: model)
    terminal.out.mkdir()
    (terminal.out / "nuclei_labels.tif").write_text("an earlier result, which may be replaced")
    assert main(["demo", "--output", str(terminal.out)]) == 0
    assert terminal.written() == ["nuclei_features.csv", "nuclei_labels.tif", "nuclei_overlay.png", "nuclei_run.json"]
    assert tifffile.imread(terminal.out / "nuclei_labels.tif").shape == (520, 696)
    assert terminal.lines()[0][-1] == f"open {terminal.out / 'nuclei_overlay.png'} to see the result"


def test_formats_are_combined(terminal: Terminal) -> None:
    arguments = ["--format", "coco-rle,masks", "--format", "labels", "--overlay"]
    assert terminal.segment(terminal.png(), *arguments) == 0
    assert terminal.written() == [
        "a_features.csv", "a_labels.tif", "a_masks", "a_masks.json", "a_overlay.png", "a_run.json"
    ]  # fmt: skip


def test_coco_alone_writes_no_labels(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--format", "coco-rle") == 0
    assert terminal.written() == ["a_masks.json", "a_run.json"]


@pytest.mark.parametrize(("options", "area"), [([], 0.25), (["--pixel-size", "3"], 9)])
def test_pixel_size_gives_physical_areas(options: list[str], area: float, terminal: Terminal) -> None:
    path = terminal.folder / "ij.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX", "unit": "um"}, resolution=(2, 2))
    assert terminal.segment(path, *options) == 0
    table = pd.read_csv(terminal.out / "ij_features.csv")
    np.testing.assert_allclose(table["area_um2"], table["area"] * area)


def test_unknown_pixel_size_gives_none(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png()) == 0
    assert not [name for name in pd.read_csv(terminal.out / "a_features.csv").columns if name.startswith("area_")]


def test_channel_is_chosen_and_said(terminal: Terminal) -> None:
    path = terminal.folder / "c.tif"
    tifffile.imwrite(path, np.stack([STACK[0], STACK[2]]), imagej=True, metadata={"axes": "CYX"})
    assert terminal.segment(path) == 0
    assert "3 labels" in (first := terminal.lines()[0][0])
    assert first.endswith("(channel 0 of 0..1 (--channel chooses))")
    assert terminal.segment(path, "--channel", 1, "--overwrite") == 0
    assert "2 labels" in (second := terminal.lines()[0][0])
    assert "(channel" not in second
    assert tifffile.imread(terminal.out / "c_labels.tif").shape == (96, 128)


def test_16_bit_finds_the_same_as_8_bit(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), terminal.png("deep.png", blobs().astype(np.uint16) * 257)) == 0
    one, other = (tifffile.imread(terminal.out / f"{name}_labels.tif") for name in ("a", "deep"))
    np.testing.assert_array_equal(one, other)


def test_point_grids_replace_the_grid(terminal: Terminal) -> None:
    (terminal.folder / "grid.json").write_text(json.dumps([[60.5 / 128, 30.5 / 96]]))
    assert terminal.segment(terminal.png(), "--point-grids", terminal.folder / "grid.json") == 0
    assert terminal.model.decoded == 1
    assert pd.read_csv(terminal.out / "a_features.csv")[["point_x", "point_y"]].to_numpy().tolist() == [[60.5, 30.5]]


def test_an_approximate_search_asks_fewer_points_and_says_so(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--point-search", "hierarchical") == 0
    assert terminal.model.decoded < 16**2
    assert "3 masks, 3 labels" in (line := terminal.lines()[0][0])
    assert line.endswith("(approximate)")
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert record["parameters_used"]["point_search"] == "hierarchical"


def test_a_model_without_maps_cannot_guide_the_search_which_is_said(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--point-search", "guided") == 0
    assert terminal.model.decoded == 16**2
    assert terminal.lines()[0][0].endswith("(the model has no maps of objects, so the grid was asked)")
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert record["settings"]["parameters"]["point_search"] == "guided"
    assert record["parameters_used"]["point_search"] == "grid"
    assert record["point_search_note"] == "the model has no maps of objects, so the grid was asked"
    assert terminal.segment(terminal.png(), "--overwrite") == 0
    assert "no maps" not in terminal.lines()[0][0]
    assert json.loads((terminal.out / "a_run.json").read_text())["point_search_note"] == ""


def test_nothing_found_says_what_to_do(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--pred-iou-thresh", "0.99") == 0
    assert terminal.lines()[0][0].endswith("(lower --pred-iou-thresh or --stability-score-thresh to find more)")
    assert len(pd.read_csv(terminal.out / "a_features.csv")) == 0


def test_quiet_says_nothing(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--quiet") == 0
    assert terminal.lines() == ([], [])
