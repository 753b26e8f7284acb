"""The files that hold a result. Each takes planes as they come, so that no stack lies in memory."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from napari_sam_amg.amg.coco import as_json
from napari_sam_amg.amg.masks import Masks, no_masks
from napari_sam_amg.amg.planes import plane_number
from napari_sam_amg.amg.table import joined
from napari_sam_amg.amg.tiled_plane import WHOLE_PIXELS, overview_step
from napari_sam_amg.io.overlay import draw_overlay
from napari_sam_amg.io.plane_file import PlaneFile
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.run import PlaneResult

_CENTIMETRE = 10_000.0  # micrometres
_BIGTIFF_ABOVE = 2**31  # bytes before compression
_TILE = 256  # px of the tiles in which large planes are written
_SMALLEST_DENSITY = 1e-8  # pixels per unit, and its inverse the largest: TIFF has fractions of two 32-bit numbers
_TZC = "TZC"  # the axes that ImageJ and OME know besides Y and X, in ImageJ's order
_MASK_FILES = re.compile(r"\d+\.png|metadata\.csv|plane(_\d+)+")
#: Columns of the reference's scripts/amg.py.
_METADATA_COLUMNS = (
    "id", "area", "bbox_x0", "bbox_y0", "bbox_w", "bbox_h", "point_input_x", "point_input_y", "predicted_iou",
    "stability_score", "crop_box_x0", "crop_box_y0", "crop_box_w", "crop_box_h",
)  # fmt: skip


class Export(Protocol):
    """A file in the making."""

    path: Path

    def add(self, result: PlaneResult) -> None: ...

    def finish(self) -> None: ...


class LabelsTiff:
    """A label image of the stack's shape: uint16, or uint32 above 65535 labels, zlib-compressed.

    Planes come in any order; one that never comes has no labels. Large ones are written in tiles.
    Pixel size and z spacing are written as
    ImageJ has them, which Bio-Formats reads too; as OME-XML where ImageJ's files cannot hold the image.
    """

    def __init__(self, path: Path, source: SourceImage, pixel_size: tuple[float, float] | None) -> None:
        self.path, self.axes, self.pixel_size = path, source.axes, pixel_size
        self.z_spacing = source.raw.micrometres("Z") if "Z" in self.axes else None
        self.interval = source.raw.seconds if "T" in self.axes else None
        # The highest label, and so the type, is known at the end only: until then planes wait in a file.
        lengths = (*source.stack.stack_shape, *source.stack.plane_size)
        self.planes = PlaneFile(path.with_suffix(".planes"), lengths, source.own_order)
        self.shape = self.planes.shape
        self.is_tiled = math.prod(source.stack.plane_size) > WHOLE_PIXELS and self.axes[-2:] == source.plane_axes
        self.highest = 0

    def add(self, result: PlaneResult) -> None:
        self.planes.add(result.index, result.labels, result.rows)
        self.highest = max(self.highest, int(result.labels.max()))

    def finish(self) -> None:
        dtype = np.dtype(np.uint16 if self.highest <= np.iinfo(np.uint16).max else np.uint32)
        is_big = math.prod(self.shape) * dtype.itemsize > _BIGTIFF_ABOVE
        container, image = self._format(dtype, is_big or self.is_tiled)
        pages = self.planes.tiles(_TILE) if self.is_tiled else self.planes.pages()
        planes = (page.astype(dtype) for page in pages)
        if self.is_tiled:  # some rows at a time, each packed before the next is made
            image |= {"tile": (_TILE, _TILE), "maxworkers": 1}
        options: dict[str, Any] = {
            "bigtiff": is_big,
            "byteorder": "<",
            "imagej": container == "imagej",
            "ome": container == "ome",
        }
        with tifffile.TiffWriter(self.path, **options) as writer:
            writer.write(
                planes, shape=self.shape, dtype=dtype, compression="zlib", photometric="minisblack", **image
            )  # fmt: skip
        self.planes.delete()

    def _format(self, dtype: np.dtype[Any], is_big: bool) -> tuple[str, dict[str, Any]]:
        """Whose metadata the file has ("imagej", "ome" or tifffile's own, ""), and it as arguments for tifffile."""
        stack_axes, in_centimetres = self.axes[:-2], self._density(_CENTIMETRE, "CENTIMETER")
        spacing = {} if self.z_spacing is None else {"spacing": self.z_spacing}
        interval = {} if self.interval is None else {"finterval": self.interval}
        # Axes that neither format knows or that lie otherwise, or that readers would leave out, being of length 1
        is_known = set(stack_axes) <= set(_TZC) and len(set(stack_axes)) == len(stack_axes) and self.axes[-2:] == "YX"
        if not is_known or 1 in self.shape[:-2]:
            unit = {"unit": "um"} if spacing else {}
            return "", {"metadata": {"axes": self.axes} | unit | spacing | interval} | in_centimetres
        per_micrometre = self._density(1.0, "NONE")
        is_ordered = stack_axes == "".join(sorted(stack_axes, key=_TZC.index))
        says_all = per_micrometre or (self.pixel_size is None and self.z_spacing is None)  # one unit holds for x, y, z
        if dtype == np.uint16 and is_ordered and says_all and not is_big:
            unit = {"unit": "um"} if per_micrometre else {}
            return "imagej", {"metadata": {"axes": self.axes} | unit | spacing | interval} | per_micrometre
        sizes = dict(zip("YX", self.pixel_size or (), strict=False)) | {"Z": self.z_spacing}
        known = {f"PhysicalSize{axis}": size for axis, size in sizes.items() if size is not None}
        units = {f"{name}Unit": "µm" for name in known}
        time = {} if self.interval is None else {"TimeIncrement": self.interval, "TimeIncrementUnit": "s"}
        return "ome", {"metadata": {"axes": self.axes} | known | units | time} | in_centimetres

    def _density(self, unit: float, name: str) -> dict[str, Any]:
        """Pixels per ``unit`` micrometres along x and y, if it is known and the tags can hold it."""
        y, x = (unit / size for size in self.pixel_size or (math.inf, math.inf))
        if not _SMALLEST_DENSITY <= min(y, x) <= max(y, x) <= 1 / _SMALLEST_DENSITY:
            return {}
        return {"resolution": (x, y), "resolutionunit": name}


class FeaturesCsv:
    """The table of all labels, one row each, written as planes come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._empty: pd.DataFrame | None = None  # a table without rows: it gives the columns if there is no other
        self._has_rows = False

    def add(self, result: PlaneResult) -> None:
        if len(result.features):
            self._append(result.features, header=not self._has_rows)
            self._has_rows = True
        elif self._empty is None:
            self._empty = result.features

    def finish(self) -> None:
        if not self._has_rows and self._empty is not None:
            self._append(self._empty, header=True)

    def _append(self, table: pd.DataFrame, header: bool) -> None:
        table.to_csv(self.path, index=False, mode="a", header=header)


class CocoJson:
    """A JSON list of records as the reference writes them; in a stack each says its plane as well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        path.write_text("[", "utf-8")

    def add(self, result: PlaneResult) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for row, record in enumerate(result.masks.to_coco("coco_rle")):
                more = _plane_key(result.index) | _object_key(result, row)
                file.write((", " if self.count else "") + as_json(record | more))
                self.count += 1

    def finish(self) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("]")


def _plane_key(index: tuple[int, ...]) -> dict[str, Any]:
    """The key "plane", if there is a stack."""
    return {"plane": plane_number(index)} if index else {}


def _object_key(result: PlaneResult, row: int) -> dict[str, Any]:
    """The key "object", its id, if objects go through the stack: then there is a mask for each label."""
    return {} if result.objects is None else {"object": int(result.features["index"].iloc[row])}


def foreign_in(folder: Path) -> str:
    """What lies in a folder of masks and was not written by :class:`MaskFolder`; empty if there is nothing."""
    names = sorted(path.name for path in folder.iterdir())
    return next((name for name in names if not _MASK_FILES.fullmatch(name)), "")


class MaskFolder:
    """One black and white PNG for each mask, and metadata.csv; in a stack a folder for each plane."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._counts: dict[tuple[int, ...], int] = {}  # of masks of each plane so far: a large one comes in parts
        path.mkdir()

    def add(self, result: PlaneResult) -> None:
        folder = self.path / "_".join(["plane", *(f"{position:04d}" for position in result.index)])
        folder = folder if result.index else self.path
        folder.mkdir(exist_ok=True)
        first, is_new = self._counts.get(result.index, 0), result.index not in self._counts
        self._counts[result.index] = first + len(result.masks)
        for row in range(len(result.masks)):
            Image.fromarray(result.masks.frame(row).astype(np.uint8) * 255).save(folder / f"{first + row}.png")
        lines = [*([_METADATA_COLUMNS] if is_new else []), *_metadata(result.masks, first)]
        text = "\n".join(",".join(map(str, line)) for line in lines)
        with (folder / "metadata.csv").open("a", encoding="utf-8", newline="") as file:
            file.write(text if is_new or not lines else f"\n{text}")  # no line ends after the last, as the reference's

    def finish(self) -> None:
        pass


def _metadata(masks: Masks, first: int) -> list[list[Any]]:
    return [
        [
            first + row, record["area"], *record["bbox"], *record["point_coords"][0], record["predicted_iou"],
            record["stability_score"], *record["crop_box"],
        ]
        for row, record in enumerate(masks.to_coco("coco_rle"))
    ]  # fmt: skip


class OverlayPng:
    """A picture of the labels over the image; of a stack, the first of the planes with most labels.

    Of a plane in parts every n-th pixel, as its image has them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown: PlaneResult | None = None
        self._parts: list[PlaneResult] = []  # of one plane, their labels made smaller

    def add(self, result: PlaneResult) -> None:
        if result.rows is not None:
            step = overview_step(result.masks.size)
            some = result.labels[-result.rows[0] % step :: step, ::step].copy()
            self._parts.append(replace(result, labels=some, masks=no_masks(result.masks.size)))
            if not result.is_last:
                return
            labels = np.concatenate([part.labels for part in self._parts])
            features = joined([part.features for part in self._parts])
            result, self._parts = replace(result, labels=labels, features=features), []
        if result.image is not None and (self.shown is None or _shows(result) > _shows(self.shown)):
            self.shown = result

    def finish(self) -> None:
        if self.shown is not None and self.shown.image is not None:
            Image.fromarray(draw_overlay(self.shown.image, self.shown.labels)).save(self.path)


def _shows(result: PlaneResult) -> tuple[int, bool]:
    """How much there is to see: labels, or else an image that is not of one colour."""
    return len(result.features), not result.nothing
