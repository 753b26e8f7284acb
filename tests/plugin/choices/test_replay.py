"""The settings of a layer run again, in Python and in the widget, to equal labels."""

from typing import Any

import numpy as np
import pytest

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.replay import segment_again
from napari_sam_amg.settings import differences
from tests.disc_model import BlobModel, disc_image

CENTRES = ((20, 16), (44, 30), (20, 60))
STACK = np.stack([disc_image(CENTRES[:1]), disc_image(CENTRES[1:]) // 2, disc_image(CENTRES)])


@pytest.fixture
def cells(plugin: Any) -> Any:
    plugin.viewer.add_image(STACK, name="cells")
    plugin.viewer.dims.set_current_step(0, 1)
    return plugin


def labels_again(record: Any, image: Any, model: Any = None) -> Any:
    steps = segment_again(PlaneStack(image), record, model or BlobModel())
    results = {step.result.index: step.result.labels for step in steps if step.result}
    return np.stack([results[index] for index in sorted(results)])


@pytest.mark.parametrize(
    ("planes", "brightness"),
    [("All planes", "percentiles"), ("This plane", "percentiles"), ("All planes", "contrast limits")],
)
def test_a_layers_record_runs_again_in_python(planes: str, brightness: str, cells: Any) -> None:
    cells.viewer.layers["cells"].contrast_limits = (10, 150)
    cells.choose(pred_iou_thresh=0.65)
    cells.widget.image_box.planes.setCurrentText(planes)
    cells.widget.image_box.intensities.setCurrentText(brightness)
    layer = cells.run()
    assert layer.data[layer.data.shape[0] // 2].any()
    image = STACK if planes == "All planes" else STACK[1]
    shown = layer.data if planes == "All planes" else layer.data[1:2]
    np.testing.assert_array_equal(labels_again(layer.metadata, image), shown)


def test_a_model_that_is_another_file_by_now_is_refused(cells: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sam_amg.models import checkpoint

    record = cells.run().metadata
    monkeypatch.setattr(checkpoint, "load_model", lambda *_, **__: BlobModel())
    assert list(segment_again(PlaneStack(STACK), record))
    record[METADATA_KEY]["model"]["sha256"] = "1" * 64
    with pytest.raises(CheckpointError, match="model 'blobs' is not the one of the record any more"):
        segment_again(PlaneStack(STACK), record)


def test_the_widget_takes_the_settings_of_a_layer(cells: Any) -> None:
    widget = cells.widget
    assert not widget.settings_button.isEnabled()
    widget.image_box.planes.setCurrentText("All planes")
    widget.image_box.intensities.setCurrentText("contrast limits")
    cells.viewer.layers["cells"].contrast_limits = (10, 150)
    widget.model_box.precision.setCurrentText("fast")
    cells.choose(pred_iou_thresh=0.6512, min_mask_region_area=20, overlap="small")
    first = cells.run()
    # and everything else
    cells.viewer.layers["cells"].contrast_limits = (0, 255)
    widget.image_box.planes.setCurrentText("This plane")
    widget.image_box.intensities.setCurrentText("percentiles")
    widget.model_box.precision.setCurrentText("exact")
    cells.choose(pred_iou_thresh=0.9, min_mask_region_area=0, overlap="large", points_per_side=9)
    cells.viewer.layers.selection.active = first
    widget.settings_button.click()
    assert "These are the settings of 'cells masks'." in widget.status.text()
    assert "were set to 10 and 150" in widget.status.text()
    assert "Choose the model 'blobs' by its file." in widget.status.text()
    second = cells.run()
    np.testing.assert_array_equal(second.data, first.data)
    before, after = (layer.metadata[METADATA_KEY] for layer in (first, second))
    assert differences(before, after) == []
    cells.choose(overlap="large")
    assert [name for name, *_ in differences(before, cells.run().metadata)] == ["parameters.overlap", "used.overlap"]


def test_a_model_of_the_list_is_chosen(cells: Any) -> None:
    layer = cells.run()
    layer.metadata[METADATA_KEY]["model"]["name"] = "vit_b"
    cells.choose(pred_iou_thresh=0.5)
    cells.widget.settings_button.click()
    assert cells.widget.model_box.model.name == "vit_b"
    assert cells.widget.form.parameters().pred_iou_thresh == 0.9  # of the run, not what suits the model
    assert "by its file" not in cells.widget.status.text()


def test_a_record_without_settings_is_an_error_in_words(cells: Any) -> None:
    layer = cells.run()
    layer.metadata[METADATA_KEY]["parameters"]["overlap"] = "none"
    cells.widget.settings_button.click()
    assert any("verlap='none' is not allowed" in message.message for message in cells.messages)


@pytest.mark.parametrize("corners", [[(2, 2), (2, 70), (60, 70), (60, 2)], [(2, 2), (2, 70), (30, 40), (60, 2)]])
def test_a_region_and_a_range_run_again_in_python(cells: Any, corners: Any) -> None:
    cells.viewer.add_shapes([np.array(corners, float)], shape_type="polygon", name="here")
    box = cells.widget.image_box
    box.region_rows.region.setCurrentText("here")
    box.planes.setCurrentText("A range")
    box.plane_rows.ranges[0].first.setValue(1)
    layer = cells.run()
    assert layer.data[1:].any()
    np.testing.assert_array_equal(labels_again(layer.metadata, STACK[1:]), layer.data[1:])
