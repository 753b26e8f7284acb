"""``segment --mode ais``, with a model that has a segmentation decoder and with one that has none."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import tifffile

from napari_sam_amg.cli.main import main
from tests.cli.terminal import INFO, Terminal
from tests.disc_model import blobs
from tests.finetune_model import FinetuneModel


def test_a_finetune_segments_without_points(terminal: Terminal) -> None:
    terminal.model = FinetuneModel(info=replace(INFO, no_decoder="", decoder_sha256="2" * 64))
    formats = ["--format", "labels", "--format", "coco-rle"]
    assert terminal.segment(terminal.png(), "--mode", "ais", "--intensities", 0, 255, *formats) == 0
    (line,) = terminal.lines()[0]
    assert line.endswith("(AIS)")
    labels = tifffile.imread(terminal.out / "a_labels.tif")
    assert ((labels > 0) != (blobs() > 0)).mean() < 0.01
    table = pd.read_csv(terminal.out / "a_features.csv")
    assert table["index"].tolist() == [1, 2, 3]
    assert table["area"].tolist() == np.bincount(labels.ravel())[1:].tolist()
    assert table["predicted_iou"].isna().all()
    records = json.loads((terminal.out / "a_masks.json").read_text())
    assert [record["area"] for record in records] == table["area"].tolist()
    assert {record["predicted_iou"] for record in records} == {None}
    settings = json.loads((terminal.out / "a_run.json").read_text())["settings"]
    assert settings["parameters"]["mode"] == "ais"
    assert settings["model"]["decoder_sha256"] == "2" * 64
    assert terminal.model.decoded == 0


def test_where_the_decoder_shows_nothing_no_threshold_is_blamed(terminal: Terminal) -> None:
    terminal.model = FinetuneModel(info=replace(INFO, no_decoder=""))
    dark = terminal.png(image=blobs() // 4 + np.arange(128, dtype=np.uint8) // 8)
    assert terminal.segment(dark, "--mode", "ais", "--intensities", 0, 255) == 0
    assert terminal.lines()[0][0].endswith("(AIS; the segmentation decoder shows no object)")


def test_its_results_can_be_evaluated(terminal: Terminal) -> None:
    terminal.model = FinetuneModel(info=replace(INFO, no_decoder=""))
    assert terminal.segment(terminal.png(), "--mode", "ais", "--intensities", 0, 255) == 0
    truth = terminal.folder / "truth"
    truth.mkdir()
    tifffile.imwrite(truth / "a.tif", tifffile.imread(terminal.out / "a_labels.tif"))
    terminal.lines()
    assert main(["evaluate", str(terminal.out), str(truth)]) == 0
    out, err = terminal.lines()
    assert any("1.000" in line for line in out)
    assert err == []


def test_a_guided_search_says_why_there_is_no_decoder(terminal: Terminal) -> None:
    terminal.model.info = replace(INFO, no_decoder="x.pt: its segmentation decoder: is a list, not a state dict")
    assert terminal.segment(terminal.png(), "--point-search", "guided") == 0
    out, err = terminal.lines()
    assert out[0].endswith("(the model has no maps of objects, so the grid was asked)")
    (line,) = err
    assert line == f"napari-sam-amg: note: no segmentation decoder guides the search: {terminal.model.info.no_decoder}"


def test_a_model_without_a_decoder_is_refused_before_any_image(terminal: Terminal) -> None:
    terminal.model.info = replace(INFO, no_decoder="x.pt holds no decoder_state")
    assert terminal.segment(terminal.png("a.png"), terminal.png("b.png"), "--mode", "ais") != 0
    out, err = terminal.lines()
    assert out == []
    assert len(err) == 1
    assert err[0].endswith(
        "mode='ais' needs a segmentation decoder, as finetunes of micro-sam have it, and there is none for blobs: "
        "x.pt holds no decoder_state; choose mode='amg', or another model"
    )
    assert terminal.written() == []
    assert terminal.model.embedded == []
