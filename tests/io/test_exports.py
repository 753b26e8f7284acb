"""What is written is what was found, in the formats that are promised."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from segment_anything.utils.amg import coco_encode_rle, mask_to_rle_pytorch
from torch import as_tensor

from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.io.exports import CocoJson, FeaturesCsv, LabelsTiff, MaskFolder, OverlayPng
from napari_sam_amg.io.overlay import draw_overlay
from napari_sam_amg.io.raw_image import RawImage, SourceImage, choose_channel
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import PlaneResult, segment_planes
from tests.disc_model import BlobModel, blobs

EIGHT_BIT = IntensityRange(0, 255)
MOVED = blobs(discs=((40, 40, 10), (100, 70, 15)))
AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}


def source_of(image: Any) -> SourceImage:
    return choose_channel(RawImage(image, AXES[image.ndim]), None)


def results_of(source: SourceImage) -> list[PlaneResult]:
    params = AmgParameters(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5)
    steps = segment_planes(source.stack, BlobModel(), params, intensities=EIGHT_BIT)
    return [step.result for step in steps if step.result is not None]


def export(maker: Any, results: list[PlaneResult]) -> None:
    for result in results:
        maker.add(result)
    maker.finish()


@pytest.fixture(params=[blobs(), np.stack([blobs(), np.zeros_like(MOVED), MOVED]), np.stack([[blobs(), MOVED]])])
def source(request: pytest.FixtureRequest) -> SourceImage:
    return source_of(request.param)


def test_labels_keep_the_shape_and_axes(source: SourceImage, tmp_path: Path) -> None:
    results = results_of(source)
    export(LabelsTiff(tmp_path / "a_labels.tif", source, (0.5, 0.25)), results)
    with tifffile.TiffFile(tmp_path / "a_labels.tif") as tiff:
        series, page = tiff.series[0], tiff.pages.first
        assert series.axes == source.raw.axes
        assert series.dtype == np.uint16
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert len(tiff.pages) == len(results)
        assert page.get_resolution() == (40_000, 20_000)
        labels = series.asarray()
    for result in results:
        np.testing.assert_array_equal(labels[result.index], result.labels)
    assert [path.name for path in tmp_path.iterdir()] == ["a_labels.tif"]


@pytest.mark.parametrize(("highest", "dtype"), [(65535, np.uint16), (65536, np.uint32)])
def test_labels_are_as_wide_as_needed(highest: int, dtype: Any, tmp_path: Path) -> None:
    source = source_of(blobs())
    (result,) = results_of(source)
    labels = np.where(result.labels == 1, highest, result.labels).astype(np.int32)
    wide = PlaneResult((), labels, result.features, result.masks, result.params)
    export(LabelsTiff(tmp_path / "a.tif", source, None), [wide])
    written = tifffile.imread(tmp_path / "a.tif")
    assert written.dtype == dtype
    np.testing.assert_array_equal(written, labels)


def test_features_have_one_row_a_label(source: SourceImage, tmp_path: Path) -> None:
    results = results_of(source)
    export(FeaturesCsv(tmp_path / "a.csv"), results)
    table = pd.read_csv(tmp_path / "a.csv")
    ids = np.unique(np.concatenate([result.labels.ravel() for result in results]))
    assert table["index"].tolist() == ids[ids > 0].tolist()
    assert table["area"].sum() == sum(np.count_nonzero(result.labels) for result in results)


def test_features_of_nothing_have_a_header(tmp_path: Path) -> None:
    source = source_of(np.zeros((3, 40, 50), np.uint8))
    export(FeaturesCsv(tmp_path / "a.csv"), results_of(source))
    table = pd.read_csv(tmp_path / "a.csv")
    assert len(table) == 0
    assert {"index", "plane", "area"} <= set(table.columns)


def reference_records(result: PlaneResult) -> list[dict[str, Any]]:
    """What the reference's scripts/amg.py --convert-to-rle would write for these masks."""
    records = result.masks.to_coco("binary_mask")
    for record in records:
        (rle,) = mask_to_rle_pytorch(as_tensor(record["segmentation"])[None])
        record["segmentation"] = coco_encode_rle(rle)
    return records


def test_coco_is_what_the_reference_writes(tmp_path: Path) -> None:
    (result,) = results_of(source_of(blobs()))
    export(CocoJson(tmp_path / "a.json"), [result])
    assert len(result.masks) == 3
    assert (tmp_path / "a.json").read_text() == json.dumps(reference_records(result))


@pytest.mark.parametrize(
    ("stack", "planes"),
    [
        (np.stack([blobs(), np.zeros_like(MOVED), MOVED]), [0, 0, 0, 2, 2]),
        (np.stack([[blobs(), MOVED]]), [[0, 0]] * 3 + [[0, 1]] * 2),
    ],
)
def test_coco_of_a_stack_says_the_plane(stack: Any, planes: list[Any], tmp_path: Path) -> None:
    results = results_of(source_of(stack))
    export(CocoJson(tmp_path / "a.json"), results)
    records = json.loads((tmp_path / "a.json").read_text())
    assert [record.pop("plane") for record in records] == planes
    assert records == [record for result in results for record in reference_records(result)]


def test_coco_of_nothing_is_an_empty_list(tmp_path: Path) -> None:
    export(CocoJson(tmp_path / "a.json"), results_of(source_of(np.zeros((40, 50), np.uint8))))
    assert json.loads((tmp_path / "a.json").read_text()) == []


def reference_metadata(records: list[dict[str, Any]]) -> str:
    """As the reference's scripts/amg.py builds it."""
    lines = [
        "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,stability_score,"
        "crop_box_x0,crop_box_y0,crop_box_w,crop_box_h"
    ]
    for row, record in enumerate(records):
        values = [str(row), str(record["area"]), *[str(value) for value in record["bbox"]]]
        values += [str(value) for value in record["point_coords"][0]]
        values += [str(record["predicted_iou"]), str(record["stability_score"])]
        lines.append(",".join(values + [str(value) for value in record["crop_box"]]))
    return "\n".join(lines)


def check_folder(folder: Path, result: PlaneResult) -> None:
    assert (folder / "metadata.csv").read_text() == reference_metadata(result.masks.to_coco("coco_rle"))
    assert len(list(folder.glob("*.png"))) == len(result.masks)
    for row in range(len(result.masks)):
        written = np.asarray(Image.open(folder / f"{row}.png"))
        np.testing.assert_array_equal(written, result.masks.frame(row) * np.uint8(255))


def test_mask_folder_is_what_the_reference_writes(tmp_path: Path) -> None:
    (result,) = results_of(source_of(blobs()))
    export(MaskFolder(tmp_path / "masks"), [result])
    check_folder(tmp_path / "masks", result)


def test_mask_folder_of_a_stack_has_one_for_each_plane(tmp_path: Path) -> None:
    results = results_of(source_of(np.stack([blobs(), np.zeros_like(MOVED), MOVED])))
    export(MaskFolder(tmp_path / "masks"), results)
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["plane_0000", "plane_0001", "plane_0002"]
    for number, result in enumerate(results):
        check_folder(tmp_path / "masks" / f"plane_{number:04d}", result)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_overlay_shows_the_plane_with_most_labels(order: tuple[int, ...], tmp_path: Path) -> None:
    planes = [blobs(), np.zeros_like(MOVED), MOVED]
    results = results_of(source_of(np.stack([planes[at] for at in order])))
    export(OverlayPng(tmp_path / "a.png"), results)
    expected = draw_overlay(np.repeat(blobs()[..., None], 3, axis=2), results[order.index(0)].labels)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)


def test_overlay_without_labels_shows_an_image_with_something_in_it(tmp_path: Path) -> None:
    faint = blobs() // 4
    results = results_of(source_of(np.stack([np.zeros_like(faint), faint, np.zeros_like(faint)])))
    lost = dataclasses.replace(results[0], image=None, problem="lost")
    export(OverlayPng(tmp_path / "a.png"), [lost, *results])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png"))[..., 0], faint)


def test_overlay_leaves_the_background_and_outlines_labels() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:10], labels[5:15, 10:15] = 1, 2
    overlay = draw_overlay(image, labels)
    np.testing.assert_array_equal(overlay[labels == 0], 100)
    inside, outline, neighbour = overlay[10, 7], overlay[5, 7], overlay[5, 12]
    assert len({tuple(colour.tolist()) for colour in (inside, outline, neighbour)}) == 3
    np.testing.assert_array_equal(overlay[10, 9], outline)  # the side that faces the other label too
