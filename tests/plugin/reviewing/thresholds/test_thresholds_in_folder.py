"""Thresholds of results in a folder move as those in memory do, and are written whole or not at all."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from napari_sam_amg.plugin.files.label_reader import read
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from tests.plugin.conftest import TIMEOUT
from tests.plugin.graded_model import assert_as_fresh, fresh_run, plane
from tests.plugin.reviewing.thresholds.moving import growing, settle


def prepare(plugin: Any, data: np.ndarray, folder: Path, link: str = "per plane", **layer: Any) -> None:
    plugin.viewer.add_image(data, name="cells", **layer)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.widget.results_box.where.setCurrentText("in a folder")
    plugin.widget.results_box.folder.setText(str(folder))
    plugin.choose(link=link)


def to_folder(plugin: Any, data: np.ndarray, folder: Path, link: str = "per plane", **layer: Any) -> Any:
    """Run, and wait until the candidates are found."""
    prepare(plugin, data, folder, link, **layer)
    return found(plugin, plugin.run())


def found(plugin: Any, layer: Any) -> Any:
    review = reviewed(layer)
    plugin.qtbot.waitUntil(lambda: review.refilter is not None, timeout=TIMEOUT)
    return review


def opened(plugin: Any, folder: Path) -> Any:
    """As napari's File > Open does it, without the layers that were there."""
    plugin.viewer.layers.clear()
    (layer,) = plugin.viewer.open(folder / "cells_labels.ome.zarr", plugin="napari-sam-amg")
    plugin.viewer.layers.selection.active = layer
    return layer


def write(plugin: Any, box: Any) -> None:
    assert box.write_row.button.isEnabled()
    box.write_row.button.click()
    plugin.qtbot.waitUntil(lambda: not box.write_row.is_writing, timeout=TIMEOUT)


def labels_in(folder: Path) -> np.ndarray:
    return np.asarray(zarr.open_group(folder / "cells_labels.ome.zarr", mode="r")["0"])


def record_in(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "cells_run.json").read_text())
    return record


def assert_files_as_shown(review: Any, folder: Path) -> None:
    """Labels, tables and record are those of the layer."""
    np.testing.assert_array_equal(labels_in(folder), np.asarray(review.layer.data))
    linked = review.params.link != "none"
    written = pd.read_csv(folder / f"cells_{'objects' if linked else 'features'}.csv").sort_values("index")
    assert written["index"].tolist() == review.table["index"].tolist()
    names = list(written.columns)
    np.testing.assert_allclose(written.to_numpy(float), review.table[names].to_numpy(float), rtol=1e-6)
    assert record_in(folder)["parameters_used"] == json.loads(json.dumps(review.record["parameters_used"]))


STACK = np.stack([plane(seed) for seed in range(5)])


def test_sliders_show_what_a_fresh_run_gives_and_the_files_stay_until_it_is_written(
    plugin: Any, box: Any, model: Any, tmp_path: Path
) -> None:
    review = to_folder(plugin, STACK, tmp_path)
    asked, before = model.decoded, labels_in(tmp_path)
    plugin.viewer.dims.set_point(0, 3)
    for field, value in (("iou", 0.62), ("stability", 0.78), ("nms", 1), ("iou", 0.9)):
        getattr(box.form, field).field.setValue(value)
        settle(plugin, review)
        assert_as_fresh(review, fresh_run(STACK, review.params))
        np.testing.assert_array_equal(labels_in(tmp_path), before)
        assert "thresholds of before" in box.write_row.note.text()
    assert record_in(tmp_path)["parameters_used"]["pred_iou_thresh"] == 0.75
    write(plugin, box)
    assert_files_as_shown(review, tmp_path)
    assert_as_fresh(review, fresh_run(STACK, review.params))
    record = record_in(tmp_path)
    assert record["of_the_run"] == {"pred_iou_thresh": 0.75, "stability_score_thresh": 0.5, "box_nms_thresh": 0.7}
    assert not box.write_row.button.isEnabled()
    assert model.decoded == asked
    assert not review.layer.editable
    assert not plugin.messages


def test_the_plane_in_sight_follows_first(plugin: Any, box: Any, tmp_path: Path) -> None:
    review = to_folder(plugin, STACK, tmp_path)
    plugin.viewer.dims.set_point(0, 3)
    shown: list[list[int]] = []

    def note() -> None:
        left = {tuple(index) for index in review.record.get("planes_at_other_thresholds", [])}
        shown.append([at for at in range(len(STACK)) if (at,) not in left])
        drawn = {*np.unique(np.asarray(review.layer.data)).tolist()} - {0}
        assert drawn == {*review.table["index"].tolist()}

    box.form.iou.field.setValue(0.87)
    review.refilter.progressed.connect(note)
    settle(plugin, review)
    assert shown[0] == [3]
    assert shown[-1] == [0, 1, 2, 3, 4]


def test_files_are_those_of_a_fresh_run_in_another_folder(plugin: Any, box: Any, tmp_path: Path) -> None:
    """Byte by byte, but for the ids."""
    to_folder(plugin, STACK, tmp_path / "moved")
    box.form.iou.field.setValue(0.62)
    review = reviewed(plugin.viewer.layers[-1])
    settle(plugin, review)
    write(plugin, box)
    plugin.viewer.layers.clear()
    plugin.choose(pred_iou_thresh=0.62)
    to_folder(plugin, STACK, tmp_path / "fresh")
    ours, theirs = (pd.read_csv(tmp_path / name / "cells_features.csv", dtype=str) for name in ("moved", "fresh"))
    pd.testing.assert_frame_equal(ours.drop(columns="index"), theirs.drop(columns="index"))
    names = dict(zip(theirs["index"].astype(int), ours["index"].astype(int), strict=True)) | {0: 0}
    new = np.array([names[number] for number in range(len(names))])
    np.testing.assert_array_equal(labels_in(tmp_path / "moved"), new[labels_in(tmp_path / "fresh")])


@pytest.mark.parametrize(("link", "letter"), [("through z", "z"), ("through time", "t")])
def test_linked_objects(plugin: Any, box: Any, link: str, letter: str, tmp_path: Path) -> None:
    data = growing(7)
    to_folder(plugin, data, tmp_path, link, axis_labels=(letter, "y", "x"))
    before = labels_in(tmp_path)
    first = found(plugin, opened(plugin, tmp_path))
    box.form.stability.field.setValue(0.78)
    settle(plugin, first)
    assert_as_fresh(first, fresh_run(data, first.params, axes=(letter,)))
    box.form.stability.field.setValue(0.5)
    settle(plugin, first)
    np.testing.assert_array_equal(np.asarray(first.layer.data), before)
    plugin.viewer.layers.clear()
    review = to_folder(plugin, data, tmp_path / "again", link, axis_labels=(letter, "y", "x"))
    for value in (0.82, 0.66):
        assert box.form.iou.value == (0.75 if value == 0.82 else 0.82)  # not what links have eased
        box.form.iou.field.setValue(value)
        settle(plugin, review)
        assert_as_fresh(review, fresh_run(data, review.params, axes=(letter,)))
    write(plugin, box)
    assert_files_as_shown(review, tmp_path / "again")
    again = found(plugin, opened(plugin, tmp_path / "again"))
    assert_files_as_shown(again, tmp_path / "again")
    box.form.iou.field.setValue(0.75)
    settle(plugin, again)
    fresh = fresh_run(data, again.params, axes=(letter,))
    assert_as_fresh(again, fresh)
    objects = pd.concat([result.objects for result in fresh.values()])
    names = [name for name in objects.columns if name not in ("index", "parent")]
    ours, theirs = (one.sort_values(names)[names].to_numpy(float) for one in (again.table, objects))
    np.testing.assert_array_equal(ours, theirs)


def test_opened_again_sliders_go_on_where_they_were(plugin: Any, box: Any, model: Any, tmp_path: Path) -> None:
    review = to_folder(plugin, STACK, tmp_path / "first")
    before = labels_in(tmp_path / "first")
    plugin.viewer.dims.set_point(0, 3)  # whose candidates get their numbers first
    box.form.iou.field.setValue(0.6)
    settle(plugin, review)
    weak = np.asarray(review.layer.data)
    box.form.iou.field.setValue(0.9)
    settle(plugin, review)
    write(plugin, box)
    asked = model.decoded
    shutil.copytree(tmp_path / "first", tmp_path / "elsewhere")  # moved, without the times of its files
    shutil.rmtree(tmp_path / "first")
    again = found(plugin, opened(plugin, tmp_path / "elsewhere"))
    assert box.form.iou.value == 0.9
    assert again.params == again.refilter.params
    assert again.kept.params.pred_iou_thresh == 0.75
    plugin.viewer.dims.set_point(0, 0)
    box.form.iou.field.setValue(0.6)
    settle(plugin, again)
    assert_as_fresh(again, fresh_run(STACK, again.params))
    # what was hidden when it was written comes back under its own number
    np.testing.assert_array_equal(np.asarray(again.layer.data), weak)
    box.form.iou.field.setValue(0.75)
    settle(plugin, again)
    np.testing.assert_array_equal(np.asarray(again.layer.data), before)
    write(plugin, box)
    np.testing.assert_array_equal(labels_in(tmp_path / "elsewhere"), before)
    assert "of_the_run" not in record_in(tmp_path / "elsewhere")
    assert model.decoded == asked


def test_planes_of_several_chunks_and_levels(plugin: Any, box: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Coarser levels have every second pixel of what is shown, before it is written and after."""
    monkeypatch.setattr("napari_sam_amg.io.label_volume.COARSEST", 40)
    monkeypatch.setattr("napari_sam_amg.plugin.files.label_reader.WINDOW", 60)
    monkeypatch.setattr("napari_sam_amg.io.label_volume.SIDE", 32)
    monkeypatch.setattr("napari_sam_amg.io.label_volume.LabelVolume.create.__func__.__defaults__", (None, "0.5", 32))
    review = to_folder(plugin, STACK[:2], tmp_path)
    assert review.layer.multiscale

    def check() -> None:
        finest = np.asarray(review.layer.data[0])
        assert review.layer.data[0].chunks[1][0] == 32
        np.testing.assert_array_equal(finest[:, ::2, ::2], np.asarray(review.layer.data[1]))

    check()
    before = np.asarray(review.layer.data[0])
    box.form.iou.field.setValue(0.9)
    settle(plugin, review)
    check()
    assert (np.asarray(review.layer.data[0]) != before).any()
    assert_as_fresh(review, fresh_run(STACK[:2], review.params))
    write(plugin, box)
    check()
    np.testing.assert_array_equal(labels_in(tmp_path), np.asarray(review.layer.data[0]))


def of_another_run(folder: Path) -> None:
    record = record_in(folder)
    record["candidates"]["run"] = "0" * 16
    (folder / "cells_run.json").write_text(json.dumps(record))


def paint(folder: Path) -> None:
    zarr.open_group(folder / "cells_labels.ome.zarr", mode="r+")["0"][1, :4, :4] = 99


def of_another_version(folder: Path) -> None:
    journal = folder / "cells_candidates" / "journal.jsonl"
    journal.write_text(journal.read_text().replace("candidates of a run 1", "candidates of a run 7"))


SPOILT: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: (folder / "cells_run.json").unlink(), "cells_run.json, which says how they were made, is not"),
    (lambda folder: shutil.rmtree(folder / "cells_candidates"), "cells_candidates, in which they were kept, is not"),
    (lambda folder: (folder / "cells_candidates/units/plane_2.npz").unlink(), "plane_2.npz is missing"),
    (lambda folder: (folder / "cells_candidates/ids.npz").unlink(), "ids.npz"),
    (lambda folder: (folder / "cells_candidates/columns.npz").write_bytes(b"PK\x03\x04"), "cannot be used"),
    (of_another_run, "of another run"),
    (of_another_version, "of a run 7"),
    (paint, "cells_labels.ome.zarr was changed since it was written"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILT)
def test_what_is_missing_or_changed_is_said(
    plugin: Any, box: Any, tmp_path: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    to_folder(plugin, STACK[:3], tmp_path)
    spoil(tmp_path)
    before = labels_in(tmp_path)
    layer = opened(plugin, tmp_path)
    plugin.qtbot.waitUntil(lambda: words in box.summary.text(), timeout=TIMEOUT)
    assert "cannot be moved" in box.summary.text()
    assert reviewed(layer).kept is None
    assert not box.controls.isVisible()
    assert not box.write_row.isVisible()
    np.testing.assert_array_equal(np.asarray(layer.data), before)
    assert not plugin.messages


def test_a_file_that_is_damaged_later_is_said_when_it_is_needed(plugin: Any, box: Any, tmp_path: Path) -> None:
    review = to_folder(plugin, STACK[:3], tmp_path)
    before = np.asarray(review.layer.data)
    for unit in (tmp_path / "cells_candidates" / "units").iterdir():
        unit.write_bytes(unit.read_bytes()[:-9])
    plugin.qtbot.waitUntil(lambda: box._looking is None, timeout=TIMEOUT)  # at the plane in sight, which it remembers
    review.kept._memos.clear()
    box.form.iou.field.setValue(0.9)
    plugin.qtbot.waitUntil(lambda: "not the file of which the journal tells" in box.message.text(), timeout=TIMEOUT)
    np.testing.assert_array_equal(np.asarray(review.layer.data), before)
    assert not box.write_row.button.isEnabled()


def test_labels_that_others_change_meanwhile_are_not_replaced(plugin: Any, box: Any, tmp_path: Path) -> None:
    review = to_folder(plugin, STACK[:3], tmp_path)
    box.form.iou.field.setValue(0.9)
    settle(plugin, review)
    paint(tmp_path)
    before = labels_in(tmp_path)
    write(plugin, box)
    assert "Nothing was written" in box.message.text()
    assert "was changed since it was written" in box.message.text()
    np.testing.assert_array_equal(labels_in(tmp_path), before)
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "cells_candidates"


def test_cancel_leaves_the_files_as_they_were(
    plugin: Any, box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = to_folder(plugin, STACK, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    box.form.iou.field.setValue(0.9)
    settle(plugin, review)
    made, waited = review.kept.plane, []

    def slow(index: Any, params: Any) -> Any:
        if index == (2,) and box.write_row.is_writing:
            waited.append(index)
            while not box.write_row._order.is_over:
                time.sleep(0.01)
        return made(index, params)

    monkeypatch.setattr(review.kept, "plane", slow)
    box.write_row.told.connect(lambda words: box.write_row.button.click() if "2 of" in words else None)
    write(plugin, box)
    assert waited
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert box.controls.isEnabled()
    assert box.write_row.button.isEnabled()
    assert "thresholds of before" in box.write_row.note.text()
    assert_as_fresh(review, fresh_run(STACK, review.params))


def test_a_cancelled_run_is_gone_on_with_first(plugin: Any, box: Any, model: Any, tmp_path: Path) -> None:
    prepare(plugin, STACK, tmp_path)
    plugin.click_run_and_hold(model, 9)
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    plugin.qtbot.waitUntil(lambda: "go on with it first" in box.summary.text(), timeout=TIMEOUT)
    model.hold_after = None
    plugin.viewer.layers.selection.active = plugin.viewer.layers[0]
    layer = plugin.run()
    plugin.viewer.layers.selection.active = layer
    review = found(plugin, layer)
    for value in (0.6, 0.9):
        box.form.iou.field.setValue(value)
        settle(plugin, review)
        assert_as_fresh(review, fresh_run(STACK, review.params))


def test_a_run_that_is_killed_and_continued_keeps_the_same(plugin: Any, box: Any, model: Any, tmp_path: Path) -> None:
    """The folder as ``kill -9`` leaves it, at a moment at which half of the planes are done."""
    prepare(plugin, STACK, tmp_path / "whole")
    plugin.click_run_and_hold(model, 11)  # batches, 4 a plane: in the third
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    model.release.set()
    model.hold_after = None
    plugin.wait()
    plugin.viewer.layers.clear()
    prepare(plugin, STACK, tmp_path / "killed")
    asked = model.batches
    review = found(plugin, plugin.run())
    assert model.batches - asked == 12
    assert record_in(tmp_path / "killed")["parts_done_before"] == 2
    for name in ("columns.npz", "ids.npz"):
        ours, theirs = (np.load(tmp_path / one / "cells_candidates" / name) for one in ("killed", "whole"))
        for column in ours.files:
            np.testing.assert_array_equal(ours[column], theirs[column])
    for value in (0.6, 0.9):
        box.form.iou.field.setValue(value)
        settle(plugin, review)
        assert_as_fresh(review, fresh_run(STACK, review.params))
    write(plugin, box)
    assert_files_as_shown(review, tmp_path / "killed")


def test_ais_and_planes_in_bands_keep_none_and_say_why(plugin: Any, box: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("napari_sam_amg.review.kept_run.WHOLE_PIXELS", 100)
    plugin.choose(tile_size=256)
    prepare(plugin, STACK[:2], tmp_path)
    plugin.run()
    plugin.qtbot.waitUntil(lambda: "too large for their labels" in box.summary.text(), timeout=TIMEOUT)
    assert not (tmp_path / "cells_candidates").exists()
    assert not (tmp_path / ".cells.work").exists()
    opened(plugin, tmp_path)
    plugin.qtbot.waitUntil(lambda: "too large for their labels" in box.summary.text(), timeout=TIMEOUT)


def test_stacks_through_time_and_depth(plugin: Any, box: Any, tmp_path: Path) -> None:
    data = np.stack([STACK[:2], STACK[2:4], STACK[3:5]])
    review = to_folder(plugin, data, tmp_path, axis_labels=("t", "z", "y", "x"))
    plugin.viewer.dims.set_point(0, 1)
    for value in (0.62, 0.9):
        box.form.iou.field.setValue(value)
        settle(plugin, review)
        assert_as_fresh(review, fresh_run(data, review.params, axes=("t", "z")))
    write(plugin, box)
    assert_files_as_shown(review, tmp_path)
    again = found(plugin, opened(plugin, tmp_path))
    box.form.iou.field.setValue(0.62)
    settle(plugin, again)
    assert_as_fresh(again, fresh_run(data, again.params, axes=("t", "z")))


def test_labels_of_one_channel(plugin: Any, box: Any, tmp_path: Path) -> None:
    """They have the axis of channels, with a length of 1."""
    data = np.stack([STACK[:3], STACK[2:5]], axis=1)
    prepare(plugin, data, tmp_path, axis_labels=("z", "c", "y", "x"))
    plugin.viewer.dims.set_point(1, 1)
    review = found(plugin, plugin.run())
    box.form.iou.field.setValue(0.62)
    settle(plugin, review)
    channel = review.record["source"]["channel"]["1"]
    fresh = fresh_run(data[:, channel], review.params)
    assert_as_fresh(review, fresh)
    write(plugin, box)
    again = found(plugin, opened(plugin, tmp_path))
    box.form.iou.field.setValue(0.9)
    settle(plugin, again)
    assert_as_fresh(again, fresh_run(data[:, channel], again.params))


def test_why_is_nothing_here_knows_the_candidates_too(plugin: Any, box: Any, tmp_path: Path) -> None:
    to_folder(plugin, STACK[:2], tmp_path)
    again = found(plugin, opened(plugin, tmp_path))
    plugin.viewer.dims.set_point(0, 1)
    y, x = np.argwhere(again.plane((1,)) > 0)[0].tolist()
    why = plugin.docked.why_box
    why._picked((1, y, x))
    plugin.qtbot.waitUntil(lambda: "predicted IoU / stability" in why.answer.text(), timeout=TIMEOUT)
    assert f"label {again.plane((1,))[y, x]}" in why.answer.text()
    why.ask()
    assert "can only be looked at" in why.message.text()


def test_of_two_layers_with_the_same_labels_the_last_has_them(plugin: Any, box: Any, tmp_path: Path) -> None:
    review = to_folder(plugin, STACK[:2], tmp_path)
    first = review.layer
    box.form.iou.field.setValue(0.9)
    settle(plugin, review)
    copy = type(first).create(*first.as_layer_data_tuple())
    plugin.viewer.add_layer(copy)
    plugin.viewer.layers.selection.active = copy
    plugin.qtbot.waitUntil(lambda: "other thresholds than this layer shows" in box.summary.text(), timeout=TIMEOUT)
    assert reviewed(copy).kept is None
    (again,) = plugin.viewer.open(tmp_path / "cells_labels.ome.zarr", plugin="napari-sam-amg")
    plugin.viewer.layers.selection.active = again
    opened_again = found(plugin, again)
    plugin.viewer.layers.selection.active = first
    assert "in another layer, too" in box.summary.text()
    assert review.files is None
    assert opened_again.files is not None


def test_labels_of_the_command_line_have_no_candidates(plugin: Any, box: Any, tmp_path: Path) -> None:
    to_folder(plugin, STACK[:2], tmp_path)
    record = record_in(tmp_path)
    del record["source"], record["candidates"]
    (tmp_path / "cells_run.json").write_text(json.dumps(record))
    opened(plugin, tmp_path)
    plugin.qtbot.waitUntil(lambda: "no candidates were kept" in box.summary.text(), timeout=TIMEOUT)


def test_a_run_with_other_thresholds_may_be_opened_and_replayed(plugin: Any, box: Any, tmp_path: Path) -> None:
    """The record says how the layer that was opened was made."""
    review = to_folder(plugin, STACK[:2], tmp_path)
    data, arguments, _ = read(tmp_path / "cells_labels.ome.zarr")
    again = arguments["metadata"]["napari-sam-amg"]
    assert replace(review.kept.params) == type(review.kept.params)(**again["parameters_used"])
    assert again["source"] == json.loads(json.dumps(review.record["source"]))
    np.testing.assert_array_equal(np.asarray(data), labels_in(tmp_path))


def test_what_does_not_match_stays_hidden_when_thresholds_move(plugin: Any, box: Any, tmp_path: Path) -> None:
    review = to_folder(plugin, STACK, tmp_path)
    objects = plugin.docked.objects_box
    box.form.iou.field.setValue(0.9)
    settle(plugin, review)
    few = review.table["index"].tolist()
    objects.filter.setText(f"index in ({', '.join(map(str, few))})")
    objects.filter.returnPressed.emit()
    objects.alone.setChecked(True)
    box.form.iou.field.setValue(0.75)
    settle(plugin, review)
    for label in review.table["index"]:
        assert bool(np.any(review.layer.colormap.map(label))) == (label in few)
