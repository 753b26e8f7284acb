"""The table of a labels layer: its rows as objects have them, and as napari wants them. Free of torch."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.table import BACKGROUND_ID
from napari_sam_amg.review.rows import has_values, placed


def object_rows(features: pd.DataFrame) -> pd.DataFrame:
    """The rows of objects alone, in order of id: without the background, and without ids that are nowhere."""
    if "index" not in features:
        return pd.DataFrame({"index": np.empty(0, np.int64)})
    # a table of nothing but ids has no objects
    there = (features["index"].to_numpy() > BACKGROUND_ID) & has_values(features) & (features.shape[1] > 1)
    rows = features[there]
    if rows["index"].dtype != np.int64:
        rows = rows.astype({"index": np.int64})
    is_sorted = rows["index"].is_monotonic_increasing
    return rows.reset_index(drop=True) if is_sorted else rows.sort_values("index", ignore_index=True)


def layer_features(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each id from 0 on, NaN where there is no object: napari takes a row's number for the label.

    Floats are 64-bit, since napari's status bar takes no other NaN.
    """
    ids = rows["index"].to_numpy(np.int64)
    length = 1 + int(ids.max(initial=BACKGROUND_ID))
    names = [name for name in rows.columns if name != "index"]
    columns = {"index": np.arange(length)} | placed([(rows, ids)], length, names)
    return pd.DataFrame({name: as_float64(values) for name, values in columns.items()})


def as_float64(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return values.astype(np.float64) if values.dtype == np.float32 else values


def beside(rest: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The layer's table of the rows of several runs, whose ids differ."""
    parts = [part.astype(dict.fromkeys(part.select_dtypes("float32").columns, "float64")) for part in (rest, new)]
    rows = pd.concat([part for part in parts if len(part)] or parts[1:], ignore_index=True)
    return layer_features(rows.sort_values("index", ignore_index=True))


def with_rows(table: pd.DataFrame, new: pd.DataFrame, changed: NDArray[np.integer]) -> pd.DataFrame:
    """``table`` with the rows ``new`` in place of their own and of those of the ids that ``changed``.

    Columns that ``new`` has not (what was measured on demand) keep their values for objects none of whose pixels
    changed, and are NaN for the others, until they are measured again.
    """
    before, ids = table["index"].to_numpy(np.int64), new["index"].to_numpy(np.int64)
    is_same = ~np.isin(before, changed)
    rest = table[is_same & ~np.isin(before, ids)]
    order = np.sort(np.concatenate([rest["index"].to_numpy(np.int64), ids]))
    parts = [(rest, np.searchsorted(order, rest["index"].to_numpy(np.int64))), (new, np.searchsorted(order, ids))]
    if more := [name for name in table.columns if name not in new.columns]:
        kept = table.loc[is_same & np.isin(before, ids), ["index", *more]]
        parts.append((kept[more], np.searchsorted(order, kept["index"].to_numpy(np.int64))))
    names = dict.fromkeys([*(table.columns if len(rest) else ()), *new.columns, *more])
    return pd.DataFrame({"index": order} | placed(parts, len(order), [name for name in names if name != "index"]))
