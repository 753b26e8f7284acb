"""Objects through z and through time, in the window."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Tracks

from napari_sam_amg.plugin.reviewing.results import go_to
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.layers import stack_names
from napari_sam_amg.plugin.running.source import take
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel

A, B = (15, 20), (45, 60)  # centres of discs, y and x
PLANES = [[], [A], [A], [A, B], [A, B], [B], []]
UNITS = {"scale": (2, 0.5, 0.25), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}


def stack(planes: Any = PLANES) -> np.ndarray:
    return np.stack([disc_image(centres) for centres in planes])


def linked(plugin: Any, words: str, **layer: Any) -> Any:
    layer = {"data": stack()} | layer
    plugin.viewer.add_image(**layer)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.choose(link=words)
    return plugin.run()


def test_an_object_has_one_id_through_z_and_the_table_a_row(plugin: Any) -> None:
    layer = linked(plugin, "through z", **UNITS)
    assert [np.unique(plane[plane > 0]).tolist() for plane in layer.data] == [[], [1], [1], [1, 2], [1, 2], [2], []]
    table = layer.features
    assert table["index"].tolist() == [0, 1, 2]
    assert np.isnan(table.loc[0, "volume"])
    for id in (1, 2):
        voxels = (layer.data == id).sum()
        assert table.loc[id, "volume"] == voxels
        assert table.loc[id, "volume_um3"] == pytest.approx(voxels * 0.25)
        assert table.loc[id, "planes"] == (layer.data == id).any(axis=(1, 2)).sum()
    assert "2 objects through z (7 masks) found in " in plugin.widget.status.text()
    plugin.viewer.dims.ndisplay = 3
    assert not [one for one in plugin.viewer.layers if isinstance(one, Tracks)]


def test_a_row_of_the_table_leads_to_its_object(plugin: Any) -> None:
    layer = linked(plugin, "through z")
    go_to(plugin.viewer, layer, 2)
    plane = plugin.viewer.dims.current_step[0]
    assert (layer.data[plane] == 2).any()
    camera = getattr(plugin.viewer, "scene", plugin.viewer).camera  # the scene's since napari 0.9
    assert camera.center[1:] == pytest.approx(B, abs=1)


def test_through_time_tracks_lie_beside(plugin: Any) -> None:
    moving = [[(15 + at, 20 + at)] for at in range(4)] + [[(45, 60)]]
    layer = linked(plugin, "through time", data=stack(moving), scale=(1, 0.5, 0.5), axis_labels=("t", "y", "x"))
    assert [np.unique(plane[plane > 0]).tolist() for plane in layer.data] == [[1]] * 4 + [[2]]
    (tracks,) = [one for one in plugin.viewer.layers if isinstance(one, Tracks)]
    assert tracks.data[:, 0].astype(int).tolist() == [1, 1, 1, 1, 2]
    for id, t, y, x in tracks.data:
        assert layer.data[int(t), round(y), round(x)] == id
    np.testing.assert_allclose(tracks.scale, layer.scale)
    assert plugin.viewer.layers.selection.active is layer
    assert layer.features["parent"].tolist()[1:] == [0, 0]


def test_tracks_of_a_stack_with_channels_lie_on_its_labels(plugin: Any) -> None:
    data = np.stack([stack([[(15 + at, 20)] for at in range(3)])] * 2, axis=1)  # (T, C, Y, X)
    layer = linked(plugin, "through time", data=data, axis_labels=("t", "c", "y", "x"))
    (tracks,) = [one for one in plugin.viewer.layers if isinstance(one, Tracks)]
    for id, *place in tracks.data:
        assert layer.data[tuple(round(at) for at in place)] == id


def test_the_choice_is_shown_for_stacks_only(plugin: Any) -> None:
    control = plugin.widget.form.fields["link"].control
    plugin.viewer.add_image(disc_image([A]))
    assert not control.isVisible()
    plugin.viewer.add_image(stack())
    assert control.isVisible()
    plugin.choose(link="through z")
    assert "Objects through z need all planes." in plugin.widget.message.text()
    plugin.widget.image_box.planes.setCurrentText("All planes")
    assert plugin.widget.run_button.isEnabled()
    plugin.widget.image_box.image.setCurrentIndex(1)  # the single image: what is hidden does not act
    assert plugin.run().features["index"].tolist() == [0, 1]


def test_continue_asks_for_missing_planes_and_links_all(plugin: Any, model: HeldModel) -> None:
    expected = linked(plugin, "through z", **UNITS)
    labels, table = expected.data.copy(), expected.features.copy()
    plugin.viewer.layers.clear()
    plugin.viewer.add_image(stack(), **UNITS)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    model.hold_after = model.batches + 4 * 4 + 1  # batches of a plane; some show nothing
    plugin.click_run()
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: model.batches >= model.hold_after, timeout=30_000)
    # the plane that the model looks at, though fewer are linked
    plugin.qtbot.waitUntil(lambda: plugin.widget.status.text().startswith("Plane 6 of 7, "), timeout=30_000)
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    first = runner.layer
    assert not np.array_equal(first.data, labels)
    assert plugin.widget.run_button.text() == "Continue"
    assert plugin.widget.again_box.words.text().endswith(", and links all planes.")
    embedded = len(model.embedded)
    layer = plugin.run()
    assert 0 < len(model.embedded) - embedded < 5  # planes that show something
    assert first not in plugin.viewer.layers
    np.testing.assert_array_equal(layer.data, labels)
    pd.testing.assert_frame_equal(layer.features, table)
    assert plugin.widget.run_button.text() == "Run"
    kept = reviewed(layer).kept  # thresholds move in all of them
    assert sorted(kept.indices) == [(plane,) for plane in range(len(PLANES))]


def test_why_nothing_goes_through_z_is_said(plugin: Any) -> None:
    layer = linked(plugin, "through z", data=stack([[A], [A], [B], []]))
    assert not layer.data.any()
    assert plugin.widget.status.text().startswith("No objects through z: of ")
    assert "none goes on through 3 planes (Min planes)" in plugin.widget.status.text()
    plugin.choose(min_planes=2)
    assert plugin.run().data.any()


def test_an_axis_that_is_not_there_is_named(plugin: Any) -> None:
    plugin.viewer.add_image(stack(), axis_labels=("t", "y", "x"))
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.choose(link="through z")
    assert "needs a stack with one axis 'z', and this one has the axes t" in plugin.widget.message.text()
    assert not plugin.widget.run_button.isEnabled()
    plugin.viewer.layers[0].axis_labels = ("z", "y", "x")
    assert plugin.widget.run_button.isEnabled()
    plugin.viewer.layers[0].axis_labels = ("t", "y", "x")
    assert not plugin.widget.run_button.isEnabled()
    plugin.choose(link="through time")
    assert plugin.widget.run_button.isEnabled()


def test_names_of_axes_are_understood() -> None:
    assert stack_names(("time", "Slice", "y", "x"), (0, 1)) == ("t", "z")
    assert stack_names(("-4", "-3", "-2", "-1"), (0, 1)) == ("t", "z")
    assert stack_names(("-3", "-2", "-1"), (0,)) == ("",)
    assert stack_names(("mouse", "z", "y", "x"), (0, 1)) == ("mouse", "z")


def test_spacing_makes_volumes_right(plugin: Any) -> None:
    image = plugin.viewer.add_image(stack(), **UNITS | {"units": ("nm", "um", "um")})
    source = take(image)
    assert source.spacing(0) == pytest.approx(0.002)
    sheared = plugin.viewer.add_image(stack(), shear=[0.3, 0.2, 0.1], **UNITS)
    source = take(sheared)
    assert np.prod(source.pixel_size) * source.spacing(0) == pytest.approx(2 * 0.5 * 0.25)
