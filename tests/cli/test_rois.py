"""``--format rois``: what is written are the labels, and nothing of an earlier run stays."""

import json

import numpy as np
import pandas as pd
import tifffile

from tests.cli.terminal import Terminal
from tests.disc_model import blobs
from tests.io.roi_pixels import painted, read


def test_regions_are_those_of_the_label_image(terminal: Terminal) -> None:
    assert terminal.segment(terminal.stack(), "--format", "labels,rois") == 0
    assert terminal.written() == ["s_features.csv", "s_labels.tif", "s_rois.zip", "s_run.json"]
    labels, rois = tifffile.imread(terminal.out / "s_labels.tif"), read(terminal.out / "s_rois.zip")
    np.testing.assert_array_equal(painted(rois, labels.shape), labels)
    table = pd.read_csv(terminal.out / "s_features.csv")
    assert [int(roi.name) for roi in rois] == table["index"].tolist()
    assert [roi.position - 1 for roi in rois] == table["plane"].tolist()
    assert json.loads((terminal.out / "s_run.json").read_text())["outputs"][2] == "s_rois.zip"


def test_regions_alone(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--format", "rois") == 0
    assert terminal.written() == ["a_rois.zip", "a_run.json"]
    assert len(read(terminal.out / "a_rois.zip")) == 3


def test_a_second_export_leaves_nothing_of_the_first(terminal: Terminal) -> None:
    assert terminal.segment(terminal.png(), "--format", "rois") == 0
    fewer = terminal.png(image=blobs(discs=((40, 40, 10),)))
    assert terminal.segment(fewer, "--format", "rois") == 1  # not without being told
    assert len(read(terminal.out / "a_rois.zip")) == 3
    assert terminal.segment(fewer, "--format", "rois", "--overwrite") == 0
    assert [roi.name for roi in read(terminal.out / "a_rois.zip")] == ["1"]
    assert terminal.written() == ["a_rois.zip", "a_run.json"]
