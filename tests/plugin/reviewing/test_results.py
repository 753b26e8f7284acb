"""What a run leaves in the viewer."""

import json
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QTableView

from napari_sam_amg.plugin.reviewing.results import METADATA_KEY, go_to
from tests.disc_model import disc_image

CENTRES = [(15, 15), (15, 50), (45, 30)]


@pytest.fixture
def cells(plugin: Any) -> Any:
    """A plugin with one image of three discs."""
    plugin.viewer.add_image(disc_image(CENTRES), name="cells")
    return plugin


def test_a_plane_becomes_labels_with_one_row_each(cells: Any) -> None:
    layer = cells.run()
    assert layer.name == "cells masks"
    assert layer in cells.viewer.layers
    assert sorted(np.unique(layer.data)) == [0, 1, 2, 3]
    assert list(layer.features["index"]) == [0, 1, 2, 3]
    for y, x in CENTRES:
        row = layer.features.loc[layer.data[y, x]]
        assert (row["centroid_y"], row["centroid_x"]) == pytest.approx((y, x), abs=0.5)


def test_metadata_say_how_to_repeat_the_run(cells: Any) -> None:
    record = cells.run().metadata[METADATA_KEY]
    assert json.loads(json.dumps(record)) == record
    assert record["state"] == "finished"
    assert record["parameters"]["points_per_side"] == 16
    assert record["model"] == {"name": "blobs", "architecture": "none", "file": "blobs.pt", "sha256": "0" * 64}
    assert record["source"]["layer"] == "cells"
    assert record["versions"].keys() >= {"python", "napari-sam-amg", "torch", "napari", "numpy"}
    assert (record["intensities"]["low"], record["intensities"]["high"]) == (0, 200)
    assert record["seconds"] >= 0


def test_the_tab_names_the_results_that_it_shows(cells: Any) -> None:
    title = cells.docked.results_tab.title
    cells.run()
    second = cells.run()  # in the place of the first, and then under its name
    assert title.text() == f"Results: '{second.name}'" == "Results: 'cells masks'"
    second.name = "mine"
    assert title.text() == "Results: 'mine'"
    cells.viewer.layers.remove(second)
    second.name = "gone"
    assert title.text().startswith("There are no results yet.")


def test_the_form_is_ready_again_and_says_what_was_found(cells: Any) -> None:
    cells.run()
    assert cells.widget.run_button.isEnabled()
    assert not cells.widget.cancel_button.isEnabled()
    assert cells.widget.status.text().startswith("3 masks found")
    assert cells.widget.bar.value() == cells.widget.bar.maximum()


def test_what_crops_and_points_came_to_is_said_and_kept(cells: Any, model: Any) -> None:
    cells.choose(crop_n_layers=1, crop_layers="last", points_per_side=8, pred_iou_thresh=0.65)
    cells.choose(box_nms_thresh=1.0, crop_nms_thresh=1.0)
    record = cells.run().metadata[METADATA_KEY]
    first, second = cells.widget.status.text().split("\n")
    assert record["points_asked"] == model.decoded == 4 * 64
    assert (record["crops"], record["masks"]) == (4, 3 + record["hidden_by_overlap"])
    assert record["hidden_by_overlap"] > 0
    assert first.startswith(f"{record['masks']} masks found in ")
    assert first.endswith(f"asked. 3 labels, {record['hidden_by_overlap']} lost to overlaps.")
    assert record["candidates"] >= record["masks"]
    assert (
        second == f"Crop layer 1 (4 crops), 256 points asked, {record['candidates']} candidates above the thresholds."
    )


def test_an_approximate_search_says_so(cells: Any) -> None:
    cells.widget.form.fields["point_search"].widget.value = "hierarchical"
    layer = cells.run()
    assert cells.widget.status.text().startswith("3 masks found")
    assert ", approximate.\nWhole image, " in cells.widget.status.text()
    assert cells.widget.bar.value() == cells.widget.bar.maximum()
    assert layer.metadata[METADATA_KEY]["parameters_used"]["point_search"] == "hierarchical"


def test_a_model_without_maps_cannot_guide_the_search_which_is_said(cells: Any) -> None:
    cells.widget.form.fields["point_search"].widget.value = "guided"
    record = cells.run().metadata[METADATA_KEY]
    assert "; the model has no maps of objects, so the grid was asked.\n" in cells.widget.status.text()
    assert (record["parameters"]["point_search"], record["parameters_used"]["point_search"]) == ("guided", "grid")
    assert record["point_search_note"] == "the model has no maps of objects, so the grid was asked"


def test_a_second_run_gets_a_layer_of_its_own(cells: Any) -> None:
    cells.widget.again_box.again.setCurrentText("add a layer")
    first, second = cells.run(), cells.run()
    assert first is not second
    assert second.name == "cells masks [1]"


def test_hover_and_features_name_the_same_label(cells: Any) -> None:
    layer = cells.run()
    for y, x in CENTRES:
        label_id = int(layer.data[y, x])
        text = layer.get_status((y, x), world=True)["value"]
        assert text.startswith(f"{label_id};")
        assert f"area: {int(layer.features.loc[label_id, 'area'])}" in text
    assert "nan" not in layer.get_status((0, 0), world=True)["value"]


def test_a_row_of_naparis_table_picks_its_own_label(cells: Any) -> None:
    """In a stack, whose second plane begins in the middle of the ids."""
    cells.viewer.add_image(np.stack([disc_image(CENTRES[:1]), disc_image(CENTRES[1:])]), name="stack")
    cells.widget.image_box.image.setCurrentText("stack")
    cells.widget.image_box.planes.setCurrentText("All planes")
    layer = cells.run()
    cells.widget.table_button.click()
    cells.viewer.layers.selection.active = layer
    view = cells.viewer.window._qt_window.findChild(QTableView)
    for label_id in (3, 1, 2):
        view.selectRow(_row_of(view, label_id))
        assert layer.selected_label == label_id
        plane = int(layer.features.loc[label_id, "plane"])
        assert (layer.data[plane] == label_id).sum() == layer.features.loc[label_id, "area"]


CLICKED = [  # axes, the viewer's order, options of the image
    ("zyx", (0, 1, 2), {"scale": (3, 0.5, 0.25), "translate": (5, -7, 9), "units": ("um",) * 3}),
    ("zcyx", (0, 1, 2, 3), {"scale": (2, 1, 0.5, 0.5), "affine": np.diag([2.0, 1, 3, 2, 1])}),
    ("czyx", (0, 2, 1, 3), {}),
    ("zyx", (0, 2, 1), {"rotate": [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]}),
]


@pytest.mark.parametrize(("axes", "order", "options"), CLICKED)
def test_a_row_of_the_table_goes_to_its_object(
    plugin: Any, axes: str, order: tuple[int, ...], options: dict[str, Any]
) -> None:
    viewer = plugin.viewer
    planes: Any = np.stack([disc_image(CENTRES[:1]), np.zeros((64, 80), np.uint8), disc_image(CENTRES[1:])])
    data = np.stack([planes, planes], axis=axes.index("c")) if "c" in axes else planes
    viewer.add_image(data, axis_labels=tuple(axes), **options)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    viewer.layers.selection.active = viewer.layers[0]
    viewer.dims.order = order
    plugin.widget.table_button.click()
    assert viewer.layers.selection.active is layer  # whatever was selected
    view = viewer.window._qt_window.findChild(QTableView)
    view.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    channel = viewer.dims.current_step[axes.find("c")]
    for label_id in (2, 1, 3):
        _click(plugin, view, label_id)
        assert layer.selected_label == label_id
        point = list(viewer.dims.point)
        centre = list(getattr(viewer, "scene", viewer).camera.center)[-2:]
        for axis, value in zip(viewer.dims.displayed, centre, strict=True):
            point[axis] = value
        assert layer.get_value(point, world=True) == label_id
        if "c" in axes:
            assert viewer.dims.current_step[axes.find("c")] == channel


def _row_of(view: QTableView, label_id: int) -> int:
    """The row that shows the label, whatever is sorted and left out."""
    model = view.model()
    (row,) = (row for row in range(model.rowCount()) if model.index(row, 0).data() == label_id)
    return row


def _click(plugin: Any, view: QTableView, label_id: int) -> None:
    """With the mouse, on the row that shows the label after sorting."""
    cell = view.model().index(_row_of(view, label_id), 0)
    view.scrollTo(cell)
    place = view.visualRect(cell).center()
    plugin.qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_a_table_opened_from_naparis_menu_goes_to_objects_too(cells: Any) -> None:
    layer = cells.run()
    cells.viewer.window.add_plugin_dock_widget("napari", "Features table widget")
    view = cells.viewer.window._qt_window.findChild(QTableView)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.focusChanged.emit(None, view)  # which a click does first; without a window manager no window is active
    for label_id in (2, 3):
        _click(cells, view, label_id)
        centre = getattr(cells.viewer, "scene", cells.viewer).camera.center[-2:]
        assert layer.get_value(centre, world=True) == label_id


def test_small_objects_are_shown_larger_and_others_as_they_are(cells: Any) -> None:
    layer = cells.run()
    camera = getattr(cells.viewer, "scene", cells.viewer).camera
    camera.zoom = 0.5
    go_to(cells.viewer, layer, 1)
    assert 4 < camera.zoom < 7  # 14 or 15 px, to be seen in 80
    zoom = camera.zoom = 2.5
    go_to(cells.viewer, layer, 2)
    assert camera.zoom == zoom


def test_picking_a_label_in_the_image_moves_nothing_but_the_row(cells: Any) -> None:
    layer = cells.run()
    cells.widget.table_button.click()
    camera = getattr(cells.viewer, "scene", cells.viewer).camera
    view = cells.viewer.window._qt_window.findChild(QTableView)
    _click(cells, view, 3)
    centre = camera.center
    for label_id in (1, 3):
        layer.selected_label = label_id
        assert {index.siblingAtColumn(0).data() for index in view.selectedIndexes()} == {label_id}
        assert camera.center == centre


def test_the_table_is_offered_when_there_are_results(cells: Any) -> None:
    button = cells.widget.table_button
    assert not button.isEnabled()
    cells.widget.again_box.again.setCurrentText("add a layer")
    first, second = cells.run(), cells.run()
    assert button.isEnabled()
    first.metadata[METADATA_KEY]["started"] = "2026-01-01T00:00:00+00:00"
    cells.viewer.layers.selection.active = cells.viewer.layers["cells"]
    button.click()
    assert cells.viewer.layers.selection.active is second
    cells.viewer.layers.selection.active = first
    button.click()
    assert cells.viewer.layers.selection.active is second, "the newest, whatever is selected"
    for layer in (first, second):
        cells.viewer.layers.remove(layer)
    assert not button.isEnabled()


def test_no_masks_are_said_in_words(cells: Any) -> None:
    cells.choose(pred_iou_thresh=1.0)
    layer = cells.run()
    assert not layer.data.any()
    assert list(layer.features["index"]) == [0]
    assert cells.widget.status.text().startswith("No masks found")


def test_contrast_limits_can_decide_what_the_model_sees(cells: Any) -> None:
    cells.viewer.layers["cells"].contrast_limits = (0, 240)
    cells.widget.image_box.intensities.setCurrentText("contrast limits")
    record = cells.run().metadata[METADATA_KEY]
    assert record["intensities"] == {"from": "contrast limits", "low": 0, "high": 240}
