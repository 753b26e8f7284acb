"""An empty viewer: what a new user is offered, and what is not shown of things that are not there."""

from typing import Any

import pytest

from napari_sam_amg.plugin.choices.first_steps import SAMPLES
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from tests.disc_model import disc_image


def test_in_an_empty_viewer_there_are_first_steps_and_no_rows_of_an_image(plugin: Any) -> None:
    widget = plugin.widget
    assert widget.first_steps.isVisible()
    absent = (
        widget.image_box, widget.results_box, widget.bar, widget.message, widget.table_button, widget.settings_button,
    )  # fmt: skip
    assert not any(part.isVisible() for part in absent)
    assert not widget.run_button.isEnabled()
    assert widget.model_box.isVisible()  # which a batch of files needs, too
    image = plugin.viewer.add_image(disc_image([(15, 15)]))
    assert not widget.first_steps.isVisible()
    assert all(part.isVisible() for part in (widget.image_box, widget.bar, widget.table_button))
    plugin.viewer.layers.remove(image)
    assert widget.first_steps.isVisible()


def test_other_problems_are_said_in_an_empty_viewer_too(plugin: Any) -> None:
    plugin.widget.form.fields["points_per_side"].widget.value = 0
    assert plugin.widget.message.isVisible()
    assert "Points per side" in plugin.widget.message.text()


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_opens_by_its_button(plugin: Any, key: str) -> None:
    plugin.widget.first_steps.samples[key].click()
    (layer,) = plugin.viewer.layers
    assert layer.metadata["source"]["licence"]
    assert plugin.widget.image_box.layer is layer
    assert plugin.widget.runner is None


def test_there_are_results_after_one_click(plugin: Any) -> None:
    plugin.widget.first_steps.try_button.click()
    assert plugin.widget.runner is not None
    plugin.wait()
    image, labels = plugin.viewer.layers
    assert image.name == "nuclei"
    assert labels.metadata[METADATA_KEY]["state"] == "finished"


def test_a_sample_that_cannot_be_opened_is_said(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_sam_amg.plugin.choices.first_steps.PLUGIN", "no-such-plugin")
    plugin.widget.first_steps.try_button.click()
    assert plugin.widget.runner is None
    assert len(plugin.messages) == 1
    assert not plugin.viewer.layers
    plugin.messages.clear()
