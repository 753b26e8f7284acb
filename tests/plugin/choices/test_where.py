"""Which image, which planes and which part: pinned, ranges, other axes, regions; labels lie where they belong."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_sam_amg.plugin.placing import canvas_size
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from tests.disc_model import disc_image

CENTRES = [[(15, 15)], [(15, 50), (45, 30)], [(40, 60)], [(20, 20), (20, 60), (50, 40)], [(30, 30)]]
STACK = np.stack([disc_image(centres) for centres in CENTRES])
FOUR = [(15, 20), (15, 60), (48, 20), (48, 60)]  # a disc in each quarter
UPPER = np.array([[2, 2], [2, 78], [32, 78], [32, 2]], float)


def objects(plane: np.ndarray) -> int:
    return len(np.unique(plane)) - 1


def choose_region(plugin: Any, name: str) -> None:
    box = plugin.widget.image_box.region_rows.region
    assert box.findText(name) >= 0, name
    box.setCurrentText(name)


def test_a_pinned_image_stays_whatever_is_selected(plugin: Any) -> None:
    box, layers = plugin.widget.image_box, plugin.viewer.layers
    first = plugin.viewer.add_image(STACK[0], name="first")
    box.pin.click()
    second = plugin.viewer.add_image(STACK[1], name="second")
    layers.selection.active = second
    assert box.layer is first
    first.name = "renamed"
    assert box.layer is first
    box.image.setCurrentText("second")  # by hand it changes all the same, and stays
    layers.selection.active = first
    assert box.layer is second
    box.pin.click()
    assert box.layer is first  # that which is selected
    box.pin.click()
    layers.remove(first)
    assert not box.pin.isChecked()
    assert box.layer is second
    third = plugin.viewer.add_image(STACK[2], name="third")
    plugin.viewer.add_image(STACK[3], name="on top")
    box.image.setCurrentText("second")
    box.pin.click()
    layers.selection.active = third
    layers.remove(second)
    assert (box.pin.isChecked(), box.pin.text()) == (False, "Pin")
    assert box.layer is third  # that which is selected


def choose_range(plugin: Any, *ranges: tuple[int, int]) -> None:
    rows = plugin.widget.image_box.plane_rows
    rows.planes.setCurrentText("A range")
    for row, (first, last) in zip(rows.ranges, ranges, strict=False):
        row.first.setValue(first)
        row.last.setValue(last)


def test_a_range_of_planes(plugin: Any) -> None:
    plugin.viewer.add_image(STACK, name="cells", axis_labels=("z", "y", "x"), scale=(3, 1, 1))
    plugin.viewer.dims.set_current_step(0, 0)  # not in it: it begins with its own first
    choose_range(plugin, (1, 3))
    layer = plugin.run()
    assert layer.data.shape == STACK.shape
    assert [objects(plane) for plane in layer.data] == [0, 2, 1, 3, 0]
    assert list(layer.features["plane"][1:]) == [1, 1, 2, 3, 3, 3]
    assert "In z 1 to 3. The plane in sight is none of them.\n" in plugin.widget.status.text()
    assert "Whole planes, " in plugin.widget.status.text()
    assert "The whole image (all 5 planes) would take " in plugin.widget.status.text()
    source = layer.metadata[METADATA_KEY]["source"]
    assert (source["ranges"], source["plane"]) == ({"0": [1, 4]}, None)
    image = plugin.viewer.layers["cells"]
    np.testing.assert_allclose(layer.data_to_world((2, 3, 4)), image.data_to_world((2, 3, 4)))


def test_intensities_of_a_range_are_those_of_the_whole(plugin: Any) -> None:
    dim = np.stack([STACK[0] // 2, STACK[0], STACK[1]])  # the discs of the first are black in the whole
    plugin.viewer.add_image(dim)
    choose_range(plugin, (0, 0))
    layer = plugin.run()
    assert layer.metadata[METADATA_KEY]["intensities"]["high"] == 200


def test_ranges_of_two_axes_and_a_bad_one(plugin: Any) -> None:
    plugin.viewer.add_image(np.stack([STACK, STACK[::-1]]), axis_labels=("t", "z", "y", "x"))
    rows = plugin.widget.image_box.plane_rows
    assert not any(row.isVisible() for row in rows.ranges)
    choose_range(plugin, (1, 1), (0, 2))
    assert [row.isVisible() for row in rows.ranges] == [True, True, False, False]
    layer = plugin.run()
    assert [[objects(plane) for plane in planes] for planes in layer.data] == [[0] * 5, [1, 3, 1, 0, 0]]
    rows.ranges[1].first.setValue(4)
    assert "Planes: from 4 to 2 is no range." in plugin.widget.message.text()
    assert not plugin.widget.run_button.isEnabled()


def test_a_plane_that_is_not_there_is_told_and_steps_end_at_the_last_one(plugin: Any) -> None:
    plugin.viewer.add_image(STACK, name="cells", axis_labels=("z", "y", "x"))
    choose_range(plugin, (1, 3))
    row = plugin.widget.image_box.plane_rows.ranges[0]
    plugin.qtbot.keyClick(row.last, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    plugin.qtbot.keyClicks(row.last, "44")
    assert plugin.widget.message.text() == "Planes: there is no plane 44, the last one is 4."
    assert not plugin.widget.run_button.isEnabled()
    row.last.stepUp()
    assert (row.last.value(), plugin.widget.run_button.isEnabled()) == (4, True)
    row.last.stepUp()
    row.first.stepBy(-7)
    assert row.positions == range(5)


def test_ranges_go_into_one_layer(plugin: Any) -> None:
    plugin.viewer.add_image(STACK)
    choose_range(plugin, (0, 1))
    layer = plugin.run()
    choose_range(plugin, (3, 4))
    assert plugin.run() is layer
    assert [objects(plane) for plane in layer.data] == [1, 2, 0, 3, 1]


def test_objects_through_a_range(plugin: Any) -> None:
    plugin.viewer.add_image(np.stack([STACK[0]] * 5), axis_labels=("z", "y", "x"))
    choose_range(plugin, (1, 3))
    plugin.choose(link="through z")
    layer = plugin.run()
    assert [objects(plane) for plane in layer.data] == [0, 1, 1, 1, 0]
    assert list(layer.features.loc[1, ["first_plane", "last_plane", "planes"]]) == [1, 3, 3]


@pytest.mark.parametrize("lazy", [False, True])
def test_planes_of_x_and_z_without_rolling_the_viewer(plugin: Any, lazy: bool) -> None:
    discs = np.stack([disc_image([(15, 15), (45, 60)]), disc_image([(15, 50)]), np.zeros((64, 80), np.uint8)], axis=1)
    discs = np.concatenate([discs, np.zeros((64, 20, 80), np.uint8)], axis=1)
    data = da.from_array(discs, chunks=(8, 23, 80)) if lazy else discs
    plugin.viewer.add_image(data, axis_labels=("z", "y", "x"), contrast_limits=(0, 200))
    box = plugin.widget.image_box
    assert [box.plane_rows.cut.itemText(row) for row in range(4)] == ["as displayed", "XY", "XZ", "YZ"]
    box.plane_rows.cut.setCurrentText("XZ")
    assert box.view.text() == "Planes of axes z and x"
    choose_range(plugin, (0, 2))
    layer = plugin.run()
    assert [objects(layer.data[:, y]) for y in range(4)] == [2, 1, 0, 0]
    assert layer.metadata[METADATA_KEY]["source"]["axes"]["names"] == "zx"
    # this plane is the one through the middle of the view
    box.planes.setCurrentText("This plane")
    plugin.viewer.scene.camera.center = (0, 1, 40)
    assert plugin.run() is layer
    assert layer.metadata[METADATA_KEY]["source"]["plane"] == [1]


def test_time_is_no_axis_of_space(plugin: Any) -> None:
    cut = plugin.widget.image_box.plane_rows.cut
    plugin.viewer.add_image(STACK, axis_labels=("t", "y", "x"))
    assert not cut.isVisible()
    plugin.viewer.add_image(STACK)
    assert cut.isVisible()
    plugin.viewer.add_image(STACK[0])
    assert not cut.isVisible()


def test_a_rectangle_is_segmented_and_nothing_else(plugin: Any) -> None:
    image = plugin.viewer.add_image(disc_image(FOUR), name="cells", scale=(2, 2), translate=(5, 7))
    plugin.viewer.add_shapes([UPPER * 2 + (5, 7)], shape_type="rectangle", name="here")
    choose_region(plugin, "here")
    layer = plugin.run()
    assert layer.data.shape == (30, 76)
    assert objects(layer.data) == 2
    np.testing.assert_allclose(layer.data_to_world((0, 0)), image.data_to_world((2, 2)))
    seen = {round(row.point_y) + 2: round(row.point_x) + 2 for row in layer.features[1:].itertuples()}
    assert all(image.data[y, x] for y, x in seen.items())
    for y, x in FOUR:
        world = image.data_to_world((y, x))
        assert bool(layer.get_value(world, world=True)) == (y < 32)
    source = layer.metadata[METADATA_KEY]["source"]
    assert source["region"] == {"rows": [2, 32], "columns": [2, 78]}
    assert "In a region of 30 x 76 pixels.\n" in plugin.widget.status.text()
    assert "Whole region, " in plugin.widget.status.text()
    assert "The whole image would take up to " in plugin.widget.status.text()


def test_a_region_is_the_same_in_all_planes(plugin: Any) -> None:
    plugin.viewer.add_image(STACK, name="cells")
    plugin.viewer.add_shapes([UPPER], shape_type="rectangle", name="here")
    choose_region(plugin, "here")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    assert layer.data.shape == (5, 30, 76)
    assert [objects(plane) for plane in layer.data] == [1, 1, 0, 2, 1]
    assert tuple(layer.translate) == (0, 2, 2)


def test_objects_outside_a_polygon_are_left_out_and_said(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(FOUR), name="cells")
    corners = np.array([[2, 2], [2, 78], [30, 78], [62, 30], [62, 2]], float)  # without the disc below on the right
    plugin.viewer.add_shapes([corners], shape_type="polygon", name="here")
    choose_region(plugin, "here")
    layer = plugin.run()
    assert objects(layer.data) == 3
    assert layer.data[48 - 2, 60 - 2] == 0
    assert list(layer.features["index"]) == [0, 1, 2, 3]
    assert "1 object with its centre outside the outline is left out." in plugin.widget.status.text()
    assert len(layer.metadata[METADATA_KEY]["source"]["region"]["outline"]) == 5


def test_a_region_looks_as_in_the_whole(plugin: Any, model: Any) -> None:
    """What the model is given there, to the pixel: a faint object stays faint, a hot pixel is replaced."""
    image = disc_image(FOUR).astype(np.uint16) * 10
    image[:32] //= 4
    image[20, 40] = 60000
    plugin.viewer.add_image(image, name="cells")
    plugin.run()
    whole = model.embedded[-1]
    plugin.viewer.add_shapes([UPPER], shape_type="rectangle", name="here")
    choose_region(plugin, "here")
    plugin.click_run()
    plugin.wait()
    np.testing.assert_array_equal(model.embedded[-1], whole[2:32, 2:78])


def test_shapes_of_all_kinds_and_what_is_none(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(FOUR), name="cells")
    shapes = plugin.viewer.add_shapes(name="here", ndim=2)
    choose_region(plugin, "here")
    message = plugin.widget.message
    assert "draw a rectangle or a polygon in 'here' first" in message.text()
    shapes.add_lines(np.array([[0, 0], [9, 9]]))
    assert "a line has no area" in message.text()
    shapes.add_rectangles(UPPER)
    assert "a line has no area" in message.text()  # both are taken
    choose_region(plugin, "here: selected shapes")
    shapes.selected_data = {1}
    assert not message.isVisible()
    shapes.selected_data = set()
    assert "no shape of 'here' is selected" in message.text()
    shapes.add_ellipses(np.array([[0, 0], [0, 79], [63, 79], [63, 0]], float))
    shapes.selected_data = {2}
    assert objects(plugin.run().data) == 4
    shapes.add_rectangles(UPPER + 500)
    shapes.selected_data = {3}
    assert "Region: it lies outside the image." in message.text()
    shapes.add_rectangles(UPPER[:, ::1] / 20)
    shapes.selected_data = {4}
    assert "each side must have at least 8" in message.text()
    shapes.add_rectangles(np.array([[9, 9], [9, 40], [9, 40], [9, 9]], float))
    shapes.selected_data = {1, 5}
    assert "Region: one of the shapes has no area" in message.text()
    plugin.viewer.layers.remove(shapes)
    assert plugin.widget.image_box.region_rows.region.currentText() == "The whole image"
    assert plugin.widget.run_button.isEnabled()


def test_several_shapes_at_once_as_they_are_drawn(plugin: Any) -> None:
    """Drawing selects the last one, and all of them are meant."""
    image = plugin.viewer.add_image(disc_image(FOUR), name="cells", scale=(2, 2), translate=(5, 7))
    shapes = plugin.viewer.add_shapes(name="here", ndim=2)
    box = plugin.widget.image_box.region_rows.region
    around = [np.array([(y - 12, x - 12), (y - 12, x + 12), (y + 12, x + 12), (y + 12, x - 12)]) for y, x in FOUR]
    shapes.add_rectangles(around[0] * 2 + (5, 7))
    choose_region(plugin, "here")
    shapes.add_ellipses(around[3] * 2 + (5, 7))
    shapes.selected_data = {1}
    assert box.currentText() == "here: all 2 shapes"
    layer = plugin.run()
    for y, x in FOUR:
        expected = (y, x) in (FOUR[0], FOUR[3])
        assert bool(layer.get_value(image.data_to_world((y, x)), world=True)) == expected
    assert "In 2 shapes within 57 x 64 pixels. 2 objects with their centres outside the shapes are left out." in (
        plugin.widget.status.text()
    )
    assert len(layer.metadata[METADATA_KEY]["source"]["region"]["outlines"]) == 2
    choose_region(plugin, "here: selected shapes")
    alone = plugin.run()
    assert objects(alone.data) == 1
    shapes.selected_data = {0, 1}
    assert objects(plugin.run().data) == 2
    shapes.selected_data = {1}
    shapes.remove_selected()
    assert box.currentText() == "here"
    assert objects(plugin.run().data) == 1
    plugin.viewer.layers.selection.active = plugin.viewer.layers["cells masks"]
    plugin.widget.settings_button.click()
    assert box.currentText() == "Region of 'cells masks'"


def test_the_field_in_view(plugin: Any) -> None:
    image = plugin.viewer.add_image(disc_image(FOUR), name="cells", scale=(3, 3))
    choose_region(plugin, "The field in view")
    camera = plugin.viewer.scene.camera
    camera.zoom = 0.1
    assert plugin.run().data.shape == (64, 80)  # all of it is seen
    camera.center = (0, 15 * 3, 20 * 3)
    camera.zoom = 12  # 3 px of the image are 36 of the screen
    layer = plugin.run()
    corner, size = image.world_to_data(layer.data_to_world((0, 0))), np.array(layer.data.shape)
    seen = np.array(canvas_size(plugin.viewer))[::-1] / 12 / 3  # px of the image
    low, high = np.maximum(0, (15, 20) - seen / 2), np.minimum((64, 80), (15, 20) + seen / 2)
    np.testing.assert_allclose(corner, low, atol=1)
    np.testing.assert_allclose(corner + size, high, atol=1)
    assert tuple(size) != (64, 80)
    assert layer.get_value((15 * 3, 20 * 3), world=True)
    plugin.viewer.dims.ndisplay = 3
    plugin.qtbot.waitUntil(lambda: "the field in view is that of 2D" in plugin.widget.message.text(), timeout=5000)


def test_who_looks_past_the_image_is_told_so_and_runs_when_it_is_back(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(FOUR), name="cells")
    choose_region(plugin, "The field in view")
    camera = plugin.viewer.scene.camera
    camera.center = (0, 4000, 4000)
    plugin.widget.run_button.click()  # before anybody has looked again
    assert plugin.widget.runner is None
    assert plugin.widget.message.text() == "Region: it lies outside the image."
    plugin.viewer.reset_view()
    plugin.qtbot.waitUntil(plugin.widget.run_button.isEnabled, timeout=5000)
    camera.center = (0, 4000, 4000)
    plugin.qtbot.waitUntil(lambda: not plugin.widget.run_button.isEnabled(), timeout=5000)


def test_a_region_is_a_trial_and_the_whole_comes_after_it(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(FOUR), name="cells")
    shapes = plugin.viewer.add_shapes([UPPER], shape_type="rectangle", name="here")
    choose_region(plugin, "here")
    plugin.run()
    shapes.data = [UPPER + np.array([28, 0])]
    second = plugin.run()  # another region
    names = [layer.name for layer in plugin.viewer.layers]
    assert names == ["cells", "here", "cells masks"]
    assert tuple(second.translate) == (30, 2)
    choose_region(plugin, "The whole image")
    whole = plugin.run()
    assert whole.data.shape == (64, 80)
    assert second not in plugin.viewer.layers
    choose_region(plugin, "here")
    plugin.run()
    assert whole in plugin.viewer.layers  # never replaced by a part of it
    assert len(plugin.viewer.layers) == 4


def test_settings_of_results_take_planes_and_region_back(plugin: Any) -> None:
    plugin.viewer.add_image(STACK, name="cells")
    shapes = plugin.viewer.add_shapes([UPPER], shape_type="rectangle", name="here")
    choose_region(plugin, "here")
    choose_range(plugin, (1, 3))
    first = plugin.run()
    plugin.viewer.layers.remove(shapes)
    plugin.widget.image_box.planes.setCurrentText("This plane")
    plugin.viewer.layers.selection.active = first
    plugin.widget.settings_button.click()
    assert plugin.widget.image_box.region_rows.region.currentText() == "Region of 'cells masks'"
    plugin.widget.again_box.again.setCurrentText("add a layer")
    second = plugin.run()
    assert second is not first
    np.testing.assert_array_equal(second.data, first.data)
    np.testing.assert_array_equal(second.translate, first.translate)
    sources = [layer.metadata[METADATA_KEY]["source"] for layer in (first, second)]
    assert sources[0] == sources[1]
    plugin.viewer.add_image(STACK[0, :20, :40], name="small")
    assert "Region: the region does not fit an image of 20 x 40 pixels." in plugin.widget.message.text()


def test_a_region_and_a_range_in_a_folder(plugin: Any, tmp_path: Any) -> None:
    image = plugin.viewer.add_image(STACK, name="cells", axis_labels=("z", "y", "x"), scale=(3, 2, 2))
    plugin.viewer.add_shapes([UPPER * 2], shape_type="rectangle", name="here")
    choose_region(plugin, "here")
    choose_range(plugin, (1, 3))
    plugin.widget.results_box.where.setCurrentText("in a folder")
    plugin.widget.results_box.folder.setText(str(tmp_path))
    layer = plugin.run()
    finest = layer.data[0] if layer.multiscale else layer.data
    assert finest.shape == (5, 30, 76)
    assert [objects(np.asarray(plane)) for plane in finest] == [0, 1, 0, 2, 0]
    np.testing.assert_allclose(layer.data_to_world((1, 0, 0)), image.data_to_world((1, 2, 2)))
    (opened,) = plugin.viewer.open(tmp_path / "cells_labels.ome.zarr", plugin="napari-sam-amg")
    np.testing.assert_allclose(opened.data_to_world((1, 0, 0)), image.data_to_world((1, 2, 2)))
