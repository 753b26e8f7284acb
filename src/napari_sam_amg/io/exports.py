"""The files that hold a result. Each takes planes as they come, so that no stack lies in memory."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from PIL import Image

from napari_sam_amg.amg.coco import as_json
from napari_sam_amg.amg.masks import Masks, no_masks
from napari_sam_amg.amg.planes import plane_number
from napari_sam_amg.amg.table import joined
from napari_sam_amg.amg.tiled_plane import overview_step
from napari_sam_amg.io.overlay import draw_overlay
from napari_sam_amg.run import PlaneResult

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
