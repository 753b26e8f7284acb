"""The table of a labels layer: its rows as objects have them, and as napari wants them. Free of torch."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.table import BACKGROUND_ID, rows_up_to


def object_rows(features: pd.DataFrame) -> pd.DataFrame:
    """The rows of objects alone, in order of id: without the background, and without ids that are nowhere."""
    if "index" not in features:
        return pd.DataFrame({"index": np.empty(0, np.int64)})
    columns = [name for name in features.columns if name != "index"]
    rows = features[(features["index"] > BACKGROUND_ID) & features[columns].notna().any(axis=1)]
    return rows.astype({"index": np.int64}).sort_values("index", ignore_index=True)


def layer_features(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each id from 0 on, NaN where there is no object: napari takes a row's number for the label.

    Floats are 64-bit, since napari's status bar takes no other NaN.
    """
    features = rows_up_to(int(rows["index"].max()) if len(rows) else BACKGROUND_ID, rows)
    return features.astype(dict.fromkeys(features.select_dtypes("float32").columns, "float64"))


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
    rest = table[~table["index"].isin({*changed.tolist(), *new["index"]})]
    more = [name for name in table.columns if name not in new.columns]
    if more:
        kept = table.loc[~table["index"].isin(changed), ["index", *more]]
        new = new.merge(kept, on="index", how="left")
    parts = [part for part in (rest, new) if len(part)] or [new]
    joined = pd.concat(parts, ignore_index=True).sort_values("index", ignore_index=True)
    return joined[["index", *(name for name in joined.columns if name != "index")]]
