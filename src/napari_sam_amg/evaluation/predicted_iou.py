"""The predicted IoU of every label, out of the features table that is written beside a label image."""

import csv
import math
from pathlib import Path

_ID, _IOU = "index", "predicted_iou"


def read_predicted_iou(path: Path) -> dict[int, float] | None:
    """By label id; NaN where the table has none. None if there is no such file, or no such column in it.

    Raises ``ValueError`` for ids that are no integers or not unique, and values that are no numbers.
    """
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if not {_ID, _IOU} <= set(table.fieldnames or ()):
                return None
            return _by_id(table)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"not a table of comma-separated values: {error}") from error


def _by_id(table: "csv.DictReader[str]") -> dict[int, float]:
    predicted: dict[int, float] = {}
    for row in table:
        try:
            label, iou = int(row[_ID]), float(row[_IOU] or math.nan)
        except (TypeError, ValueError):
            raise ValueError(
                f"line {table.line_num}: {_ID}={row[_ID]!r}, {_IOU}={row[_IOU]!r} is not allowed: "
                "expected an integer and a number"
            ) from None
        if label in predicted:
            raise ValueError(f"line {table.line_num}: {_ID}={label} is there already: ids must be unique")
        predicted[label] = iou
    return predicted
