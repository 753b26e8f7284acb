"""The features table, as a source of predicted IoUs."""

import math
from pathlib import Path

import pytest

from napari_sam_amg.evaluation.predicted_iou import read_predicted_iou


def write(folder: Path, text: str) -> Path:
    (folder / "a_features.csv").write_text(text, "utf-8")
    return folder / "a_features.csv"


def test_by_label_id(tmp_path: Path) -> None:
    predicted = read_predicted_iou(write(tmp_path, "index,area,predicted_iou\n3,10,0.5\n7,11,\n1,5,0.25\n"))
    assert predicted is not None
    assert (predicted[3], predicted[1], math.isnan(predicted[7])) == (0.5, 0.25, True)


@pytest.mark.parametrize(
    "text",
    [
        "index,area,predicted_iou\n3.0,10,0.5\n7.0,,0.25\n",
        "index;area;predicted_iou\n3;10;0,5\n7;11;0,25\n",
        "index\tarea\tpredicted_iou\n3\t10\t0.5\n7\t11\t0.25\n",
    ],
    ids=["pandas", "semicolons", "tabs"],
)
def test_tables_that_other_programs_saved(text: str, tmp_path: Path) -> None:
    assert read_predicted_iou(write(tmp_path, text)) == {3: 0.5, 7: 0.25}


def test_none_without_a_table_or_its_columns(tmp_path: Path) -> None:
    assert read_predicted_iou(tmp_path / "gone.csv") is None
    for text in ("", "index,area\n1,2\n", "label,predicted_iou\n1,2\n"):
        assert read_predicted_iou(write(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,0.5\nx,0.5", "line 3: index='x', predicted_iou='0.5' is not allowed: expected an integer and a number"),
        ("1,high", "line 2: index='1', predicted_iou='high' is not allowed"),
        (",0.5", "line 2: index='', predicted_iou='0.5' is not allowed"),
        ("1,0.5\n1,0.6", "line 3: index=1 is there already: ids must be unique"),
    ],
)
def test_bad_rows_are_named(rows: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_predicted_iou(write(tmp_path, f"index,predicted_iou\n{rows}\n"))


def test_other_bytes_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "a_features.csv").write_bytes(b"index,predicted_iou\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="not a table of comma-separated values"):
        read_predicted_iou(tmp_path / "a_features.csv")


def test_of_objects_through_a_stack_it_is_the_mean_of_their_planes(tmp_path):
    text = "index,plane,predicted_iou,link_iou\n1,0,0.5,\n2,0,0.25,\n1,1,0.75,0.9\n2,1,,0.8\n3,1,,\n"
    predicted = read_predicted_iou(write(tmp_path, text))
    assert predicted is not None
    assert (predicted[1], predicted[2], math.isnan(predicted[3])) == (0.625, 0.25, True)
