"""What napari learns about the plugin before it is used."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from magicgui.widgets import Container
from napari.layers import Layer
from npe2 import PluginManifest

import napari_sam_amg
from napari_sam_amg.plugin import sample_data
from napari_sam_amg.plugin.shortcuts import NOT_OPEN

PACKAGE = Path(napari_sam_amg.__file__).parent
ROOT = Path(__file__).parents[2]
DATA_LIMIT = 1_500_000  # bytes of all sample images

OPEN_THE_WIDGET = """
import sys, warnings
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication
application = QApplication([])
from napari_sam_amg.plugin.widget import SegmentWidget
viewer = ViewerModel()
viewer.add_image(__import__("numpy").zeros((20, 64, 64)))
widget = SegmentWidget(viewer).panel
widget.show()
application.processEvents()
assert widget.form.parameters().points_per_side
print([name for name in ("torch", "torchvision", "pooch", "requests", "filelock") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(PACKAGE / "napari.yaml")


def test_the_manifest_is_valid_and_every_command_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    for command in manifest.contributions.commands or ():
        assert command.python_name


def test_the_manifest_at_the_root_is_the_same_file() -> None:
    if not (ROOT / "src").exists():
        pytest.skip("not a checkout")
    assert (ROOT / "napari.yaml").samefile(PACKAGE / "napari.yaml")


def test_the_widget_is_in_the_segment_menu(manifest: PluginManifest) -> None:
    menu = manifest.contributions.menus["napari/layers/segment"]
    assert [item.command for item in menu] == ["napari-sam-amg.segment"]
    assert [widget.command for widget in manifest.contributions.widgets or ()] == ["napari-sam-amg.segment"]


def test_pages_and_messages_call_it_as_the_menu_does(manifest: PluginManifest) -> None:
    if not (ROOT / "src").exists():
        pytest.skip("not a checkout")
    (widget,) = manifest.contributions.widgets or ()
    for words in (NOT_OPEN, (ROOT / "README.md").read_text("utf-8"), (ROOT / "docs/first-run.md").read_text("utf-8")):
        assert re.findall(r"Layers > Segment > ([\w ]+)", words) == [widget.display_name]


def test_napari_opens_the_widget_by_its_name(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam-amg", "Segment everything")
    assert isinstance(widget, Container)  # of magicgui
    assert not widget.panel.run_button.isEnabled()


@pytest.mark.parametrize("key", ["nuclei", "tissue", "nuclei_stack", "electron_microscopy_stack"])
def test_sample_images_are_layers_with_their_sources(key: str) -> None:
    (layer_data,) = getattr(sample_data, key)()
    layer = Layer.create(*layer_data)
    assert np.ptp(layer.data) > 0
    assert {"from", "licence", "cite"} == layer.metadata["source"].keys()
    assert f"{key}.tif" in (sample_data.DATA / "SOURCES.md").read_text()


def test_sample_images_stay_small() -> None:
    assert sum(path.stat().st_size for path in sample_data.DATA.iterdir()) < DATA_LIMIT


def test_opening_the_widget_imports_no_torch() -> None:
    script = [sys.executable, "-c", OPEN_THE_WIDGET]
    result = subprocess.run(script, capture_output=True, text=True, check=False, env=_screenless())
    assert result.stdout.strip() == "[]", result.stderr


def _screenless() -> dict[str, str]:
    import os

    return {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
