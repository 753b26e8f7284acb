"""A run after a run: earlier results are replaced, filled or left alone, and nothing of a user's is lost."""

import re
from typing import Any

import numpy as np
import pytest

from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.earlier import ADD
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel

CENTRES = [[(15, 15)], [(15, 50), (45, 30)], [(40, 60)], [(20, 20), (20, 60), (50, 40)]]
STACK = np.stack([disc_image(centres) for centres in CENTRES])
BATCHES = 4  # of a plane
LONG = 30_000  # ms
COUNTS = ("masks", "hidden_by_overlap", "crops", "points_asked", "candidates", "planes_done", "planes")  # of a record


@pytest.fixture
def cells(plugin: Any) -> Any:
    plugin.viewer.add_image(STACK.copy(), name="cells")
    return plugin


def without_seconds(words: str) -> str:
    return re.sub(r"\d+ s\b", "# s", words)


def names(plugin: Any) -> list[str]:
    return [layer.name for layer in plugin.viewer.layers]


def run_planes(plugin: Any, planes: str, at: int = 0) -> Any:
    plugin.widget.image_box.planes.setCurrentText(planes)
    plugin.viewer.dims.set_current_step(0, at)
    return plugin.run()


def check_rows_and_labels(layer: Any) -> None:
    """Every row is that of its label: row = id, and its area where it says to be; every label has a row."""
    table = layer.features
    assert list(table["index"]) == list(range(len(table)))
    rows = table[table["area"].notna()]
    assert set(np.unique(layer.data)) - {0} == set(rows["index"])
    for row in rows.itertuples():
        assert (layer.data[int(row.plane)] == row.index).sum() == row.area
        assert (layer.data == row.index).sum() == row.area


def test_a_second_run_takes_the_place_the_name_and_the_look_of_the_first(cells: Any) -> None:
    first = run_planes(cells, "All planes")
    cells.viewer.add_points(np.zeros((1, 3)), name="above")
    first.opacity, first.contour, first.visible = 0.3, 2, False
    cells.choose(min_mask_region_area=10)
    assert cells.widget.again_box.words.text() == "Replaces 'cells masks'."
    second = run_planes(cells, "All planes")
    assert names(cells) == ["cells", "cells masks", "above"]
    assert cells.viewer.layers["cells masks"] is second is not first
    assert (second.opacity, second.contour, second.visible) == (0.3, 2, False)
    assert second.metadata[METADATA_KEY]["parameters"]["min_mask_region_area"] == 10
    check_rows_and_labels(second)


def test_or_a_layer_is_added(cells: Any) -> None:
    assert not cells.widget.again_box.isVisible()  # there is nothing to replace
    run_planes(cells, "All planes")
    assert cells.widget.again_box.isVisible()
    cells.widget.again_box.again.setCurrentText("add a layer")
    run_planes(cells, "All planes")
    assert names(cells) == ["cells", "cells masks", "cells masks [1]"]


def test_results_of_another_image_or_channel_stay(cells: Any) -> None:
    run_planes(cells, "All planes")
    cells.viewer.add_image(STACK, name="others")
    run_planes(cells, "All planes")
    assert names(cells) == ["cells", "cells masks", "others", "others masks"]
    cells.viewer.add_image(np.stack([STACK, STACK]), axis_labels=("c", "z", "y", "x"), name="two")
    run_planes(cells, "All planes")
    cells.widget.image_box.channel.setValue(1)
    run_planes(cells, "All planes")
    assert names(cells)[-2:] == ["two masks", "two masks [1]"]


def test_that_a_layer_is_added_is_said_before(cells: Any) -> None:
    run_planes(cells, "All planes")
    words = cells.widget.again_box.words
    cells.viewer.add_shapes([[[2, 2], [2, 40], [40, 40], [40, 2]]], name="here")
    cells.viewer.layers.selection.active = cells.viewer.layers["cells"]
    cells.widget.image_box.region_rows.region.setCurrentText("here")  # of all of the image a region is no replacement
    assert words.text() == "Adds a layer; the results before stay."
    assert words.isVisibleTo(cells.widget)
    cells.run()
    assert {"cells masks", "cells masks [1]"} < set(names(cells))
    assert words.text() == "Replaces 'cells masks [1]'."
    cells.widget.again_box.again.setCurrentText(ADD)
    assert words.text() == "Adds a layer; the results before stay."


def test_planes_one_by_one_go_into_one_layer(cells: Any) -> None:
    first = run_planes(cells, "This plane", 3)
    assert first.data.shape == STACK.shape
    assert [len(np.unique(plane)) - 1 for plane in first.data] == [0, 0, 0, 3]
    assert cells.widget.again_box.words.text() == "Goes into 'cells masks'; other planes stay."
    assert run_planes(cells, "This plane", 1) is first
    assert [len(np.unique(plane)) - 1 for plane in first.data] == [0, 2, 0, 3]
    assert list(first.features["plane"][1:]) == [3, 3, 3, 1, 1]
    assert sorted(np.unique(first.data)) == [0, 1, 2, 3, 4, 5]
    check_rows_and_labels(first)
    record = first.metadata[METADATA_KEY]
    assert record["source"]["plane"] == [1]
    assert [run["source"]["plane"] for run in record["other_runs"]] == [[3]]
    assert names(cells) == ["cells", "cells masks"]
    assert "several runs" in reviewed(first).why_none


def test_the_same_plane_again_replaces_its_rows_and_no_others(cells: Any) -> None:
    layer = run_planes(cells, "This plane", 1)  # ids 1 and 2
    run_planes(cells, "This plane", 3)  # 3, 4, 5
    others = layer.data[3].copy()
    cells.viewer.layers["cells"].data[1] = disc_image([(15, 50), (45, 30), (45, 65)])
    run_planes(cells, "This plane", 1)
    assert sorted(np.unique(layer.data[1])) == [0, 1, 2, 6]
    np.testing.assert_array_equal(layer.data[3], others)
    check_rows_and_labels(layer)
    cells.viewer.layers["cells"].data[1] = disc_image([(15, 50)])
    run_planes(cells, "This plane", 1)
    assert sorted(np.unique(layer.data[1])) == [0, 1]
    check_rows_and_labels(layer)  # 2 has no object any more, 6 is gone
    assert [run["source"]["plane"] for run in layer.metadata[METADATA_KEY]["other_runs"]] == [[3]]


def test_a_plane_goes_into_the_results_of_all_and_all_replace_it(cells: Any) -> None:
    whole = run_planes(cells, "All planes")
    before = whole.data.copy()
    cells.choose(pred_iou_thresh=0.96)  # no disc passes
    assert run_planes(cells, "This plane", 3) is whole
    np.testing.assert_array_equal(whole.data[:3], before[:3])
    assert not whole.data[3].any()
    check_rows_and_labels(whole)
    cells.choose(pred_iou_thresh=0.9)
    again = run_planes(cells, "All planes", 0)
    assert again is not whole
    assert whole not in cells.viewer.layers
    assert [len(np.unique(plane)) - 1 for plane in again.data] == [1, 2, 1, 3]


def test_a_layer_that_was_painted_is_never_replaced(cells: Any) -> None:
    first = run_planes(cells, "All planes")
    cells.viewer.dims.set_current_step(0, 2)
    first.brush_size = 5
    first.paint((2, 5, 5), 9)
    painted = first.data.copy()
    second = run_planes(cells, "All planes")
    assert names(cells) == ["cells", "cells masks", "cells masks [1]"]
    np.testing.assert_array_equal(first.data, painted)
    assert "edited by hand, so it stays" in cells.widget.status.text()
    assert not (second.data == 9).any()


def test_a_painted_plane_stays_and_another_one_is_filled_beside_it(cells: Any) -> None:
    layer = run_planes(cells, "This plane", 1)
    layer.paint((1, 5, 5), 20)
    assert run_planes(cells, "This plane", 2) is layer
    assert (layer.data[1] == 20).any()
    assert set(np.unique(layer.data[2])) - {0} == {21}  # no number that was given by hand
    other = run_planes(cells, "This plane", 1)
    assert other is not layer
    assert (layer.data[1] == 20).any()


def test_a_renamed_layer_stays(cells: Any) -> None:
    run_planes(cells, "All planes").name = "good ones"
    run_planes(cells, "All planes")
    assert names(cells) == ["cells", "good ones", "cells masks"]
    said = cells.widget.again_box.words
    cells.viewer.layers["cells masks"].name = "better ones"
    cells.widget.enterEvent(None)
    assert said.text() == "'better ones' was renamed, so it stays, and a layer is added."
    assert "was renamed, so it stays" in cells.widget.status.text()


def test_merged_objects_are_edits_too(cells: Any) -> None:
    from napari_sam_amg.review.edits import HandEdits

    layer = run_planes(cells, "All planes")
    reviewed(layer).edits = HandEdits()
    assert run_planes(cells, "This plane", 0) is layer
    edits = HandEdits()
    edits.delete([1])
    reviewed(layer).edits = edits
    assert run_planes(cells, "This plane", 0) is not layer


@pytest.mark.parametrize("planes", ["All planes", "This plane"])
def test_a_run_that_is_cancelled_before_its_first_plane_leaves_the_old_results(
    cells: Any, model: HeldModel, planes: str
) -> None:
    first = run_planes(cells, "All planes")
    labels, table = first.data.copy(), first.features.copy()
    cells.choose(min_mask_region_area=10)
    cells.widget.image_box.planes.setCurrentText(planes)
    cells.click_run_and_hold(model, model.batches + 1)
    assert reviewed(first).is_complete == (planes == "All planes")
    cells.widget.cancel_button.click()
    model.release.set()
    cells.wait()
    assert names(cells) == ["cells", "cells masks"]
    assert cells.viewer.layers["cells masks"] is first
    np.testing.assert_array_equal(first.data, labels)
    assert first.features.equals(table)
    assert first.metadata[METADATA_KEY]["state"] == "finished"
    assert reviewed(first).is_complete


def test_continue_does_what_is_missing(cells: Any, model: HeldModel) -> None:
    """And nothing else: labels, rows and record are those of a run that was not cancelled, but for the ids' order."""
    cells.widget.image_box.planes.setCurrentText("All planes")
    cells.viewer.dims.set_current_step(0, 2)  # it begins there
    cells.click_run_and_hold(model, 2 * BATCHES + 1)
    runner = cells.widget.runner
    cells.qtbot.waitUntil(lambda: runner.layer is not None and runner.layer.data[0].any(), timeout=LONG)
    cells.widget.cancel_button.click()
    model.release.set()
    cells.wait()
    layer = runner.layer
    assert [plane.any() for plane in layer.data] == [True, False, True, False]
    before, embedded = layer.data.copy(), len(model.embedded)
    assert cells.widget.run_button.text() == "Continue"
    assert cells.widget.again_box.words.text() == "Does what is missing in 'cells masks'."
    cells.choose(pred_iou_thresh=0.91)
    assert cells.widget.run_button.text() == "Run"  # another run
    cells.choose(pred_iou_thresh=0.9)
    model.release.clear()
    cells.click_run_and_hold(model, model.batches + 1)
    shown = cells.widget.status
    cells.qtbot.waitUntil(lambda: shown.text().startswith("Plane 3 of 4, "), timeout=LONG)
    assert 50 < int(shown.text().split(", ")[1].removesuffix(" %")) < 75  # of all planes, as the words say
    assert cells.widget.bar.text() == shown.text().split(", ")[1].replace(" ", "")
    model.release.set()
    cells.wait()
    assert len(model.embedded) - embedded == 2
    np.testing.assert_array_equal(layer.data[[0, 2]], before[[0, 2]])
    check_rows_and_labels(layer)
    record = layer.metadata[METADATA_KEY]
    assert (record["state"], record["planes_done"], record["planes"]) == ("finished", 4, 4)
    assert "other_runs" not in record
    kept = reviewed(layer).kept  # thresholds move in all of them
    assert sorted(kept.indices) == [(0,), (1,), (2,), (3,)]
    for index in kept.indices:
        np.testing.assert_array_equal(kept.plane(index, kept.params).labels, layer.data[index[0]])
    said = without_seconds(cells.widget.status.text())
    assert said.startswith("7 masks found in # s")
    assert cells.widget.run_button.text() == "Run"
    fresh = run_planes(cells, "All planes")
    assert without_seconds(cells.widget.status.text()) == said  # of all of it, as by a run that was not cancelled
    counts = [[run.metadata[METADATA_KEY][name] for name in COUNTS] for run in (layer, fresh)]
    assert counts[0] == counts[1]
    np.testing.assert_array_equal(fresh.data > 0, layer.data > 0)
    assert fresh.metadata[METADATA_KEY]["intensities"]["low"] == record["intensities"]["low"]


def test_removing_the_layer_that_is_filled_stops_the_run(cells: Any, model: HeldModel) -> None:
    layer = run_planes(cells, "This plane", 1)
    cells.viewer.dims.set_current_step(0, 3)
    cells.click_run_and_hold(model, model.batches + 1)
    cells.viewer.layers.remove(layer)
    model.release.set()
    cells.wait()
    assert cells.widget.status.text() == "Stopped: the layer of the results was removed."
    assert names(cells) == ["cells"]
    run_planes(cells, "This plane", 3)
    assert names(cells) == ["cells", "cells masks"]


def test_tracks_of_replaced_results_go_with_them(cells: Any) -> None:
    cells.viewer.layers["cells"].axis_labels = ("t", "y", "x")
    cells.choose(link="through time")
    first = run_planes(cells, "All planes")
    assert names(cells) == ["cells", "cells masks", "cells tracks"]
    second = run_planes(cells, "All planes")
    assert second is not first
    assert sorted(names(cells)) == ["cells", "cells masks", "cells tracks"]
    cells.choose(link="per plane")
    assert "Replaces" in cells.widget.again_box.words.text()
    cells.widget.image_box.planes.setCurrentText("This plane")
    assert "has other planes, so it stays" in cells.widget.again_box.words.text()
