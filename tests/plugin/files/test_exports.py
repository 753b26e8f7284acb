"""napari's menu exports the labels of a layer, in a thread, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask
from qtpy.QtWidgets import QFileDialog

from napari_sam_amg.io.overlay import draw_overlay
from napari_sam_amg.io.painted import painted_records
from tests.disc_model import disc_image
from tests.io.roi_pixels import painted, read

CENTRES = ((20, 16), (44, 30), (20, 60))
STACK = np.stack([disc_image(CENTRES[:1]), disc_image(CENTRES[1:]), np.zeros((64, 80), np.uint8)])
TIMEOUT = 20_000


class Menu:
    """The menu of a viewer, whose dialog for files answers at once."""

    def __init__(self, plugin: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugin, self.asked, self.answer = plugin, [], str(folder / "a")  # type: ignore[var-annotated]
        monkeypatch.setattr(QFileDialog, "getSaveFileName", self._ask)

    def _ask(self, parent: Any, title: str, proposed: str, kind: str) -> tuple[str, str]:
        self.asked.append(proposed)
        return self.answer, kind

    def export(self, what: str) -> str:
        """Click on an entry; what was said when it was done."""
        return self._click(f"export_{what}", "")

    def save(self) -> str:
        return self._click("save_labels", ("Saved", "Nothing"))

    def _click(self, entry: str, begins: Any) -> str:
        from napari._app_model import get_app_model

        before = len(self.plugin.messages)
        get_app_model().commands.execute_command(f"napari-sam-amg.{entry}").result()
        said = lambda: [m.message for m in self.plugin.messages[before:] if m.message.startswith(begins)]  # noqa: E731
        self.plugin.qtbot.waitUntil(lambda: bool(said()), timeout=TIMEOUT)
        return str(said()[-1])


@pytest.fixture
def menu(plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Menu:
    return Menu(plugin, tmp_path, monkeypatch)


@pytest.fixture
def layer(plugin: Any) -> Any:
    plugin.viewer.add_image(STACK, name="cells")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    return plugin.run()


def decoded(path: Path, shape: tuple[int, ...]) -> Any:
    """The labels that the records of a file show."""
    labels = np.zeros(shape, int)
    for record in json.loads(path.read_text()):
        mask = coco_mask.decode(record["segmentation"]).astype(bool)
        assert record["area"] == mask.sum()
        labels[record["plane"]][mask] = record["label"]
    return labels


def test_the_table_the_regions_and_the_records_of_a_result(menu: Menu, layer: Any, tmp_path: Path) -> None:
    menu.plugin.viewer.layers.selection.active = menu.plugin.viewer.layers["cells"]  # the newest results are meant
    assert menu.export("table") == f"Exported to {tmp_path / 'a.csv'}"
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["index"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(table, layer.features.iloc[1:].reset_index(drop=True), check_dtype=False)
    assert menu.export("rois") == f"Exported to {tmp_path / 'a.zip'}"
    np.testing.assert_array_equal(painted(read(tmp_path / "a.zip"), layer.data.shape), layer.data)
    assert menu.export("coco") == f"Exported to {tmp_path / 'a.json'}"
    np.testing.assert_array_equal(decoded(tmp_path / "a.json", layer.data.shape), layer.data)
    (first, *_) = json.loads((tmp_path / "a.json").read_text())
    row = layer.features.loc[first["label"]]
    assert (first["predicted_iou"], first["stability_score"]) == (row["predicted_iou"], row["stability_score"])
    assert first["point_coords"] == [[row["point_x"], row["point_y"]]]
    assert menu.asked == ["cells masks_features.csv", "cells masks_rois.zip", "cells masks_labels.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json", "a.zip"]


def test_a_second_export_has_what_was_edited_and_nothing_else(menu: Menu, layer: Any, tmp_path: Path) -> None:
    menu.export("rois")
    menu.export("coco")
    layer.data[0][:] = 0
    layer.data[2, 5:9, 5:9] = 7  # drawn by hand: it has no row
    menu.export("rois")
    menu.export("coco")
    np.testing.assert_array_equal(painted(read(tmp_path / "a.zip"), layer.data.shape), layer.data)
    np.testing.assert_array_equal(decoded(tmp_path / "a.json", layer.data.shape), layer.data)
    last = json.loads((tmp_path / "a.json").read_text())[-1]
    assert (last["predicted_iou"], last["stability_score"], last["point_coords"]) == (None, None, [])


def test_planes_of_other_axes_and_a_channel_axis(menu: Menu, tmp_path: Path) -> None:
    viewer = menu.plugin.viewer
    tall = np.repeat(np.stack([STACK[0], STACK[1]]), 10, axis=0)
    viewer.add_image(np.stack([tall, tall], axis=1), name="cells", axis_labels=("z", "c", "y", "x"))
    viewer.dims.order = (1, 2, 0, 3)
    menu.plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = menu.plugin.run()
    assert layer.data.any()
    menu.export("rois")
    np.testing.assert_array_equal(painted(read(tmp_path / "a.zip"), (20, 64, 80)), layer.data[:, 0])
    menu.export("coco")
    shown = decoded(tmp_path / "a.json", (64, 20, 80))  # planes are those that were segmented
    np.testing.assert_array_equal(shown.transpose(1, 0, 2), layer.data[:, 0])


def test_any_labels_layer_that_is_selected(menu: Menu, layer: Any, tmp_path: Path) -> None:
    other = menu.plugin.viewer.add_labels(np.array([[0, 5], [5, 5]]), name="other")
    menu.plugin.viewer.layers.selection.active = other
    menu.export("rois")
    assert [roi.name for roi in read(tmp_path / "a.zip")] == ["5"]
    menu.export("coco")
    (record,) = json.loads((tmp_path / "a.json").read_text())
    assert (record["label"], record["area"], "plane" in record) == (5, 3, False)


def test_what_goes_wrong_is_said_and_leaves_what_was_there(menu: Menu, layer: Any, tmp_path: Path) -> None:
    menu.export("rois")
    before = (tmp_path / "a.zip").read_bytes()
    layer.data[-1, 0, 0] = -1
    for what in ("rois", "coco"):
        assert menu.export(what) == "Nothing was exported: label -1 cannot be saved: allowed are 0 to 2147483647"
    assert (tmp_path / "a.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    menu.answer = str(tmp_path / "a.zip" / "b.csv")
    assert "a.zip" in menu.export("table")


def test_labels_as_ome_tiff(menu: Menu, tmp_path: Path) -> None:
    viewer = menu.plugin.viewer
    names = {"axis_labels": ("z", "y", "x"), "units": ("um",) * 3}
    viewer.add_image(STACK, name="cells", scale=(2, 0.5, 0.25), **names)
    menu.plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = menu.plugin.run()
    assert menu.export("ome_tiff") == f"Exported to {tmp_path / 'a.ome.tif'}"
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert tiff.is_ome
        assert (tiff.series[0].axes, tiff.series[0].dtype) == ("ZYX", np.uint16)
        np.testing.assert_array_equal(tiff.asarray(), layer.data)
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [pixels[f"PhysicalSize{axis}"] for axis in "XYZ"] == [0.25, 0.5, 2]
    assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "XYZ"} == {"µm"}
    layer.data[0, 0, 0] = 70_000
    menu.answer = str(tmp_path / "b.OME.TIF")
    menu.export("ome_tiff")
    again = tifffile.imread(tmp_path / "b.OME.TIF")
    assert (again.dtype, again[0, 0, 0]) == (np.uint32, 70_000)
    assert menu.asked[0] == "cells masks_labels.ome.tif"
    odd = viewer.add_labels(layer.data.copy(), axis_labels=("wavelength", "y", "x"))
    viewer.layers.selection.active = odd
    assert menu.export("ome_tiff").endswith("1 of these 3 have other names: name the axes of the layer")


def test_a_picture_of_the_plane_in_sight(menu: Menu, layer: Any, tmp_path: Path) -> None:
    viewer = menu.plugin.viewer
    viewer.dims.set_current_step(0, 1)
    layer.data[1, 2:6, 70:76] = 9  # as it is now, edits and all
    assert menu.export("overlay") == f"Exported to {tmp_path / 'a.png'}"
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (64, 80, 3)
    image = np.repeat((STACK[1] > 0)[..., None] * np.uint8(255), 3, axis=2)
    np.testing.assert_array_equal(picture, draw_overlay(image, layer.data[1]))
    assert not (picture == image).all()
    other = viewer.add_labels(layer.data.copy(), name="other")
    viewer.layers.selection.active = other
    assert menu.export("overlay") == "'other' was found by no run, so its image is not known."
    assert menu.asked == ["cells masks_overlay.png"]


def test_nothing_to_export_is_said_and_cancelling_does_nothing(menu: Menu, tmp_path: Path) -> None:
    assert menu.export("rois").startswith("There is no labels layer to export")
    assert menu.asked == []
    menu.plugin.viewer.add_labels(np.ones((9, 9), int))
    menu.answer = ""
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command("napari-sam-amg.export_rois").result()
    assert list(tmp_path.iterdir()) == []


def test_records_of_far_labels_are_made_of_their_own_pixels() -> None:
    labels = np.zeros((6, 7), np.int64)
    labels[1:3, 2:5], labels[4, 6] = 10**6, 10**6 + 2
    records = list(painted_records(labels, pd.DataFrame(), (1, 4)))
    assert [record["label"] for record in records] == [10**6, 10**6 + 2]
    assert [record["bbox"] for record in records] == [[2, 1, 2, 1], [6, 4, 0, 0]]
    assert [record["plane"] for record in records] == [[1, 4], [1, 4]]
    for record in records:
        mask = coco_mask.decode(record["segmentation"])
        np.testing.assert_array_equal(mask, labels == record["label"])


def test_all_of_a_layer_is_saved_from_the_menu_and_opened_again(menu: Menu, layer: Any, tmp_path: Path) -> None:
    layer.metadata["model"] = object()
    assert menu.save() == f"Saved as a_labels.tif, a_features.csv, a_run.json in {tmp_path}"
    assert menu.asked == ["cells masks_labels.tif"]
    assert any("Not saved" in str(message.message) for message in menu.plugin.messages)
    (again,) = menu.plugin.viewer.open(tmp_path / "a_labels.tif", plugin="napari-sam-amg")
    np.testing.assert_array_equal(again.data, layer.data)
    pd.testing.assert_frame_equal(again.features, layer.features)
    menu.answer = str(tmp_path / "absent" / "b.tif")
    (tmp_path / "absent").write_text("a file")
    assert menu.save().startswith("Nothing was saved: ")
    menu.plugin.messages.clear()
