"""Images of microscopes are opened lazily, with the names, sizes and units of their axes, which labels then have."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image

from napari_sam_amg.plugin.files.image_reader import get_reader
from tests.disc_model import disc_image
from tests.microscope_files import write_czi, write_lif, write_nd2
from tests.ome_zarrs import write

DISCS = np.stack([disc_image([(15, 15), (15, 50)]), disc_image([(45, 30)])]).astype(np.uint16)  # (Z, Y, X)


def opened(path: Path) -> list[Any]:
    reader = get_reader(str(path))
    assert reader is not None
    found = reader(str(path))
    assert {kind for _, _, kind in found} == {"image"}
    return [Image(data, **arguments) for data, arguments, _ in found]


def check_layer(layer: Any, data: Any, axes: str, scale: tuple[float, ...], units: tuple[str, ...]) -> None:
    assert layer.axis_labels == tuple(axes)
    assert layer.scale.tolist() == pytest.approx(scale)
    assert tuple(str(unit) for unit in layer.units) == units
    np.testing.assert_array_equal(np.asarray(layer.data), data)


def test_ome_zarr(tmp_path: Path) -> None:
    (layer,) = opened(write(tmp_path / "a.ome.zarr", DISCS, "zyx"))
    check_layer(layer, DISCS, "zyx", (2000.0, 500.0, 250.0), ("nanometer",) * 3)
    assert layer.name == "a.ome.zarr"


def test_nd2_has_a_layer_for_each_position(tmp_path: Path) -> None:
    data = np.stack([DISCS, DISCS // 2])[:, :, None]
    layers = opened(write_nd2(tmp_path / "a.nd2", data, [("P", 2, 0.0), ("Z", 2, 2.5)], 0.25, ["DAPI"]))
    assert [layer.name for layer in layers] == ["a.nd2 0", "a.nd2 1"]
    for layer, image in zip(layers, (DISCS, DISCS // 2), strict=True):
        check_layer(layer, image, "zyx", (2.5, 0.25, 0.25), ("micrometer",) * 3)


def test_lif_has_a_layer_for_each_image(tmp_path: Path) -> None:
    images = {"one": ("TYX", DISCS, {"T": 3.0}), "two": ("ZYX", DISCS[:, 8:], {"Z": -2e-6, "Y": 5e-7, "X": 2.5e-7})}
    first, second = opened(write_lif(tmp_path / "a.lif", images))
    check_layer(first, DISCS, "tyx", (3, 1, 1), ("second", "pixel", "pixel"))
    check_layer(second, DISCS[:, 8:], "zyx", (2, 0.5, 0.25), ("micrometer",) * 3)


def test_colours_are_colours(tmp_path: Path) -> None:
    colour = np.repeat(disc_image([(15, 15)])[..., None], 3, axis=2)
    (layer,) = opened(write_czi(tmp_path / "a.czi", [({"X": 0, "Y": 0}, colour, 0, None)]))
    assert layer.rgb
    check_layer(layer, colour, "yx", (1, 1), ("pixel", "pixel"))


def test_the_file_is_open_as_long_as_the_data_are(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.lif", {"one": ("ZYX", DISCS, {})})
    (layer,) = opened(path)
    plane = layer.data[1]
    del layer
    gc.collect()
    np.testing.assert_array_equal(plane.compute(), DISCS[1])


def test_what_is_no_image_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.lif").write_bytes(b"no Leica")
    assert get_reader(str(tmp_path / "a.lif")) is None
    assert get_reader(str(tmp_path / "none.nd2")) is None


def test_labels_have_the_axes_and_sizes_of_the_file(plugin: Any, tmp_path: Path) -> None:
    images = {"one": ("ZYX", DISCS, {"Z": -2e-6, "Y": 5e-7, "X": 2.5e-7})}
    layer = plugin.viewer.add_layer(opened(write_lif(tmp_path / "a.lif", images))[0])
    plugin.widget.image_box.planes.setCurrentText("All planes")
    labels = plugin.run()
    assert labels.axis_labels == layer.axis_labels == ("z", "y", "x")
    assert labels.scale.tolist() == layer.scale.tolist()
    assert labels.units == layer.units
    features = labels.features.iloc[1:]
    assert len(features) == 3
    assert features["area_um2"].tolist() == pytest.approx((features["area"] * 0.5 * 0.25).tolist())


@pytest.mark.parametrize("axes", [("y", "z", "x"), ("x", "z", "y"), ("z", "x", "y")])
def test_layers_with_axes_in_any_order_are_segmented_the_same(axes: tuple[str, ...], plugin: Any) -> None:
    order = ["zyx".index(axis) for axis in axes]
    planes = np.stack([disc_image([(15, 15), (15, 50), (40, 30)]), disc_image([(45, 30)])])
    layer = plugin.viewer.add_image(planes.transpose(order), axis_labels=axes, name="cells")
    # planes of y and x in sight, however they are stored
    plugin.viewer.dims.order = (axes.index("z"), axes.index("y"), axes.index("x"))
    plugin.widget.image_box.planes.setCurrentText("All planes")
    labels = plugin.run()
    assert labels.data.shape == layer.data.shape
    back = np.asarray(labels.data).transpose([axes.index(axis) for axis in "zyx"])
    np.testing.assert_array_equal(back > 0, planes > 127)
    for row in labels.features.iloc[1:].to_dict("records"):
        pixels = np.argwhere(back[int(row["plane"])] == row["index"])
        assert pixels.mean(axis=0) == pytest.approx((row["centroid_y"], row["centroid_x"]))
    assert isinstance(labels.features, pd.DataFrame)
