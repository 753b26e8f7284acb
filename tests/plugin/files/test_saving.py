"""A labels layer that is saved and opened again is the same layer: pixels, place, table, metadata, looks."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.notifications import notification_manager
from npe2 import plugin_manager

from napari_sam_amg.io.ome_labels import write_ome_labels
from napari_sam_amg.io.saved_labels import label_files
from napari_sam_amg.plugin.files.label_writer import saved_labels
from napari_sam_amg.plugin.reviewing.results import go_to, is_result
from tests.disc_model import disc_image

PLUGIN = "napari-sam-amg"
CENTRES = ((20, 16), (44, 30), (20, 60))
GEOMETRY = ("scale", "translate", "rotate", "shear")
BLOCKS = np.kron(np.arange(24).reshape(2, 3, 4), np.ones((1, 5, 6), int)).astype(np.uint8)


@pytest.fixture
def viewer() -> Any:
    """Without a window, which plays no part in it; with the plugins that one would have found."""
    plugin_manager.discover()
    return ViewerModel()


def save(viewer: Any, layer: Any, path: Path) -> list[str]:
    viewer.layers.selection = {layer}
    return [Path(name).name for name in viewer.layers.save(str(path), selected=True, plugin=PLUGIN)]


def reopened(viewer: Any, path: Path) -> Any:
    (layer,) = viewer.open(path, plugin=None)  # as the menu does
    return layer


def assert_same(layer: Any, again: Any) -> None:
    assert type(again) is Labels
    data = layer.data[0] if layer.multiscale else layer.data
    np.testing.assert_array_equal(again.data, data)
    assert again.data.dtype == data.dtype
    for name in GEOMETRY:
        np.testing.assert_array_equal(getattr(again, name), getattr(layer, name))
    np.testing.assert_array_equal(again.affine.affine_matrix, layer.affine.affine_matrix)
    assert (again.units, again.axis_labels) == (layer.units, layer.axis_labels)
    pd.testing.assert_frame_equal(again.features, layer.features)
    assert (again.opacity, again.blending, again.visible) == (layer.opacity, layer.blending, layer.visible)
    assert type(again.colormap) is type(layer.colormap)
    for label in range(60):
        np.testing.assert_array_equal(again.get_color(label), layer.get_color(label))


LAYERS: dict[str, dict[str, Any]] = {
    "plane": {"data": BLOCKS[0]},
    "tiny": {"data": np.array([[1, 0], [0, 70_000]])},
    "64 bits": {"data": BLOCKS.astype(np.uint64)},
    "dask": {"data": da.from_array(BLOCKS, chunks=(1, 5, 6)), "name": "lazy"},
    "multiscale": {"data": [BLOCKS, BLOCKS[:, ::2, ::2]], "multiscale": True},
    "placed": {
        "data": BLOCKS, "scale": (3, 0.5, 0.25), "translate": (1, -2, 3.5), "units": ("um", "nm", "nm"),
        "axis_labels": ("z", "y", "x"), "rotate": [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]],
        "shear": [0.1, 0, 0.2], "affine": np.diag([2.0, 1, 3, 1]) + np.eye(4, k=3),
    },
    "axes": {"data": BLOCKS.reshape(1, 2, 1, 15, 24), "axis_labels": ("t", "position", "c", "y", "x")},
    "looks": {
        "data": BLOCKS, "opacity": 0.3, "blending": "opaque", "visible": False, "rendering": "translucent",
        "colormap": DirectLabelColormap(color_dict={None: [0, 0, 0, 0], 1: [1, 0, 0, 1], 2: [0, 0.5, 0, 1]}),
    },
    "features": {
        "data": BLOCKS[0],
        "features": pd.DataFrame({
            "index": [0, 1, 2], "area": [np.nan, 3, 1e-320], "n": np.array([0, 4, 5], np.int16),
            "kind": ["", "a,b", 'c"\n'], "good": [False, True, True], "third": np.float32([0.1, np.nan, 1 / 3]),
            "may be": pd.array([None, 2, 3], "Int64"),
            "class": pd.Categorical(["x", "y", "x"]), "when": pd.to_datetime(["2026-01-02"] * 3),
        }).replace({"kind": {"": np.nan}}),
    },
    "more features": {
        "data": BLOCKS[0],
        "features": pd.DataFrame({
            "text": ["a\r\nb", "c\rd", "e\nf"], "phase": pd.Categorical([2, 1, 2]),
            "grade": pd.Categorical(["low", None, "low"], ["low", "middle", "high"], ordered=True),
            "on": pd.Categorical(pd.to_datetime(["2026-01-02", "2026-01-03", "2026-01-02"])),
            "after": pd.to_timedelta([1, None, 2.5], unit="s"), "note": pd.array(["001", None, "x"], "string"),
        }),
    },
    "rows of one's own": {"data": BLOCKS[0], "features": pd.DataFrame({"size": [1.5, 2.5]})},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("file", ["a.tif", "a_labels.tif"])
def test_any_labels_layer_is_the_same_again(name: str, file: str, viewer: Any, tmp_path: Path) -> None:
    layer = Labels(**LAYERS[name])
    viewer.add_layer(layer)
    image, table, record = label_files(tmp_path / file)
    assert save(viewer, layer, image) == [image.name, table.name, record.name]
    assert sorted(tmp_path.iterdir()) == sorted([image, table, record])
    again = reopened(viewer, record)
    assert_same(layer, again)
    assert again.name.startswith(layer.name)
    assert again.rendering == layer.rendering
    if file == "a_labels.tif":
        assert_same(layer, viewer.open(image, plugin=PLUGIN)[0])


def test_a_result_is_a_result_again(plugin: Any, tmp_path: Path) -> None:
    viewer = plugin.viewer
    stack = np.stack([disc_image(CENTRES[:1]), disc_image(CENTRES[1:])])
    viewer.add_image(stack, name="cells", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    save(viewer, layer, tmp_path / "a_labels.tif")
    again = reopened(viewer, tmp_path / "a_run.json")
    assert_same(layer, again)
    assert is_result(again)
    assert again.metadata == layer.metadata
    assert list(again.features.index) == list(again.features["index"]) == [0, 1, 2, 3]
    for y, x in CENTRES:
        place = (2 * (layer.data[0, y, x] == 0), y / 2, x / 2)
        assert again.get_status(place, world=True)["value"] == layer.get_status(place, world=True)["value"]
    go_to(viewer, again, 3)
    assert viewer.dims.current_step[0] == 1
    # and the table of the command line: no row for the background, whole numbers as such
    table = (tmp_path / "a_features.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["index", "1", "2", "3"]
    assert table[1].split(",")[1] == "0"


def test_metadata_of_others_are_kept_and_what_cannot_be_is_said(viewer: Any, tmp_path: Path) -> None:
    kept = {"a": 1, "b": {"c": [1.5, None, "text"]}, "where": "here"}
    endless: dict[str, Any] = {}
    endless["itself"] = endless
    converted = {"array": np.arange(3), "number": np.float32(0.5), "path": Path("x"), "tuple": (1, 2)}
    messages: list[Any] = []
    notification_manager.notification_ready.connect(messages.append)
    layer = viewer.add_labels(
        BLOCKS, metadata=kept | converted | {"model": object(), "call": print, "endless": endless}
    )
    save(viewer, layer, tmp_path / "a.tif")
    notification_manager.notification_ready.disconnect(messages.append)
    expected = kept | {"array": [0, 1, 2], "number": 0.5, "path": "x", "tuple": [1, 2]}
    assert reopened(viewer, tmp_path / "a.json").metadata == expected
    texts = [message.message for message in messages]
    assert any("metadata model, call, endless" in text for text in texts)
    assert any("Open a.json" in text for text in texts)


def test_other_programs_find_the_size_of_pixels(viewer: Any, tmp_path: Path) -> None:
    layer = viewer.add_labels(
        BLOCKS, scale=(3, 500, 250), units=("um", "nm", "nm"), axis_labels=("Z", "Y", "X"), translate=(1, 2, 3)
    )
    save(viewer, layer, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert tiff.imagej_metadata is not None
        assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["spacing"]) == ("um", 3)
        across, down = (tiff.pages.first.tags[f"{axis}Resolution"].value for axis in "XY")
        assert (across[0] / across[1], down[0] / down[1]) == (4, 2)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["layer"]["translate"] == [1, 2, 3]  # which TIFF has no place for


@pytest.mark.parametrize(("scale", "unit"), [(30, "s"), (0.5, "min")])
def test_other_programs_find_the_time_between_frames(scale: float, unit: str, viewer: Any, tmp_path: Path) -> None:
    names = {"axis_labels": ("t", "y", "x"), "units": (unit, "um", "um")}
    layer = viewer.add_labels(BLOCKS, scale=(scale, 1, 1), **names)
    save(viewer, layer, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["finterval"] == 30
    write_ome_labels(tmp_path / "a.ome.tif", saved_labels(*layer.as_layer_data_tuple()[:2])[0], "a")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (30, "s")


@pytest.mark.parametrize(
    ("labels", "axes"),
    [((), "TZYX"), (("p", "q", "y", "x"), "QQYX"), (("time", "Z", "a", "b"), "TZYX"), (("z", "z", "y", "x"), "ZQYX")],
)
def test_axes_have_letters(labels: Any, axes: str, viewer: Any, tmp_path: Path) -> None:
    named = {"axis_labels": labels} if labels else {}
    layer = viewer.add_labels(np.zeros((2, 3, 9, 9), np.uint8), **named)
    save(viewer, layer, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.series[0].axes == axes
    assert reopened(viewer, tmp_path / "a.json").axis_labels == layer.axis_labels


def test_a_second_save_leaves_nothing_of_the_first(viewer: Any, tmp_path: Path) -> None:
    first = viewer.add_labels(BLOCKS, features={"index": range(24), "x": np.arange(24.0)})
    second = viewer.add_labels(BLOCKS[0] // 5)
    for layer in (first, second):
        save(viewer, layer, tmp_path / "a.tif")
    assert_same(second, reopened(viewer, tmp_path / "a.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.tif", "a_features.csv"]


@pytest.mark.parametrize(("value", "words"), [(-1, "label -1 cannot be saved"), (2**31, "label 2147483648 cannot")])
def test_whole_or_not_at_all(value: int, words: str, viewer: Any, tmp_path: Path) -> None:
    good, bad = viewer.add_labels(BLOCKS), viewer.add_labels(BLOCKS.astype(np.int64))
    bad.data[1, 0, 0] = value
    with pytest.raises(OSError, match=words):
        save(viewer, bad, tmp_path / "new" / "a.tif")
    assert list(tmp_path.iterdir()) == []
    save(viewer, good, tmp_path / "a.tif")
    with pytest.raises(OSError, match=words):
        save(viewer, bad, tmp_path / "a.tif")
    assert_same(good, reopened(viewer, tmp_path / "a.json"))


@pytest.mark.parametrize("name", ["a.json", "a_features.csv"])
def test_files_of_others_beside_it_are_not_replaced(name: str, viewer: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(OSError, match=f"{name} is in the way"):
        save(viewer, viewer.add_labels(BLOCKS), tmp_path / "a.tif")
    assert (tmp_path / name).read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_labels_without_pixels_are_refused_in_words(viewer: Any, tmp_path: Path) -> None:
    from napari_sam_amg.plugin.files.label_writer import write_labels

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari divides by the lengths of its axes
        attributes = Labels(BLOCKS[:0]).as_layer_data_tuple()[1]
    with pytest.raises(OSError, match=r"labels of shape \(0, 15, 24\) cannot be saved: they have no pixels"):
        write_labels(str(tmp_path / "a.tif"), BLOCKS[:0], attributes)
    assert list(tmp_path.iterdir()) == []


def test_only_tiff(viewer: Any, tmp_path: Path) -> None:
    from napari_sam_amg.plugin.files.label_writer import write_labels

    layer = viewer.add_labels(BLOCKS)
    with pytest.raises(OSError, match=r"a.png is not allowed"):
        write_labels(str(tmp_path / "a.png"), *layer.as_layer_data_tuple()[:2])
    assert Path(write_labels(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])[0]).name == "a.tif"


def test_napari_reads_the_tiff_files_of_others_and_asks_nobody(viewer: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", BLOCKS)
    (layer,) = viewer.open(tmp_path / "cells.tif", plugin=None)
    assert layer.source.reader_plugin == "napari"
    (tmp_path / "cells.json").write_text('{"format": "another"}')
    assert viewer.open(tmp_path / "cells.tif", plugin=None)[0].source.reader_plugin == "napari"
    tifffile.imwrite(tmp_path / "cells_labels.tif", BLOCKS)
    for path in (tmp_path / "cells.json", tmp_path / "cells_labels.tif"):
        with pytest.raises(ValueError, match="refused the file"):
            viewer.open(path, plugin=PLUGIN)


def test_what_was_changed_since_is_said(viewer: Any, tmp_path: Path) -> None:
    layer = viewer.add_labels(BLOCKS)
    save(viewer, layer, tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.pad(BLOCKS, ((0, 0), (0, 9), (0, 0)))[:, 9:])
    messages: list[Any] = []
    notification_manager.notification_ready.connect(messages.append)
    reopened(viewer, tmp_path / "a.json")
    notification_manager.notification_ready.disconnect(messages.append)
    assert any("labels and table may disagree: a.tif" in message.message for message in messages)


def test_labels_of_another_shape_than_recorded_are_refused(viewer: Any, tmp_path: Path) -> None:
    layer = viewer.add_labels(BLOCKS)
    save(viewer, layer, tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", BLOCKS[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"of shape \(15, 24\), its record says \(2, 15, 24\)"):
            viewer.open(tmp_path / "a.json", plugin=PLUGIN)


WITHOUT_TORCH = """
import sys, numpy as np
from napari.layers import Labels
from napari_sam_amg.plugin.files.saved_reader import read_labels
from napari_sam_amg.plugin.files.label_writer import write_labels
write_labels(sys.argv[1], *Labels(np.ones((2, 9, 9), int)).as_layer_data_tuple()[:2])
read_labels(sys.argv[1])
print("torch" in sys.modules)
"""


def test_saving_and_opening_need_no_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "a.tif")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "False", result.stderr
