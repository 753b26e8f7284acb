"""Rows put together column by column are as pandas puts them together."""

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg.review.rows import has_values, placed


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.mark.parametrize("length", [4, 6], ids=["full", "with gaps"])
def test_as_pandas_joins_them(length: int) -> None:
    one = table(
        whole=[1, 2], single=np.float32([0.5, 1]), text=["a", None], kind=pd.Categorical(["u", "v"]), old=[1, 2]
    )
    other = table(whole=[3, 4], single=np.float32([2, np.nan]), text=["b", "c"], kind=pd.Categorical(["v", "u"]))
    at = [np.array([3, 0]), np.array([1, 2])]
    names = ["whole", "single", "text", "kind", "old"]
    ours = pd.DataFrame(placed([(one, at[0]), (other, at[1])], length, names))
    theirs = pd.concat([one.set_axis(at[0]), other.set_axis(at[1])]).reindex(range(length))[names]
    pd.testing.assert_frame_equal(ours, theirs)
    assert ours["whole"].dtype == (np.int64 if length == 4 else np.float64)
    assert ours["single"].dtype == np.float32


def test_a_part_without_rows_decides_nothing() -> None:
    nothing = table(whole=np.empty(0, np.float64))
    columns = placed([(nothing, np.empty(0, int)), (table(whole=[1, 2]), np.array([0, 1]))], 2, ["whole"])
    assert columns["whole"].dtype == np.int64
    assert len(placed([(nothing, np.empty(0, int))], 0, ["whole"])["whole"]) == 0


def test_rows_that_hold_something() -> None:
    rows = table(index=[0, 1, 2, 3], area=[np.nan, 1, np.nan, np.nan], text=[None, None, "a", None])
    assert has_values(rows).tolist() == [False, True, True, False]
    assert has_values(table(index=[0, 1], area=[np.nan, 1.0], score=[0.5, 1.0])).tolist() == [True, True]
    assert has_values(table(index=[0, 1])).tolist() == [True, True]
    assert has_values(table(index=[0, 1], area=[np.nan, 1.0], score=[np.nan, 1.0])).tolist() == [False, True]
