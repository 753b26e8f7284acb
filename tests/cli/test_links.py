"""Objects through z and through time, on the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_sam_amg.cli.main import main
from napari_sam_amg.io.label_files import read_label_volume
from tests.cli.terminal import Terminal
from tests.disc_model import blobs

COLUMN, OTHER = (20, 20, 8), (100, 70, 12)
PLANES = ((), (COLUMN,), (COLUMN,), *[(COLUMN, OTHER)] * 3, (OTHER,), (OTHER,))
VOLUME = np.stack([blobs(discs=discs) for discs in PLANES])


def volume(terminal: Terminal, name: str = "v.tif", data: np.ndarray = VOLUME, axes: str = "ZYX") -> Path:
    path = terminal.folder / name
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    units = {f"{size}Unit": "µm" for size in sizes}
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata={"axes": axes, **sizes, **units})
    return path


def table(terminal: Terminal, name: str) -> pd.DataFrame:
    return pd.read_csv(terminal.out / name)


def test_objects_through_z_are_labels_and_tables(terminal: Terminal) -> None:
    assert terminal.segment(volume(terminal), "--link", "z", "--format", "labels,coco-rle,zarr") == 0
    out, err = terminal.lines()
    assert "2 objects through z, 10 cross-sections in " in out[0]
    assert err == []
    assert terminal.written() == [
        "v_features.csv", "v_labels.ome.zarr", "v_labels.tif", "v_masks.json", "v_objects.csv", "v_run.json"
    ]  # fmt: skip
    labels = tifffile.imread(terminal.out / "v_labels.tif")
    assert [np.unique(plane[plane > 0]).tolist() for plane in labels] == [[], [1], [1], *[[1, 2]] * 3, [2], [2]]
    objects, sections = table(terminal, "v_objects.csv"), table(terminal, "v_features.csv")
    assert objects[["index", "first_plane", "last_plane"]].to_numpy().tolist() == [[1, 1, 5], [2, 3, 7]]
    assert objects["volume_um3"].tolist() == [0.5 * (labels == id).sum() for id in (1, 2)]
    assert not sections.duplicated(["index", "plane"]).any()
    assert len(sections) == 10
    records = json.loads((terminal.out / "v_masks.json").read_text())
    assert [(record["plane"], record["object"]) for record in records] == list(
        zip(sections["plane"], sections["index"], strict=True)
    )
    record = json.loads((terminal.out / "v_run.json").read_text())
    assert (record["objects"], record["labels"], record["settings"]["parameters"]["link"]) == (2, 10, "z")
    assert record["parameters_used"]["pred_iou_thresh"] == pytest.approx(0.78)
    opened = read_label_volume(terminal.out / "v_labels.ome.zarr").table
    assert opened is not None  # row 0 is the background, the others are the objects
    assert opened["volume"].tolist()[1:] == objects["volume"].tolist()


def test_fewer_planes_and_gaps_are_flags(terminal: Terminal) -> None:
    data = VOLUME.copy()
    data[4] = 0
    for flags, count in (([], 2), (["--min-planes", "1"], 4), (["--link-gap", "1"], 2)):
        assert terminal.segment(volume(terminal, data=data), "--link", "z", "--overwrite", *flags) == 0
        assert len(table(terminal, "v_objects.csv")) == count
    assert table(terminal, "v_objects.csv")["planes"].tolist() == [5, 5]
    assert table(terminal, "v_features.csv").query("plane == 4")["filled"].tolist() == [1, 1]
    assert terminal.segment(volume(terminal, data=data), "--link", "z", "--link-iou", "1.5") == 1
    assert "link_iou=1.5 is out of range: allowed is 0 to 1" in terminal.lines()[1][-1]


def test_evaluate_takes_them_as_volumes(terminal: Terminal) -> None:
    assert terminal.segment(volume(terminal), "--link", "z", "--quiet") == 0
    truth = terminal.folder / "truth"
    truth.mkdir()
    tifffile.imwrite(truth / "v_labels.tif", tifffile.imread(terminal.out / "v_labels.tif"))
    csv = terminal.folder / "scores.csv"
    assert main(["evaluate", str(terminal.out), str(truth), "--csv", str(csv)]) == 0
    row = pd.read_csv(csv).iloc[0]
    assert (row["true_objects"], row["ap_50"], row["rated_labels"]) == (2, 1.0, 2)


MOTHER = [blobs(discs=((60, 50, 16), (20, 20, 7)))] * 3
DAUGHTERS = [blobs(discs=((49, 50, 9), (71, 50, 9), (20, 20, 7)))] * 2


def test_through_time_there_are_tracks(terminal: Terminal) -> None:
    path = volume(terminal, data=np.stack([*MOTHER, *DAUGHTERS]), axes="TYX")
    assert terminal.segment(path, "--link", "t") == 0
    assert "4 objects through time, 12 cross-sections in " in terminal.lines()[0][0]
    assert set(terminal.written()) >= {"v_objects.csv", "v_tracks.csv", "v_res_track.txt"}
    labels, objects = tifffile.imread(terminal.out / "v_labels.tif"), table(terminal, "v_objects.csv")
    mother = int(labels[0, 50, 60])
    tracks = [list(map(int, line.split())) for line in (terminal.out / "v_res_track.txt").read_text().splitlines()]
    assert tracks == [
        [id, first, last, parent]
        for id, first, last, parent in objects[["index", "first_plane", "last_plane", "parent"]].to_numpy().tolist()
    ]
    assert sorted(tracks[2:]) == [[3, 3, 4, mother], [4, 3, 4, mother]]
    points = table(terminal, "v_tracks.csv")
    assert list(points.columns) == ["id", "t", "y", "x"]
    for id, t, y, x in points.to_numpy():
        assert labels[int(t), round(y), round(x)] == id
    assert len(points) == 12


def test_what_moves_too_far_is_said(terminal: Terminal) -> None:
    data = np.stack([blobs(discs=((12 + 24 * at, 40, 8),)) for at in range(5)])
    assert terminal.segment(volume(terminal, data=data, axes="TYX"), "--link", "t") == 0
    assert "5 of 5 objects are in one plane only: what moves by more than its size" in terminal.lines()[0][0]
    slow = np.stack([blobs(discs=((30 + at, 40, 12),)) for at in range(5)])
    assert terminal.segment(volume(terminal, "slow.tif", slow, axes="TYX"), "--link", "t") == 0
    assert "in one plane only" not in terminal.lines()[0][0]


def test_images_without_that_axis_are_named_and_the_others_done(terminal: Terminal) -> None:
    timed, single = volume(terminal, "t.tif", axes="TYX"), terminal.png("a.png")
    assert terminal.segment(single, timed, volume(terminal), "--link", "z") == 1
    out, err = terminal.lines()
    assert len(out) == 1
    assert "link='z' needs a stack, and this is a single plane: choose link='none'" in err[0]
    assert "needs a stack with one axis 'z', and this one has the axes T" in err[1]
    assert terminal.written() == ["v_features.csv", "v_labels.tif", "v_objects.csv", "v_run.json"]


def test_planes_of_other_axes_are_linked_along_the_third(terminal: Terminal) -> None:
    data = np.zeros((40, 96, 64), np.uint8)
    data[10:30, 30:36, 20:40] = 200  # a block
    assert terminal.segment(volume(terminal, data=data), "--link", "z", "--plane", "ZX") == 0
    labels, objects = tifffile.imread(terminal.out / "v_labels.tif"), table(terminal, "v_objects.csv")
    assert labels.shape == data.shape
    assert (objects.loc[0, "first_plane"], objects.loc[0, "last_plane"]) == (30, 35)
    for axis, letter in enumerate("zyx"):
        assert objects.loc[0, f"centroid_{letter}"] == pytest.approx(np.nonzero(labels == 1)[axis].mean())
        assert objects.loc[0, f"centroid_{letter}_um"] == objects.loc[0, f"centroid_{letter}"] * (2, 0.5, 0.5)[axis]


def test_the_built_in_model_finds_objects_through_a_stack(tmp_path: Path) -> None:
    """Two balls, one after another, noise, and empty planes around them."""
    z, y, x = np.mgrid[:9, :64, :64]
    balls = [((z - at) * 2.5) ** 2 + (y - row) ** 2 + (x - column) ** 2 < 11**2 for at, row, column in
             ((3, 20, 20), (5, 44, 44))]  # fmt: skip
    image = np.random.default_rng(0).normal(100, 8, z.shape) + 900 * (balls[0] | balls[1])
    image[0] = image[8] = 0
    tifffile.imwrite(tmp_path / "balls.tif", image.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    out = tmp_path / "out"
    assert main(["segment", str(tmp_path / "balls.tif"), "--output", str(out), "--link", "z", "--quiet"]) == 0
    labels = tifffile.imread(out / "balls_labels.tif")
    for ball in balls:
        inside = ball.copy()
        inside[[0, 8]] = False
        ids, pixels = np.unique(labels[inside], return_counts=True)
        found = labels == ids[ids > 0][pixels[ids > 0].argmax()]
        assert (found & inside).sum() / (found | inside).sum() > 0.6
    assert len(pd.read_csv(out / "balls_objects.csv")) == labels.max() <= 3
