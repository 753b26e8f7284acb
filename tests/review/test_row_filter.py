"""Which rows a filter keeps, what it may say, and how it says what is wrong."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg.review.row_filter import LONGEST, matching_rows

TABLE = pd.DataFrame(
    {
        "index": [1, 2, 3, 4],
        "area": [10.0, 60.0, 80.0, 200.0],
        "solidity": [0.9, 0.7, np.nan, 0.5],
        "origin": ["model", "drawn by hand", "model", None],
        "mean of nuclei": [1.0, 2.0, 3.0, 4.0],
        "keep": [True, False, True, False],
    }
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("area > 50 and solidity < .8", [2, 4]),
        ("area>50 or index==1", [1, 2, 3, 4]),
        ("50 < area <= 80", [2, 3]),
        ("not area > 50", [1]),
        ("area / 2 + 1 > 2 ** 5 - 1", [3, 4]),
        ("-area < -100", [4]),
        ("area % 60 == 20", [3, 4]),
        ("index in (1, 4)", [1, 4]),
        ("index not in [1, 4]", [2, 3]),
        ("index in ()", []),
        ("origin == 'drawn by hand'", [2]),
        ('origin != "model"', [2, 4]),
        ("`mean of nuclei` >= 3", [3, 4]),
        ("keep", [1, 3]),
        ("keep == False", [2, 4]),
        ("not keep and area > 100", [4]),
        ("solidity > 0 or solidity <= 0", [1, 2, 4]),
        ("True", [1, 2, 3, 4]),
        ("  (area > 50)  ", [2, 3, 4]),
        ("area > 50 and solidity < 0,8", [2, 4]),
        ("(solidity > ,6 and solidity < ,95) or index in (3,4)", [1, 2, 3, 4]),
        ("index in (1,4) and (area > 9,5 and not origin == '3,5')", [1, 4]),
    ],
)
def test_rows(text, ids):
    assert TABLE["index"][matching_rows(TABLE, text)].tolist() == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aera > 5", "no column 'aera'. Did you mean area\\? The columns are index, area, solidity"),
        ("`mean of nucleus` > 5", "no column 'mean of nucleus'. Did you mean mean of nuclei"),
        ("area", "compares nothing"),
        ("area = 5", "write =="),
        ("area >", "cannot be read"),
        ("", "cannot be read"),
        ("area > 5)", "cannot be read at '\\)'"),
        ("area > 50 & keep", "'and', 'or' and 'not'"),
        ("~keep", "'and', 'or' and 'not'"),
        ("origin > 5", "origin is text and 5 is a number"),
        ("origin < 'm'", "by == and != alone"),
        ("area and keep", "area is a number, and a condition is needed"),
        ("origin + 1 > 2", "origin is text, and a number is needed"),
        ("area in 5", "in brackets"),
        ("area is 5", "'is' is not allowed"),
        ("area > None", "None is not allowed"),
        ("area > 1j", "1j is not allowed"),
    ],
)
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(ValueError, match=words):
        matching_rows(TABLE, text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "area.sum() > 5",
        "area.__class__ == 1",
        "[x for x in (1, 2)] == 1",
        "(lambda: 1)() == 1",
        "area[0] > 1",
        "f'{area}' == 'a'",
        "(area := 5) > 1",
        "open",
        "area if keep else 1",
        "*area",
        "@area > 5",
    ],
)
def test_nothing_but_conditions_is_worked_out(text):
    with pytest.raises(ValueError, match=r"not allowed in a filter|no column|cannot be read"):
        matching_rows(TABLE, text)


@pytest.mark.parametrize(
    "text", ["area < 9 ** 9 ** 9 ** 9", "area > 1" + "0" * 400, "(" * 900 + "keep" + ")" * 900, "not " * 490 + "keep"]
)
def test_no_filter_takes_long_or_breaks(text):
    with suppress(ValueError):
        assert len(matching_rows(TABLE, text)) == len(TABLE)


def test_a_filter_is_not_endless():
    with pytest.raises(ValueError, match=f"at most {LONGEST}"):
        matching_rows(TABLE, "keep or " * 1000 + "keep")
