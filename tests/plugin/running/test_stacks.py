"""Images of every shape: which planes are read, and where their labels lie in the world."""

from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from tests.disc_model import disc_image

PLANES = [[(15, 15)], [(15, 50), (45, 30)], [(40, 60)]]  # centres of discs


@pytest.fixture
def stack() -> np.ndarray:
    """(3, 64, 80) uint8 with 1, 2 and 1 discs."""
    return np.stack([disc_image(centres) for centres in PLANES])


def all_planes(plugin: Any) -> Any:
    plugin.widget.image_box.planes.setCurrentText("All planes")
    return plugin.run()


def test_ids_are_unique_over_a_stack(plugin: Any, stack: np.ndarray) -> None:
    plugin.viewer.add_image(stack)
    plugin.viewer.dims.set_current_step(0, 0)
    layer = all_planes(plugin)
    assert layer.data.shape == stack.shape
    assert [sorted(np.unique(plane))[1:] for plane in layer.data] == [[1], [2, 3], [4]]
    assert list(layer.features["index"]) == [0, 1, 2, 3, 4]
    assert list(layer.features["plane"][1:]) == [0, 1, 1, 2]


def test_geometry_is_the_sources(plugin: Any, stack: np.ndarray) -> None:
    image = plugin.viewer.add_image(
        stack, scale=(2, 0.5, 0.25), translate=(7, 8, 9), rotate=30, units=("um",) * 3, axis_labels=("z", "y", "x")
    )
    layer = all_planes(plugin)
    corner = (1, 10, 20)
    np.testing.assert_allclose(layer.data_to_world(corner), image.data_to_world(corner))
    np.testing.assert_allclose(layer.scale, image.scale)
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
    np.testing.assert_allclose(layer.features["area_um2"][1:], layer.features["area"][1:] * 0.125)


def test_this_plane_lies_on_its_plane(plugin: Any, stack: np.ndarray) -> None:
    image = plugin.viewer.add_image(stack, scale=(5, 2, 2), translate=(-3, 0, 0), shear=[0.1, 0.2, 0.3])
    plugin.viewer.dims.set_current_step(0, 1)
    layer = plugin.run()
    assert layer.data.shape == (3, 64, 80)
    assert [plane.any() for plane in layer.data] == [False, True, False]
    np.testing.assert_allclose(layer.data_to_world((1, 4, 5)), image.data_to_world((1, 4, 5)), atol=1e-9)


def test_this_plane_is_seen_there_and_nowhere_else(plugin: Any, stack: np.ndarray) -> None:
    plugin.viewer.add_image(stack, scale=(5, 2, 2), units=("um",) * 3)
    plugin.viewer.dims.set_current_step(0, 1)
    layer = plugin.run()
    y, x = PLANES[1][0]
    seen = []
    for step in range(3):
        plugin.viewer.dims.set_current_step(0, step)
        seen.append(bool(layer.get_value((plugin.viewer.dims.point[0], 2 * y, 2 * x), world=True)))
    assert seen == [False, True, False]


def test_dask_is_read_one_plane_at_a_time(plugin: Any, stack: np.ndarray) -> None:
    reads: list[tuple[int, ...]] = []

    def read(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        reads.append(block.shape)
        return block

    lazy = da.from_array(np.tile(stack, (4, 1, 1)), chunks=(1, 64, 80)).map_blocks(read, dtype=stack.dtype, meta=stack)
    plugin.viewer.add_image(lazy, contrast_limits=(0, 255))
    plugin.widget.image_box.intensities.setCurrentText("contrast limits")
    plugin.qtbot.wait(200)
    reads.clear()
    assert all_planes(plugin).data.max() == 16
    assert set(reads) == {(1, 64, 80)}
    assert 12 <= len(reads) <= 15  # each once; napari draws one or two itself


def test_time_and_z_are_both_walked(plugin: Any, stack: np.ndarray) -> None:
    plugin.viewer.add_image(np.stack([stack, stack[::-1]]))
    layer = all_planes(plugin)
    assert layer.data.shape == (2, 3, 64, 80)
    assert layer.data.max() == 8
    assert list(layer.features["plane_0"][1:]) == [0] * 4 + [1] * 4


def test_one_channel_of_many(plugin: Any, stack: np.ndarray) -> None:
    channels = np.stack([np.zeros_like(stack), stack], axis=1)  # z, c, y, x
    plugin.viewer.add_image(channels, scale=(4, 1, 2, 2), axis_labels=("z", "c", "y", "x"), units=("um",) * 4)
    box = plugin.widget.image_box
    assert box.channel_axis.currentData() == 1  # by its label
    box.channel.setValue(1)
    layer = all_planes(plugin)
    assert layer.data.shape == (3, 1, 64, 80)
    assert layer.axis_labels == ("z", "c", "y", "x")
    np.testing.assert_allclose(layer.scale, (4, 2, 2, 2))
    assert layer.data.max() == 4
    for plane, channel in np.ndindex(3, 2):  # seen on its plane, in both channels
        plugin.viewer.dims.set_current_step((0, 1), (plane, channel))
        np.testing.assert_array_equal(layer._slice.image.raw, layer.data[plane, 0])
    assert layer.metadata[METADATA_KEY]["source"]["axes"] == {
        "stack": [0], "plane": [2, 3], "channel": 1, "names": "yx"
    }  # fmt: skip


def test_all_planes_begin_with_the_one_in_sight(plugin: Any, stack: np.ndarray) -> None:
    plugin.viewer.add_image(np.stack([stack, stack]))
    plugin.viewer.dims.set_current_step((0, 1), (1, 1))
    layer = all_planes(plugin)
    table = layer.features[1:]
    seen = list(dict.fromkeys(zip(table["plane_0"], table["plane_1"], strict=True)))
    assert seen == [(1, 1), (0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]
    assert list(table["index"]) == list(range(1, 9))  # in the order of work, so that rows and ids agree
    for label in table["index"]:
        row = layer.features.loc[label]
        assert (layer.data[int(row["plane_0"]), int(row["plane_1"])] == label).sum() == row["area"]


def test_this_plane_in_a_channel_stack_is_seen(plugin: Any, stack: np.ndarray) -> None:
    """z, c, y, x: napari matches axes from the right, so labels without c were shown along the channels."""
    plugin.viewer.add_image(np.stack([stack, stack], axis=1), axis_labels=("z", "c", "y", "x"))
    plugin.viewer.dims.set_current_step((0, 1), (2, 1))
    layer = plugin.run()
    seen = set()
    for plane, channel in np.ndindex(3, 2):
        plugin.viewer.dims.set_current_step((0, 1), (plane, channel))
        if layer._slice.image.raw.any():
            seen.add((plane, channel))
    assert seen == {(2, 0), (2, 1)}


def test_planes_in_sight_are_segmented_whichever_axes_they_have(plugin: Any) -> None:
    discs = np.stack([disc_image([(15, 15), (45, 60)]), disc_image([(15, 50)]), np.zeros((64, 80), np.uint8)], axis=1)
    plugin.viewer.add_image(discs, axis_labels=("z", "y", "x"), scale=(2, 1, 3), units=("um",) * 3)
    plugin.viewer.dims.order = (1, 0, 2)  # the viewer shows z and x
    plugin.viewer.dims.set_current_step(1, 0)
    assert plugin.widget.image_box.view.text() == "Planes of axes z and x"
    layer = all_planes(plugin)
    assert layer.data.shape == discs.shape
    assert [len(np.unique(layer.data[:, y])) - 1 for y in range(3)] == [2, 1, 0]
    assert list(layer.features["plane"][1:]) == [0, 0, 1]
    np.testing.assert_allclose(layer.features["area_um2"][1:], layer.features["area"][1:] * 6)
    np.testing.assert_allclose(layer.features.loc[3, ["centroid_z", "centroid_x"]].astype(float), (15, 50), atol=0.5)
    plugin.viewer.dims.order = (0, 1, 2)
    assert "3 x 80 pixels" in plugin.widget.message.text()
    assert not plugin.widget.run_button.isEnabled()


def test_area_is_measured_in_the_world(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image([(15, 15)]), affine=np.diag([0.5, 0.5, 1]), units=("um",) * 2)
    layer = plugin.run()
    assert layer.features.loc[1, "area_um2"] == layer.features.loc[1, "area"] / 4


@pytest.mark.parametrize("over_image", [True, False])
def test_labels_come_while_the_viewer_shows_3d(plugin: Any, stack: np.ndarray, over_image: bool) -> None:
    """With the mouse over the image, napari looks for a label there as soon as the layer is added."""
    plugin.viewer.add_image(stack)
    plugin.viewer.dims.ndisplay = 3
    plugin.viewer.mouse_over_canvas = over_image
    layer = all_planes(plugin)
    assert layer in plugin.viewer.layers
    assert plugin.viewer.mouse_over_canvas is over_image
    np.testing.assert_array_equal(layer._slice.image.raw, layer.data)
    plugin.viewer.mouse_over_canvas = False


def test_multiscale_is_segmented_at_full_resolution(plugin: Any) -> None:
    image = disc_image([(30, 30), (60, 100)], radius=12, shape=(128, 160))
    plugin.viewer.add_image([image, image[::2, ::2]], multiscale=True)
    layer = plugin.run()
    assert layer.data.shape == (128, 160)
    assert layer.data.max() == 2


def test_pixels_of_every_kind(plugin: Any) -> None:
    for kind in ("uint8", "uint16", "float32", "holes", "rgb", "rgba"):
        plugin.viewer.add_image(pixels_of(kind), contrast_limits=(0, 200), rgb=kind.startswith("rgb"))
        layer = plugin.run()
        assert layer.data.shape == (64, 80)
        assert layer.data.max() == 2, kind


def pixels_of(kind: str) -> np.ndarray:
    image: np.ndarray = disc_image([(15, 15), (45, 60)])
    if kind.startswith("rgb"):
        return np.repeat(image[..., None], len(kind), axis=2)
    if kind == "holes":
        image = image.astype(float)
        image[30, 30], image[31, 40], image[50, 5] = np.nan, np.inf, -np.inf
        return image
    return image.astype(kind) * (np.float32(0.001) if kind == "float32" else image.dtype.type(1))
