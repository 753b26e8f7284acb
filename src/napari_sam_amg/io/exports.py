"""The files that hold a result. Each takes planes as they come, so that no stack lies in memory."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.planes import plane_number
from napari_sam_amg.amg.table import joined
from napari_sam_amg.io.overlay import draw_overlay
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.run import PlaneResult

_CENTIMETRE = 10_000.0  # micrometres
_BIGTIFF_ABOVE = 2**31  # bytes before compression
#: Columns of the reference's scripts/amg.py.
_METADATA_COLUMNS = (
    "id", "area", "bbox_x0", "bbox_y0", "bbox_w", "bbox_h", "point_input_x", "point_input_y", "predicted_iou",
    "stability_score", "crop_box_x0", "crop_box_y0", "crop_box_w", "crop_box_h",
)  # fmt: skip


class Export(Protocol):
    """A file in the making."""

    def add(self, result: PlaneResult) -> None: ...

    def finish(self) -> None: ...


class LabelsTiff:
    """A label image of the stack's shape: uint16, or uint32 above 65535 labels, zlib-compressed."""

    def __init__(self, path: Path, source: SourceImage, pixel_size: tuple[float, float] | None) -> None:
        self.path, self.axes, self.pixel_size = path, source.stack_axes + "YX", pixel_size
        self.shape = (*source.stack.stack_shape, *source.stack.plane_size)
        self.scratch = path.with_suffix(".raw")  # the highest label, and so the type, is known at the end only
        self.labels = np.memmap(self.scratch, np.int32, "w+", shape=self.shape)
        self.highest = 0

    def add(self, result: PlaneResult) -> None:
        self.labels[result.index] = result.labels
        self.highest = max(self.highest, int(result.labels.max()))

    def finish(self) -> None:
        dtype = np.uint16 if self.highest <= np.iinfo(np.uint16).max else np.uint32
        planes = (self.labels[index].astype(dtype) for index in np.ndindex(self.shape[:-2]))
        size = int(np.prod(self.shape)) * np.dtype(dtype).itemsize
        with tifffile.TiffWriter(self.path, bigtiff=size > _BIGTIFF_ABOVE) as writer:
            writer.write(
                planes, shape=self.shape, dtype=dtype, compression="zlib", photometric="minisblack",
                metadata={"axes": self.axes}, **self._resolution(),
            )  # fmt: skip
        del planes, self.labels
        self.scratch.unlink()

    def _resolution(self) -> dict[str, Any]:
        if self.pixel_size is None:
            return {}
        y, x = self.pixel_size
        return {"resolution": (_CENTIMETRE / x, _CENTIMETRE / y), "resolutionunit": "CENTIMETER"}


class FeaturesCsv:
    """The table of all labels, one row each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: list[pd.DataFrame] = []

    def add(self, result: PlaneResult) -> None:
        self.tables.append(result.features)

    def finish(self) -> None:
        joined(self.tables).to_csv(self.path, index=False)


class CocoJson:
    """A JSON list of records as the reference writes them; in a stack each says its plane as well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        path.write_text("[", "utf-8")

    def add(self, result: PlaneResult) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for record in result.masks.to_coco("coco_rle"):
                file.write((", " if self.count else "") + json.dumps(record | _plane_key(result.index)))
                self.count += 1

    def finish(self) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("]")


def _plane_key(index: tuple[int, ...]) -> dict[str, Any]:
    """The key "plane", if there is a stack."""
    return {"plane": plane_number(index)} if index else {}


class MaskFolder:
    """One black and white PNG for each mask, and metadata.csv; in a stack a folder for each plane."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def add(self, result: PlaneResult) -> None:
        folder = self.path / "_".join(["plane", *(f"{position:04d}" for position in result.index)])
        folder = folder if result.index else self.path
        folder.mkdir(exist_ok=True)
        for row in range(len(result.masks)):
            Image.fromarray(result.masks.frame(row).astype(np.uint8) * 255).save(folder / f"{row}.png")
        (folder / "metadata.csv").write_text(_metadata(result.masks), "utf-8")

    def finish(self) -> None:
        pass


def _metadata(masks: Masks) -> str:
    rows = [
        [
            row, record["area"], *record["bbox"], *record["point_coords"][0], record["predicted_iou"],
            record["stability_score"], *record["crop_box"],
        ]
        for row, record in enumerate(masks.to_coco("coco_rle"))
    ]  # fmt: skip
    return "\n".join(",".join(str(value) for value in row) for row in [_METADATA_COLUMNS, *rows])


class OverlayPng:
    """A picture of the labels over the image; of a stack, the first of the planes with most labels."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown: PlaneResult | None = None

    def add(self, result: PlaneResult) -> None:
        if result.image is not None and (self.shown is None or _shows(result) > _shows(self.shown)):
            self.shown = result

    def finish(self) -> None:
        if self.shown is not None and self.shown.image is not None:
            Image.fromarray(draw_overlay(self.shown.image, self.shown.labels)).save(self.path)


def _shows(result: PlaneResult) -> tuple[int, bool]:
    """How much there is to see: labels, or else an image that is not of one colour."""
    return len(result.features), not result.nothing
