"""The predicted IoU of every label, out of the features table that is written beside a label image."""

import csv
import math
from pathlib import Path

_ID, _IOU, _LINKED = "index", "predicted_iou", "link_iou"


def read_predicted_iou(path: Path) -> dict[int, float] | None:
    """By label id; NaN where the table has none. None if there is no such file, or no such column in it.

    Of objects through a stack, which have a row in each plane, the mean.

    Columns may be apart by commas, or by semicolons or tabs, as spreadsheets write them, with decimal commas.
    Raises ``ValueError`` for ids that are no integers or not unique, and values that are no numbers.
    """
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for delimiter in ",;\t":
                file.seek(0)
                table = csv.DictReader(file, delimiter=delimiter)
                if {_ID, _IOU} <= set(table.fieldnames or ()):
                    return _by_id(table, _LINKED in (table.fieldnames or ()))
            return None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"not a table of comma-separated values: {error}") from error


def _by_id(table: "csv.DictReader[str]", several: bool) -> dict[int, float]:
    predicted: dict[int, list[float]] = {}
    for row in table:
        try:
            label, iou = _id(row[_ID]), _number(row[_IOU])
        except (TypeError, ValueError):
            raise ValueError(
                f"line {table.line_num}: {_ID}={row[_ID]!r}, {_IOU}={row[_IOU]!r} is not allowed: "
                "expected an integer and a number"
            ) from None
        if label in predicted and not several:
            raise ValueError(f"line {table.line_num}: {_ID}={label} is there already: ids must be unique")
        predicted.setdefault(label, []).append(iou)
    return {label: _mean(values) for label, values in predicted.items()}


def _mean(values: list[float]) -> float:
    """Of those that are known: nothing is predicted of planes in which an object was filled in."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _id(text: str | None) -> int:
    """An integer, or 1.0, as pandas writes a column of ids once a cell of it was empty."""
    return int((text or "").removesuffix(".0"))


def _number(text: str | None) -> float:
    return float(text.replace(",", ".")) if text else math.nan
