"""Labels with all that is known of them, in three files: the label image, its table, and a record of both.

They are those of the command line, NAME_labels.tif, NAME_features.csv and NAME_run.json, or, where the image is called
otherwise, NAME.tif, NAME_features.csv and NAME.json.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.io.discover import FEATURES_ENDING, LABELS_ENDING, RECORD_ENDING, file_stem
from napari_sam_amg.io.feature_table import read_table, write_table
from napari_sam_amg.io.labels_tiff import LabelsTiff
from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.io.raw_image import RawImage, SourceImage
from napari_sam_amg.io.staging import settle, staged
from napari_sam_amg.provenance import sizes, unchanged, write_record

FORMAT = "napari-sam-amg/labels/1"
SUFFIXES = (".tif", ".tiff")
HIGHEST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True, eq=False)
class SavedLabels:
    """A label image, its table and its record."""

    labels: Any  # array-like (..., Y, X) of integers, read plane by plane
    axes: str  # a letter for each axis: T, Z, C, Y, X as ImageJ and OME have them, Q for any other
    features: pd.DataFrame
    record: Mapping[str, Any]  # as JSON has it
    pixel_size: tuple[float, float] | None = None  # (y, x) in micrometres
    z_spacing: float | None = None  # micrometres
    interval: float | None = None  # seconds from one point in time to the next


@dataclass(frozen=True, slots=True)
class _Grid:
    """A stack of planes of any size, which :class:`PlaneStack` would refuse to segment."""

    stack_shape: tuple[int, ...]
    plane_size: tuple[int, ...]


def label_files(image: Path) -> list[Path]:
    """The three files of labels whose image is called so, the record last."""
    if image.name.endswith(LABELS_ENDING):
        base, ending = image.name.removesuffix(LABELS_ENDING), RECORD_ENDING
    else:
        base, ending = file_stem(image), ".json"
    return [image, image.with_name(base + FEATURES_ENDING), image.with_name(base + ending)]


def image_of(path: Path) -> Path | None:
    """The label image that a path means: itself, or that beside a record. None if there is none."""
    if path.suffix.lower() in SUFFIXES:
        return path if path.is_file() else None
    if path.name.endswith(RECORD_ENDING):
        candidates = [path.with_name(path.name.removesuffix(RECORD_ENDING) + LABELS_ENDING)]
    else:
        candidates = [path.with_suffix(suffix) for suffix in SUFFIXES]
    return next((image for image in candidates if image.is_file()), None)


def record_of(image: Path) -> dict[str, Any] | None:
    """The record beside a label image; None if there is none, or one that is none of ours."""
    return _own_record(label_files(image)[-1])


def _own_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    is_ours = record.get("format") == FORMAT or {"settings", "input", "outputs"} <= record.keys()
    return record if is_ours else None


def write_label_files(image: Path, saved: SavedLabels) -> list[Path]:
    """Write all three, whole or not at all; they replace those of an earlier time.

    Raises ``ValueError`` for labels that no label image can hold, and where something else would be replaced.
    """
    if image.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{image} is not allowed: labels are saved in files that end in {' or '.join(SUFFIXES)}")
    if 0 in saved.labels.shape:
        raise ValueError(f"labels of shape {tuple(saved.labels.shape)} cannot be saved: they have no pixels")
    targets = label_files(image)
    settle(targets)
    _check_free(targets)
    older = older_outputs(image)
    with staged(targets) as folder:
        new = [folder / target.name for target in targets]
        _write_image(new[0], saved)
        record = {"format": FORMAT, **saved.record, "table": write_table(new[1], saved.features)}
        record |= {
            "outputs": [path.name for path in (*targets, *older)],  # the older ones go with the next run's
            "output_bytes": sizes([*new[:2], *older]),
        }
        write_record(new[2], record)
    return targets


def older_outputs(image: Path) -> list[Path]:
    """What a run wrote beside these labels and is as it left it: of the labels as they were, if others are saved."""
    targets = label_files(image)
    named = map(str, (_own_record(targets[-1]) or {}).get("outputs", []))
    others = {name for name in named if Path(name).name == name} - {target.name for target in targets}
    return unchanged(targets[-1], [image.with_name(name) for name in sorted(others)])[0]


def _check_free(targets: list[Path]) -> None:
    """The image is the user's to replace, who has chosen its name; what lies beside it must be ours."""
    record = _own_record(targets[-1])
    vouched = set() if record is None else {targets[-1].name, *map(str, record.get("outputs", []))}
    for target in targets[1:]:
        if os.path.lexists(target) and target.name not in vouched:
            raise ValueError(
                f"{target} is in the way: it was not saved with labels, move it away or choose another name"
            )


def _write_image(path: Path, saved: SavedLabels) -> None:
    shape = tuple(int(length) for length in saved.labels.shape)
    times = {} if saved.interval is None else {"T": Spacing(saved.interval, "second")}
    raw = RawImage(saved.labels, saved.axes, saved.pixel_size, saved.z_spacing, times)
    grid = cast(PlaneStack, _Grid(shape[:-2], shape[-2:]))
    tiff = LabelsTiff(path, SourceImage(grid, saved.axes[:-2], raw, None, ""), saved.pixel_size)
    for index in np.ndindex(shape[:-2]):
        tiff.add_rows(index, checked_plane(saved.labels, index))
    tiff.finish()


def checked_plane(labels: Any, index: tuple[int, ...]) -> NDArray[Any]:
    """One plane of labels; ``ValueError`` for such that no label image can hold."""
    plane = np.asarray(labels[index])
    lowest, highest = int(plane.min(initial=0)), int(plane.max(initial=0))
    if lowest < 0 or highest > HIGHEST:
        bad = lowest if lowest < 0 else highest
        raise ValueError(f"label {bad} cannot be saved: allowed are 0 to {HIGHEST}")
    return plane


def read_label_files(image: Path) -> SavedLabels:
    """What was written; labels in the type of the file, sizes in the record alone.

    ``ValueError`` or ``OSError`` if it cannot be read.
    """
    record = record_of(image)
    if record is None:
        raise ValueError(f"{image} has no record of napari-sam-amg beside it: {label_files(image)[-1]}")
    with tifffile.TiffFile(image) as tiff:
        labels, axes = tiff.series[0].asarray(), tiff.series[0].axes
    if labels.dtype.kind not in "ui":
        raise ValueError(f"{image} is no label image: its pixels are of type {labels.dtype}")
    return SavedLabels(labels, axes, _features(label_files(image)[1], record), record)


def _features(path: Path, record: Mapping[str, Any]) -> pd.DataFrame:
    """The table, empty if there is none."""
    if not path.is_file():
        return pd.DataFrame()
    try:
        return read_table(path, record.get("table"))
    except (ValueError, KeyError) as error:
        raise ValueError(
            error if str(path.parent) in str(error) else f"{path} is no table of labels: {error}"
        ) from error


def changed_since(image: Path, record: Mapping[str, Any]) -> list[str]:
    """Names of the files that are not as the record has them, by their size, as after an edit in another program."""
    known = record.get("output_bytes", {})
    files = [file for file in label_files(image)[:2] if file.name in known and file.is_file()]
    return [file.name for file in files if file.stat().st_size != known[file.name]]
