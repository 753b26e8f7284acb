"""A layer's table of features as CSV, and back: for napari a row's number is the label, in a file a column is."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import (
    is_bool_dtype,
    is_datetime64_any_dtype,
    is_numeric_dtype,
    is_timedelta64_dtype,
    pandas_dtype,
)

from napari_sam_amg.amg.table import LINKED_COLUMN
from napari_sam_amg.io.discover import FEATURES_ENDING, OBJECTS_ENDING

INDEX = "index"  # the column of label ids
_MOST_GAPS = 10  # ids without a row for each id with one: more rows would be made than there are labels


def write_table(path: Path, features: pd.DataFrame) -> dict[str, Any]:
    """Write it as the command line writes its own; returns what CSV cannot say, for :func:`read_table`.

    A first row that stands for the background, with its id and nothing else, is left out.
    """
    rest = features.drop(columns=INDEX, errors="ignore")
    has_background = INDEX in features and len(features) > 0 and features[INDEX].iloc[0] == 0
    has_background = has_background and bool(rest.iloc[:1].isna().all(axis=None))
    table = features.iloc[int(has_background) :].apply(_shortest)
    # Python's writer does not quote a "\r" by itself, and every reader takes it for the end of the row
    table.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC if _holds(table, "\r") else csv.QUOTE_MINIMAL)
    return {
        "background_row": has_background,
        "types": {str(name): str(kind) for name, kind in features.dtypes.items()},
        "categories": {str(name): said for name, kind in features.dtypes.items() if (said := _categories(kind))},
    }


def _holds(table: pd.DataFrame, character: str) -> bool:
    texts = [column for _, column in table.items() if column.dtype.kind == "O"]
    return any(character in str(value) for column in [table.columns, *texts] for value in column)


def _categories(kind: Any) -> dict[str, Any] | None:
    """All that a categorical column may hold, as text; None of another column, and where the text is not unique."""
    if not isinstance(kind, pd.CategoricalDtype):
        return None
    values = [str(value) for value in kind.categories]
    if len(set(values)) < len(values):
        return None
    return {"type": str(kind.categories.dtype), "values": values, "ordered": bool(kind.ordered)}


def _shortest(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whole numbers as such: only the background's NaN makes floats of them. Categories as their own text."""
    if said := _categories(column.dtype):
        return column.cat.rename_categories(said["values"])
    if column.dtype.kind != "f" or not np.isfinite(column).all() or (column % 1).any() or (column.abs() > 2**53).any():
        return column
    return column.astype(np.int64)


def read_table(path: Path, said: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The table as it was, by what :func:`write_table` returned; without that, as the command line's."""
    if said is None:
        return read_run_table(path)
    types = dict(said.get("types", {}))
    try:
        # known types are made from the text: versions of pandas differ in how exactly they read floats
        table = pd.read_csv(path, dtype=str if types else None, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:  # a table without columns
        return pd.DataFrame()
    columns = {name: _as_type(column, types[name]) if name in types else column for name, column in table.items()}
    categories: dict[str, Any] = dict(said.get("categories", {}))
    for name, known in categories.items():
        if name in table:
            columns[name] = _in_categories(table[name], known)
    table = pd.DataFrame(columns)
    if not said.get("background_row"):
        return table
    background = pd.DataFrame({INDEX: [0]}).astype(table.dtypes[INDEX])
    return pd.concat([background, table], ignore_index=True)


def _in_categories(text: "pd.Series[Any]", known: Mapping[str, Any]) -> "pd.Series[Any]":
    """A categorical column; a table that was changed since, to hold others, has its own categories."""
    values = list(known["values"])
    if not text.dropna().isin(values).all():
        return text.astype("category")
    column = text.astype(pd.CategoricalDtype(values, known["ordered"]))
    return column.cat.rename_categories(list(_as_type(pd.Series(values, dtype=str), known["type"])))


def read_run_table(path: Path) -> pd.DataFrame:
    """The table NAME_features.csv of the command line, its row numbers the label ids.

    Row 0 is the background, and a label that has no row in the file has NaN. Where objects go through a stack its rows
    are their cross-sections, and those of NAME_objects.csv beside are read in their place. ``ValueError``, with the
    name of the file, for what is no such table.
    """
    try:
        table = pd.read_csv(path)
        if LINKED_COLUMN in table:
            path = path.with_name(path.name.removesuffix(FEATURES_ENDING) + OBJECTS_ENDING)
            table = pd.read_csv(path)
        return rows_by_label(table)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is no table of labels: {getattr(error, 'strerror', None) or error}") from error


def rows_by_label(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each id from 0 on, NaN where there is no such label: napari takes a row's number for the label's id.

    ``ValueError`` for ids that are no whole numbers from 1 on, or so far apart that most rows would be empty.
    """
    if INDEX not in table:
        raise ValueError("it has no column index")
    ids = table[INDEX].to_numpy()
    if len(ids) and (ids.dtype.kind not in "iu" or ids.min() < 1 or len(np.unique(ids)) < len(ids)):
        raise ValueError("the column index does not hold ids of labels: whole numbers from 1 on, each once")
    highest = int(ids.max(initial=0))
    if highest > _MOST_GAPS * max(len(ids), 100):
        raise ValueError(f"{len(ids)} rows do not reach up to label {highest}")
    return table.set_index("index").reindex(range(highest + 1)).rename_axis("index").reset_index()


def _as_type(text: "pd.Series[Any]", kind: str) -> "pd.Series[Any]":
    """A column of numbers, truth values, times or categories; any other type, text for one, is as it was read."""
    try:
        dtype: Any = pandas_dtype(kind)
    except TypeError:  # of another version of pandas
        return text
    if is_bool_dtype(dtype):
        return text.map({"True": True, "False": False}).astype(dtype)
    is_time = is_datetime64_any_dtype(dtype) or is_timedelta64_dtype(dtype)
    if is_numeric_dtype(dtype) or is_time or kind in ("category", "string"):
        return text.astype(dtype)
    return text
