"""The tables of all files of a batch as one."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_sam_amg.cli import segment


@pytest.fixture
def inputs(terminal):
    tifffile.imwrite(terminal.folder / "bad.tif", np.zeros((2, 2), np.uint8))
    return [terminal.png(), terminal.folder / "bad.tif", terminal.stack()]


def test_tables_of_all_files_that_are_done_are_one(terminal, inputs):
    assert terminal.segment(*inputs, "--merge-tables") == 1
    merged = pd.read_csv(terminal.out / "all_features.csv")
    single = {path: pd.read_csv(terminal.out / f"{path.stem}_features.csv") for path in (inputs[0], inputs[2])}
    assert merged["file"].tolist() == [str(path) for path, table in single.items() for _ in range(len(table))]
    for path, table in single.items():
        rows = merged[merged["file"] == str(path)].reset_index(drop=True)
        for column in table:
            np.testing.assert_array_equal(rows[column], table[column])
    assert terminal.lines()[0][-1] == f"tables of 2 of 3 files -> {terminal.out / 'all_features.csv'}"


def test_a_batch_that_is_continued_gives_the_table_of_all(terminal, inputs, monkeypatch):
    assert terminal.segment(*inputs, "--merge-tables") == 1
    whole = (terminal.out / "all_features.csv").read_bytes()
    (terminal.out / "all_features.csv").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(terminal.model, "embed", lambda image: pytest.fail("it was done"))
        assert terminal.segment(*inputs, "--merge-tables", "--skip-existing") == 1
    assert (terminal.out / "all_features.csv").read_bytes() == whole


def test_objects_have_a_table_of_all_too(terminal, inputs):
    assert terminal.segment(inputs[2], "--merge-tables", "--link", "z", "--min-planes", "1") == 0
    objects = pd.read_csv(terminal.out / "all_objects.csv")
    assert set(objects["file"]) == {str(inputs[2])}
    assert len(objects) == len(pd.read_csv(terminal.out / "s_objects.csv")) > 0


@pytest.mark.parametrize("kept", [b"file,index\nof another run,1\n", None])
def test_where_no_file_is_done_no_table_is_written(kept, terminal, inputs):
    table = terminal.out / "all_features.csv"
    if kept is not None:
        terminal.out.mkdir()
        table.write_bytes(kept)
    assert terminal.segment(inputs[1], "--merge-tables", "--overwrite") == 1
    assert (table.read_bytes() if table.exists() else None) == kept
    assert terminal.lines()[0] == ["tables of 0 of 1 files to merge: none is written"]


def test_nothing_is_merged_where_that_is_not_asked_for(terminal, inputs):
    assert terminal.segment(inputs[0]) == 0
    assert "all_features.csv" not in terminal.written()


def test_a_merged_table_is_replaced_only_if_that_is_meant(terminal, inputs):
    terminal.segment(inputs[0], "--merge-tables")
    before = (terminal.out / "all_features.csv").read_bytes()
    assert terminal.segment(inputs[2], "--merge-tables") == 1
    assert "all_features.csv exists already" in terminal.lines()[1][-1]
    assert (terminal.out / "all_features.csv").read_bytes() == before
    assert terminal.segment(inputs[2], "--merge-tables", "--overwrite") == 0
    assert (terminal.out / "all_features.csv").read_bytes() != before


@pytest.mark.parametrize("there", ["index,area\n1,2\n", None])
def test_what_is_no_merged_table_is_never_replaced(there, terminal, inputs):
    terminal.out.mkdir()
    path = terminal.out / "all_features.csv"
    path.mkdir() if there is None else path.write_text(there)
    assert terminal.segment(inputs[0], "--merge-tables", "--overwrite") == 1
    assert "all_features.csv is in the way" in terminal.lines()[1][-1]
    assert terminal.model.embedded == []


def test_an_image_whose_table_has_that_name_is_said(terminal):
    assert terminal.segment(terminal.png("all.png"), "--merge-tables") == 1
    assert "is the table of one image: rename that" in terminal.lines()[1][-1]


def test_files_that_others_have_done_in_another_order_are_merged_in_theirs(terminal, inputs, monkeypatch):
    in_order = segment.segmented
    monkeypatch.setattr(segment, "segmented", lambda batch, files: reversed(list(in_order(batch, files))))
    assert terminal.segment(*inputs, "--merge-tables") == 1
    assert list(dict.fromkeys(pd.read_csv(terminal.out / "all_features.csv")["file"])) == [
        str(inputs[0]),
        str(inputs[2]),
    ]
