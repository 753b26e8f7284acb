"""What is shown of a result layer is changed in one way: labels and table at once."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from napari.layers._layer_actions import _duplicate_layer

from napari_sam_amg.plugin.reviewing.layer_table import layer_features, object_rows, with_rows
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from tests.disc_model import disc_image

A, B, C = (15, 20), (45, 60), (15, 60)  # centres of discs, y and x


def run(plugin: Any, data: np.ndarray, **layer: Any) -> Any:
    plugin.viewer.add_image(data, **layer)
    if data.ndim > 2:
        plugin.widget.image_box.planes.setCurrentText("All planes")
    return plugin.run()


def rows_of(*ids: int, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"index": ids, "area": [10 * id for id in ids]} | columns)


def test_a_plane_is_shown_with_its_rows_and_the_others_stay(plugin: Any) -> None:
    layer = run(plugin, np.stack([disc_image([A, B]), disc_image([A, C])]))
    review, before = reviewed(layer), layer.features.copy()
    emitted = []
    review.changed.connect(lambda: emitted.append(True))
    labels = np.where(review.plane((1,)) == 4, 7, 0).astype(np.int32)
    row = before[before["index"] == 4].assign(index=7)
    review.show((1,), labels, row)
    assert emitted == [True]
    assert np.unique(layer.data).tolist() == [0, 1, 2, 7]
    np.testing.assert_array_equal(layer.data[1], labels)
    assert layer.features["index"].tolist() == list(range(8))
    assert review.table["index"].tolist() == [1, 2, 7]
    assert layer.features.loc[2].equals(before.loc[2])
    assert layer.features.loc[7, "predicted_iou"] == before.loc[4, "predicted_iou"]
    assert layer.features.loc[[0, 3, 4, 5, 6]].drop(columns="index").isna().all(axis=None)
    assert all(kind in ("int64", "float64") for kind in map(str, layer.features.dtypes))


def test_what_is_drawn_is_what_the_layer_holds(plugin: Any) -> None:
    layer = run(plugin, disc_image([A, B]))
    reviewed(layer).show((), np.zeros(layer.data.shape, np.int32), rows_of())
    assert not layer._slice.image.view.any()
    assert len(reviewed(layer).table) == 0
    assert len(layer.features) == 1


def test_columns_measured_on_demand_stay_for_objects_that_did_not_change() -> None:
    table = rows_of(1, 2, 3, perimeter=[1.0, 2.0, 3.0])
    new = with_rows(table, rows_of(2, 5), changed=np.array([3, 5]))
    assert new["index"].tolist() == [1, 2, 5]
    np.testing.assert_array_equal(new["perimeter"], [1, 2, np.nan])
    assert new.columns.tolist() == ["index", "area", "perimeter"]


def test_rows_of_objects_and_of_napari() -> None:
    features = layer_features(rows_of(2, 4, score=np.array([0.5, 0.25], np.float32)))
    assert features["index"].tolist() == [0, 1, 2, 3, 4]
    assert object_rows(features).equals(rows_of(2, 4, score=[0.5, 0.25]).astype({"area": float}))
    assert len(object_rows(pd.DataFrame())) == 0


@pytest.mark.parametrize(("names", "order"), [("zxy", (0, 1, 2)), ("yzx", (1, 0, 2))])
def test_planes_are_found_however_the_stack_lies(plugin: Any, names: str, order: Any) -> None:
    """Turned, and seen from the side: labels of a plane come as they were segmented."""
    data = np.stack([disc_image([A]), disc_image([A, B])])
    plugin.viewer.add_image(data.transpose(["zyx".index(name) for name in names]), axis_labels=tuple(names))
    plugin.viewer.dims.order = order
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    review = reviewed(layer)
    assert np.unique(review.plane((1,))).tolist() == [0, 2, 3]
    assert (review.plane((1,)) > 0).tolist() == (review.source.upright(layer.data[review.place((1,))]) > 0).tolist()
    assert review.plane((1,)).shape == (64, 80)
    labels = np.where(review.plane((1,)) == 3, 4, 0).astype(np.int32)
    review.show((1,), labels, rows_of(4))
    np.testing.assert_array_equal(review.plane((1,)), labels)
    assert review.plane((1,))[B] == 4


def test_one_plane_of_a_stack_lies_in_its_place(plugin: Any) -> None:
    plugin.viewer.add_image(np.stack([disc_image([A]), disc_image([A, B])]))
    plugin.viewer.dims.set_point(0, 1)
    layer = plugin.run()
    assert reviewed(layer).place((1,)) == (1, slice(None), slice(None))
    assert np.unique(reviewed(layer).plane((1,))).tolist() == [0, 1, 2]


def test_what_cannot_be_changed_says_why(plugin: Any, model: Any) -> None:
    plugin.viewer.add_image(np.stack([disc_image([A]), disc_image([A, B])]))
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 5)
    plugin.qtbot.waitUntil(lambda: plugin.widget.runner.layer is not None)
    layer = plugin.widget.runner.layer
    assert "The run goes on" in reviewed(layer).why_fixed
    with pytest.raises(ValueError, match="The run goes on"):
        reviewed(layer).show((0,), np.zeros((64, 80), np.int32), rows_of())
    model.release.set()
    plugin.wait()
    assert reviewed(layer).why_fixed == ""
    assert reviewed(layer).source.name == "Image"
    with pytest.raises(ValueError, match="10 x 10 pixels do not fit plane \\(0,\\) of 64 x 80"):
        reviewed(layer).show((0,), np.zeros((10, 10), np.int32), rows_of())
    layer.data = np.broadcast_to(np.int32(0), layer.data.shape)
    assert "can only be read" in reviewed(layer).why_fixed


def test_labels_of_another_kind_or_size_are_not_written_over(plugin: Any) -> None:
    layer = run(plugin, disc_image([A, B]))
    layer.data = layer.data.astype(np.uint8)
    plugin.qtbot.wait(50)
    with pytest.raises(ValueError, match="label 300 does not fit the layer's data of type uint8, up to 255"):
        reviewed(layer).show((), np.full(layer.data.shape, 300, np.int32), rows_of(300))
    reviewed(layer).show((), np.full(layer.data.shape, 200, np.int32), rows_of(200))
    assert (layer.data == 200).all()
    layer.data = np.pad(layer.data, 4)
    plugin.qtbot.wait(50)
    with pytest.raises(ValueError, match="of another size than those that the run gave"):
        reviewed(layer).show((), np.zeros(layer.data.shape, np.int32), rows_of())


def test_the_copy_of_a_layer_has_a_record_of_its_own(plugin: Any) -> None:
    layer = run(plugin, disc_image([A, B]))
    plugin.viewer.layers.selection = {layer}
    _duplicate_layer(plugin.viewer.layers)
    copy = plugin.viewer.layers[f"{layer.name} copy"]
    params = reviewed(layer).params
    assert params is not None
    reviewed(layer).tell(replace(params, min_area=7), params, {})
    assert (reviewed(layer).params.min_area, reviewed(copy).params.min_area) == (7, params.min_area)  # type: ignore[union-attr]


def test_a_layer_that_nobody_has_is_not_kept() -> None:
    layer = Labels(np.zeros((4, 4), np.int32))
    review = reviewed(layer)
    review.kept = np.zeros(10)
    assert reviewed(layer) is review
    gone, candidates = weakref.ref(layer), weakref.ref(review)
    del review, layer
    gc.collect()
    assert gone() is None
    assert candidates() is None
