import pandas as pd
import pytest

from napari_sam_amg.io.merged_tables import is_merged, merge_tables


@pytest.fixture
def tables(tmp_path):
    """Two tables with columns of their own, and one without rows."""
    contents = {
        "a": "index,area,predicted_iou\n1,20,0.9000000357627869\n2,30,0.5\n",
        "b": "index,plane,area\n1,0,7\n",
        "none": "index,area\n",
    }
    for name, text in contents.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return [(f"{name}.tif", tmp_path / f"{name}.csv") for name in contents]


def test_rows_of_all_tables_lie_below_each_other_as_they_were_written(tables, tmp_path):
    merge_tables(tables, tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().splitlines() == [
        "file,index,area,predicted_iou,plane",
        "a.tif,1,20,0.9000000357627869,",
        "a.tif,2,30,0.5,",
        "b.tif,1,7,,0",
    ]


def test_no_table_gives_a_table_without_rows(tables, tmp_path):
    merge_tables([], tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().splitlines() == ["file"]
    merge_tables(tables[2:], tmp_path / "all.csv")
    assert list(pd.read_csv(tmp_path / "all.csv").columns) == ["file", "index", "area"]


@pytest.mark.parametrize("name", ['a "b", c.tif', "Zelle\u00fc.tif", "two\nlines.tif"])
def test_any_name_of_a_file_can_be_read_back(name, tables, tmp_path):
    merge_tables([(name, tables[0][1])], tmp_path / "all.csv")
    assert set(pd.read_csv(tmp_path / "all.csv")["file"]) == {name}


def test_a_merged_table_is_known(tables, tmp_path):
    merge_tables(tables, tmp_path / "all.csv")
    (tmp_path / "empty.csv").touch()
    assert is_merged(tmp_path / "all.csv")
    assert not is_merged(tables[0][1])
    assert not is_merged(tmp_path / "empty.csv")
