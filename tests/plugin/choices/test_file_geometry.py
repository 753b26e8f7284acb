"""What a TIFF file says of its axes goes to the layer that napari opened without it, when that is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.plugin.choices.image_box import ALL_PLANES
from tests.cli.test_axes import VOLUME, write_ome_tiff


def button(plugin: Any) -> Any:
    return plugin.widget.image_box.sizes


def opened(plugin: Any, path: Path) -> Any:
    (layer,) = plugin.viewer.open(str(path), plugin="napari")
    return layer


def test_an_ome_tiff_gives_its_axes_to_layer_labels_and_table(plugin: Any, tmp_path: Path) -> None:
    write_ome_tiff(tmp_path / "a.ome.tif")
    layer = opened(plugin, tmp_path / "a.ome.tif")
    assert button(plugin).isVisible()
    button(plugin).click()
    assert plugin.messages[-1].message == ("a.ome: t 30 second, z 2 micrometer, y 0.5 micrometer, x 0.25 micrometer")
    assert not button(plugin).isVisible()
    assert layer.axis_labels == ("t", "z", "c", "y", "x")
    assert layer.scale.tolist() == [30, 2, 1, 0.5, 0.25]
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "pixel", "micrometer", "micrometer"]
    box = plugin.widget.image_box
    assert box.channel_axis.currentData() == 2  # found by its name
    box.channel.setValue(1)
    box.planes.setCurrentText(ALL_PLANES)
    labels = plugin.run()
    assert labels.axis_labels == layer.axis_labels
    assert labels.scale[[0, 1, 3, 4]].tolist() == [30, 2, 0.5, 0.25]
    np.testing.assert_array_equal(np.asarray(labels.data)[:, :, 0] > 0, VOLUME > 127)
    features = labels.features.iloc[1:]
    assert features["area_um2"].tolist() == pytest.approx((features["area"] * 0.5 * 0.25).tolist())


def test_files_that_say_nothing_and_other_layers(plugin: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[0, 0], photometric="minisblack", metadata=None)
    layer = opened(plugin, tmp_path / "a.tif")
    button(plugin).click()
    assert plugin.messages[-1].message == "The file a.tif says nothing of its axes and their sizes"
    assert layer.axis_labels == ("-2", "-1")
    layer.data = np.zeros((60, 60))
    button(plugin).click()
    assert "holds an image of shape (40, 56), which is not that of the layer" in plugin.messages[-1].message
    (tmp_path / "a.tif").unlink()
    button(plugin).click()
    assert "a.tif" in plugin.messages[-1].message
    plugin.viewer.add_image(VOLUME, name="array")
    assert not button(plugin).isVisible()
