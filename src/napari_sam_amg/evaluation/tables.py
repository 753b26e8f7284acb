"""Scores as a table to read, and as CSV and JSON with every figure."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam_amg.evaluation.report import DatasetScore, of_all
from napari_sam_amg.evaluation.scores import THRESHOLDS, Score
from napari_sam_amg.io.discover import BadInput

Figures = dict[str, float]

#: Titles in the table to read, of the figures that it shows.
_TITLES = {
    "images": "images",
    "true_objects": "objects",
    "found_objects": "found",
    "ap_50": "AP@.5",
    "ap_75": "AP@.75",
    "mean_ap_50_90": "mean AP .5:.9",
    "precision_50": "precision",
    "recall_50": "recall",
    "f1_50": "F1",
    "matched_iou_50": "matched IoU",
    "seg": "SEG",
    "iou_correlation": "r(IoU)",
    "iou_error": "IoU error",
}
_PLACE = ("level", "data_set", "image")  # columns of the CSV that say what a row is about


def figures(score: Score, images: int = 1) -> Figures:
    """Every count and measure by name; those of the predicted IoU only where it is known."""
    found: Figures = {
        "images": images,
        "true_objects": score.true_objects,
        "found_objects": score.found_objects,
    }
    percents = [round(100 * threshold) for threshold in THRESHOLDS]
    found |= {f"matched_{percent}": count for percent, count in zip(percents, score.matched, strict=True)}
    found |= {f"ap_{percent}": score.ap(at) for percent, at in zip(percents, THRESHOLDS, strict=True)}
    found |= {
        "mean_ap_50_90": score.mean_ap(0.9),
        "mean_ap_50_95": score.mean_ap(0.95),
        "precision_50": score.precision(),
        "recall_50": score.recall(),
        "f1_50": score.f1(),
        "matched_iou_50": score.mean_matched_iou,
        "seg": score.seg,
    }
    if score.calibration is not None:
        found["rated_labels"] = len(score.calibration.predicted)
        found["iou_correlation"] = score.calibration.correlation
        found["iou_error"] = score.calibration.mean_error
    return found


def markdown(datasets: Sequence[DatasetScore], with_images: bool = False) -> str:
    """An aligned table: a row for each data set, with its images below if wanted, and one for all of several."""
    rows: list[tuple[str, Figures]] = []
    for dataset in datasets:
        rows.append((dataset.name, _pooled(dataset)))
        if with_images:
            rows += [(f"{dataset.name}: {image.name}", figures(image.score)) for image in dataset.images]
    taken = {dataset.name for dataset in datasets}
    rows += [(f"{name} data sets" if name in taken else name, row) for name, row in _all_row(datasets)]
    titles = {key: title for key, title in _TITLES.items() if any(key in row for _, row in rows)}
    cells = [["data set", *titles.values()]]
    cells += [[_escaped(name), *(_cell(row.get(key, math.nan)) for key in titles)] for name, row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [_line(row, widths) for row in cells]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], _line(rule, widths), *lines[1:]])


def write_csv(path: Path, datasets: Sequence[DatasetScore]) -> None:
    """One row for each image, each data set, and all; cells are empty where a measure is undefined."""
    rows: list[dict[str, Any]] = []
    for dataset in datasets:
        rows += [{**_place("image", image.dataset, image.name), **figures(image.score)} for image in dataset.images]
        rows.append({**_place("data set", dataset.name), **_pooled(dataset)})
    rows += [{**_place(name, ""), **row} for name, row in _all_row(datasets)]
    columns = max(rows, key=len).keys()  # those of the predicted IoU come last, and not for every image
    # a name of a file need not be text
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows({key: "" if _is_undefined(value) else value for key, value in row.items()} for row in rows)


def write_json(
    path: Path, datasets: Sequence[DatasetScore], failures: Sequence[BadInput], settings: Mapping[str, Any]
) -> None:
    """The same, with what was asked for and what failed; null where a measure is undefined."""
    content = {
        **settings,
        "thresholds": THRESHOLDS,
        "data_sets": [
            {
                "data_set": dataset.name,
                **_nulled(_pooled(dataset)),
                "per_image": [{"image": image.name, **_nulled(figures(image.score))} for image in dataset.images],
            }
            for dataset in datasets
        ],
        **{name: _nulled(row) for name, row in _all_row(datasets)},
        "failures": [{"path": str(failure.path), "reason": failure.reason} for failure in failures],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")


def _all_row(datasets: Sequence[DatasetScore]) -> list[tuple[str, Figures]]:
    """Name and figures of the pool, if there is one."""
    everything = of_all(datasets)
    return [] if everything is None else [(everything.name, _pooled(everything))]


def _pooled(dataset: DatasetScore) -> Figures:
    return figures(dataset.score, len(dataset.images))


def _place(level: str, dataset: str, image: str = "") -> dict[str, str]:
    return dict(zip(_PLACE, (level, dataset, image), strict=True))


def _nulled(row: Figures) -> dict[str, float | None]:
    return {key: None if _is_undefined(value) else value for key, value in row.items()}


def _is_undefined(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _cell(value: float) -> str:
    if _is_undefined(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _escaped(name: str) -> str:
    return name.replace("|", "\\|")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return f"| {' | '.join([cells[0].ljust(widths[0]), *numbers])} |"
