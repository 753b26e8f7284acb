"""A table comes back from its file as it was, and with row numbers that are label ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg.io.feature_table import read_table, write_table


def test_rows_without_a_label_are_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("index,area,kind\n5,3,b\n2,7,a\n")
    table = read_table(path)
    assert table["index"].tolist() == list(table.index) == [0, 1, 2, 3, 4, 5]
    assert table["area"].tolist()[2::3] == [7, 3]
    assert table.drop(index=[2, 5]).drop(columns="index").isna().all(axis=None)


def test_no_labels_are_the_background_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("index,area\n")
    assert read_table(path)["index"].tolist() == [0]


@pytest.mark.parametrize("text", ["area\n3\n", "index,area\n1,2\n1,3\n", "index,area\n-1,2\n"])
def test_a_table_without_labels_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises((KeyError, ValueError), match=r"index"):
        read_table(tmp_path / "a.csv")


TABLES: dict[str, Any] = {
    "with background": {"index": [0, 1], "area": [np.nan, 3.0], "score": [np.nan, 1 / 3]},
    "background alone": {"index": [0], "area": [np.nan]},
    "background with a value": {"index": [0, 1], "area": [9.0, 3.0]},
    "first row is a label": {"index": [1, 2], "area": [np.nan, 3.0]},
    "no index": {"area": [np.nan, 3.0]},
    "no columns": {},
    "no rows": {"index": np.array([], int), "area": np.array([], float)},
    "large": {"index": [0, 1], "id": [np.nan, 2.0**60], "far": [np.nan, np.inf]},
    "index alone": {"index": [0, 1, 2]},
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame(TABLES[name])
    said = write_table(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.csv", said), table, check_index_type=False)


def test_whole_numbers_are_written_as_such(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", pd.DataFrame(TABLES["with background"]))
    assert (tmp_path / "a.csv").read_text().splitlines() == ["index,area,score", "1,3,0.3333333333333333"]
