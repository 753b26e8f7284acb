"""What is written of a plane that comes in parts is what is written of it as a whole."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam_amg.amg import tiled_plane
from napari_sam_amg.io import labels_tiff, labels_zarr
from napari_sam_amg.io.exports import CocoJson, FeaturesCsv, MaskFolder, OverlayPng
from napari_sam_amg.io.labels_tiff import LabelsTiff
from napari_sam_amg.io.labels_zarr import LabelsZarr
from napari_sam_amg.io.plane_file import PlaneFile
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import PlaneResult, segment_planes
from tests.disc_model import BlobModel, blobs
from tests.io.test_exports import EIGHT_BIT, export, source_of

PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5, tile_size=64, tile_halo=16)
PLANE = blobs((300, 200), [(x, y, 9) for x in (30, 64, 120, 170) for y in (20, 64, 100, 150, 210, 260)])
STACK = np.stack([PLANE, np.roll(PLANE, 11, axis=1)])


def results(image: Any) -> list[PlaneResult]:
    steps = segment_planes(source_of(image).stack, BlobModel(), PARAMS, intensities=EIGHT_BIT)
    return [step.result for step in steps if step.result is not None]


@pytest.fixture(params=[PLANE, STACK], ids=["plane", "stack"])
def both(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, list[PlaneResult], list[PlaneResult]]:
    whole = results(request.param)
    monkeypatch.setattr(tiled_plane, "WHOLE_PIXELS", 20_000)
    parts = results(request.param)
    assert len(parts) > 2 * len(whole)
    return source_of(request.param), whole, parts


def test_labels(both: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, whole, parts = both
    monkeypatch.setattr(labels_tiff, "WHOLE_PIXELS", 20_000)
    export(LabelsTiff(tmp_path / "a_labels.tif", source, (0.5, 0.25)), parts)
    with tifffile.TiffFile(tmp_path / "a_labels.tif") as tiff:
        page = tiff.pages.first
        assert (page.is_tiled, page.tile, page.compression.name) == (True, (256, 256), "ADOBE_DEFLATE")
        assert tiff.series[0].axes == source.raw.axes
        found = tiff.asarray()
    np.testing.assert_array_equal(found.reshape(-1, 300, 200), [plane.labels for plane in whole])
    assert not list(tmp_path.glob("*.planes"))


@pytest.mark.parametrize("side", [64, 128, 1024])
def test_labels_as_zarr(both: Any, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, whole, parts = both
    create = labels_zarr.LabelVolume.create
    monkeypatch.setattr(labels_zarr.LabelVolume, "create", lambda *given: create(*given, side=side))
    export(LabelsZarr(tmp_path / "labels.zarr", source), parts)
    found = zarr.open(tmp_path / "labels.zarr", mode="r")["0"][:]
    np.testing.assert_array_equal(found.reshape(-1, 300, 200), [plane.labels for plane in whole])


@pytest.mark.parametrize("maker", [FeaturesCsv, CocoJson])
def test_tables_and_records(both: Any, maker: Any, tmp_path: Path) -> None:
    _, whole, parts = both
    for name, some in (("whole", whole), ("parts", parts)):
        export(maker(tmp_path / name), some)
    assert (tmp_path / "whole").read_text() == (tmp_path / "parts").read_text()


def test_masks(both: Any, tmp_path: Path) -> None:
    _, whole, parts = both
    for name, some in (("whole", whole), ("parts", parts)):
        export(MaskFolder(tmp_path / name), some)
    files = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")}
    assert files == {path.relative_to(tmp_path / "parts") for path in (tmp_path / "parts").rglob("*.*")}
    assert len(files) > 20
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_overlay_is_made_of_every_nth_pixel(both: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole, parts = both
    shown = max(whole, key=lambda result: len(result.features))
    reduced = dataclasses.replace(shown, image=shown.image[::2, ::2], labels=shown.labels[::2, ::2])
    export(OverlayPng(tmp_path / "whole.png"), [reduced])
    assert tiled_plane.overview_step((300, 200)) == 2
    export(OverlayPng(tmp_path / "parts.png"), parts)
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / name)) for name in ("whole.png", "parts.png")))


def test_rows_of_a_plane_in_a_file(tmp_path: Path) -> None:
    labels = np.arange(70 * 50, dtype=np.int32).reshape(70, 50)
    file = PlaneFile(tmp_path / "planes", (2, 70, 50), (0, 1, 2))
    for start, stop in ((0, 20), (20, 21), (21, 60)):
        file.add((1,), labels[start:stop], (start, stop))
    first, second = file.pages()
    assert not first.any()
    np.testing.assert_array_equal(second, np.where(np.arange(70)[:, None] < 60, labels, 0))
    squares = list(file.tiles(32))
    assert {square.shape for square in squares} == {(32, 32)}
    np.testing.assert_array_equal(np.block([squares[6:8], squares[8:10], squares[10:12]])[:70, :50], second)
    file.add((1,), labels)  # again, whole
    np.testing.assert_array_equal(list(file.pages())[1], labels)


def test_a_large_image_without_labels_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_tiff, "WHOLE_PIXELS", 20_000)
    monkeypatch.setattr(tiled_plane, "WHOLE_PIXELS", 20_000)
    empty = np.zeros((300, 200), np.uint8)
    found = results(empty)
    export(LabelsTiff(tmp_path / "a_labels.tif", source_of(empty), None), found)
    export(FeaturesCsv(tmp_path / "a.csv"), found)
    assert not tifffile.imread(tmp_path / "a_labels.tif").any()
    assert len(pd.read_csv(tmp_path / "a.csv")) == 0
