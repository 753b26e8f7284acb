"""What is written is what was found, in the formats that are promised."""

import dataclasses
import itertools
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

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.amg.table import joined
from napari_sam_amg.io import labels_tiff
from napari_sam_amg.io.exports import CocoJson, FeaturesCsv, MaskFolder, OverlayPng
from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.labels_tiff import LabelsTiff
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
        labels = series.asarray()
    for result in results:
        np.testing.assert_array_equal(labels[result.index], result.labels)
    assert [path.name for path in tmp_path.iterdir()] == ["a_labels.tif"]


Case = tuple[str, int, tuple[float, float] | None, float | None]
ALL_AXES = ("YX", "ZYX", "TYX", "CYX", "TZYX", "ZTYX", "TZCYX", "QYX", "IYX", "SYX", "QQYX", "ZQYX", "AZYX", "T1YX")
SIZES = (None, (0.5, 0.25), (0.065, 0.065), (1e-12, 3.0), (1e13, 1e13))
CASES = list(itertools.product(ALL_AXES, (3, 70000), SIZES, (None, 0.3)))


def write_case(axes: str, highest: int, size: tuple[float, float] | None, z_spacing: float | None, path: Path) -> Any:
    """Labels with these axes, "1" being one of length 1, written in reverse order of planes."""
    shape = tuple(1 if axis == "1" else 2 + place for place, axis in enumerate(axes[:-2]))
    labels = np.random.default_rng(0).integers(0, highest + 1, (*shape, 9, 11)).astype(np.int32)
    labels[..., 0, 0] = highest
    letters = axes.replace("1", "Z")
    raw = RawImage(labels.astype(np.uint16), letters, z_spacing=z_spacing)
    tiff = LabelsTiff(path, SourceImage(PlaneStack(raw.data), letters[:-2], raw, None, ""), size)
    for index in reversed(list(np.ndindex(shape))):
        tiff.add(plane_result(index, labels[index]))
    tiff.finish()
    return labels


def plane_result(index: tuple[int, ...], labels: Any) -> PlaneResult:
    return PlaneResult(index, labels, None, None, None)  # type: ignore[arg-type]  # no more is looked at


@pytest.mark.parametrize("axes", ALL_AXES)
def test_any_axes_and_sizes_are_read_back(axes: str, tmp_path: Path) -> None:
    path, meant = tmp_path / "a.tif", axes.replace("1", "Z")
    for _, highest, size, z_spacing in (case for case in CASES if case[0] == axes):
        labels = write_case(axes, highest, size, z_spacing, path)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.series[0].shape == labels.shape
            assert tiff.series[0].axes == meant
            np.testing.assert_array_equal(tiff.series[0].asarray(), labels)
        if set(axes[:-2]) <= set("TZ"):
            check_sizes(path, meant, size, z_spacing if "Z" in axes else None)


def check_sizes(path: Path, axes: str, size: tuple[float, float] | None, z_spacing: float | None) -> None:
    """As our reader and the two programs find them."""
    with open_image(path) as source:
        assert source.raw.axes == axes
        assert source.raw.pixel_size == (size if size is None else pytest.approx(size, rel=1e-6))
    with tifffile.TiffFile(path) as tiff:
        if tiff.is_imagej:
            assert tiff.imagej_metadata is not None
            assert tiff.imagej_metadata.get("spacing") == z_spacing
            assert tiff.imagej_metadata.get("unit") == (None if size is None else "um")
            assert size is not None or z_spacing is None  # z spacing without a unit would be pixels
        else:
            pixels: Any = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]["Pixels"]
            assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == size if size else "PhysicalSizeX" not in pixels
            assert pixels.get("PhysicalSizeZ") == z_spacing
            assert all(pixels[key] == "µm" for key in pixels if key.endswith("Unit"))


@pytest.mark.parametrize(
    ("axes", "highest", "kind"),
    [("ZYX", 3, "imagej"), ("ZYX", 70000, "ome"), ("ZTYX", 3, "ome"), ("QYX", 3, "shaped"), ("T1YX", 3, "shaped")],
)
def test_imagej_where_it_can_hold_it_else_ome(axes: str, highest: int, kind: str, tmp_path: Path) -> None:
    write_case(axes, highest, (0.5, 0.25), 2.0, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert [name for name in ("imagej", "ome", "shaped") if getattr(tiff, f"is_{name}")] == [kind]
        unit = 1 if kind == "imagej" else 10_000
        assert tiff.pages.first.get_resolution() == (4 * unit, 2 * unit)  # x first


def test_large_labels_are_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert labels_tiff._BIGTIFF_ABOVE + 2**25 < 2**32
    for above, is_big in ((3 * 9 * 11 * 2, False), (3 * 9 * 11 * 2 - 1, True)):
        monkeypatch.setattr(labels_tiff, "_BIGTIFF_ABOVE", above)
        labels = np.ones((3, 9, 11), np.int32)
        tiff = LabelsTiff(tmp_path / "a.tif", source_of(labels.astype(np.uint8)), (0.5, 0.5))
        for index in range(3):
            tiff.add(plane_result((index,), labels[index]))
        tiff.finish()
        with tifffile.TiffFile(tmp_path / "a.tif") as written:
            assert written.is_bigtiff == is_big
            assert not (is_big and written.is_imagej)  # ImageJ reads no BigTIFF
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), labels)


def test_planes_that_never_come_have_no_labels(tmp_path: Path) -> None:
    labels = np.arange(99, dtype=np.int32).reshape(9, 11)
    tiff = LabelsTiff(tmp_path / "a.tif", source_of(np.zeros((3, 9, 11), np.uint8)), None)
    tiff.add(plane_result((1,), labels + 5))
    tiff.add(plane_result((1,), labels))  # done again: the last counts
    tiff.finish()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), [labels * 0, labels, labels * 0])
    empty = LabelsTiff(tmp_path / "b.tif", source_of(np.zeros((9, 11), np.uint8)), None)
    empty.finish()
    assert not tifffile.imread(tmp_path / "b.tif").any()


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


def test_features_are_written_as_planes_come(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    results = results_of(source_of(np.stack([np.zeros_like(MOVED), blobs(), np.zeros_like(MOVED), MOVED])))
    csv, rows = FeaturesCsv(path), 0
    for result in results:
        csv.add(result)
        rows += len(result.features)
        assert len(pd.read_csv(path) if path.exists() else ()) == rows
    csv.finish()
    assert rows == 5
    # as one table of all planes would be
    assert path.read_text() == joined([result.features for result in results]).to_csv(index=False)


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
