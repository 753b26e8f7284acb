"""What the command line wrote is opened as a layer of results."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from npe2 import plugin_manager

from napari_sam_amg.io.saved_labels import older_outputs
from napari_sam_amg.models import checkpoint
from napari_sam_amg.plugin.files.label_writer import write_labels
from napari_sam_amg.plugin.files.saved_reader import read_labels
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY, go_to, is_result
from tests import ome_zarrs
from tests.cli.terminal import STACK, Terminal

PLUGIN = "napari-sam-amg"
SIZES = {"resolution": (4, 2), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 3}, "imagej": True}


@pytest.fixture
def terminal(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal(tmp_path, capsys)
    monkeypatch.setattr(checkpoint, "load_model", lambda *_, **__: terminal.model)
    return terminal


@pytest.fixture
def viewer() -> Any:
    plugin_manager.discover()
    return ViewerModel()


@pytest.mark.parametrize("name", ["s_labels.tif", "s_run.json"])
def test_results_of_the_command_line_are_a_result(name: str, terminal: Terminal, viewer: Any) -> None:
    assert terminal.segment(terminal.stack(**SIZES)) == 0
    (layer,) = viewer.open(terminal.out / name, plugin=PLUGIN)
    np.testing.assert_array_equal(layer.data, tifffile.imread(terminal.out / "s_labels.tif"))
    assert layer.data.shape == STACK.shape
    assert layer.scale.tolist() == [3, 0.5, 0.25]
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert is_result(layer)
    assert list(layer.features.index) == list(layer.features["index"]) == [0, 1, 2, 3, 4, 5]
    assert layer.features.iloc[0, 1:].isna().all()
    table = pd.read_csv(terminal.out / "s_features.csv")
    pd.testing.assert_frame_equal(layer.features.iloc[1:].reset_index(drop=True), table, check_dtype=False)
    for label in (1, 4, 5):
        go_to(viewer, layer, label)
        row = layer.features.loc[label]
        assert viewer.dims.current_step[0] == row["plane"]
        place = [3 * row["plane"], row["centroid_y"] / 2, row["centroid_x"] / 4]
        assert layer.get_value(place, world=True) == label
        assert layer.get_status(place, world=True)["value"].startswith(f"{label};")
    assert layer.get_status((3, 0, 0), world=True)["value"].startswith("0")  # NaN is not what it stumbles over


def test_the_record_is_the_layers(terminal: Terminal, viewer: Any) -> None:
    terminal.segment(terminal.png(), "--pred-iou-thresh", "0.91")
    record = viewer.open(terminal.out / "a_run.json", plugin=None)[0].metadata[METADATA_KEY]
    assert record["parameters"]["pred_iou_thresh"] == 0.91
    assert record["model"]["name"] == "blobs"
    assert record["input"]["path"].endswith("a.png")
    assert record["source"]["axes"] == {"stack": [], "plane": [0, 1], "channel": None, "names": "yx"}


def test_pixels_of_unknown_size_are_pixels(terminal: Terminal, viewer: Any) -> None:
    terminal.segment(terminal.png())
    (layer,) = viewer.open(terminal.out / "a_run.json", plugin=None)
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
    assert layer.scale.tolist() == [1, 1]


#: Scale, origin and units of an OME-Zarr.
PLACES: dict[str, tuple[Any, Any, Any]] = {
    "an origin": ((3, 0.5, 0.25), (1, -2, 3.5), ["micrometer"] * 3),
    "several units": ((1, 500, 0.25), (0, 0, 0), ["millimeter", "nanometer", "micrometer"]),
    "no units": ((3, 0.5, 0.25), (0, 0, 0), [None] * 3),
    "units that nobody knows": ((3, 0.5, 0.25), (0, 0, 0), ["Micrometer", "none", "bogus (1/"]),
}


def placed(path: Path, scale: Any, origin: Any, units: list[str | None]) -> Path:
    group = zarr.open_group(ome_zarrs.write(path, STACK, "zyx"), mode="r+")
    attributes: Any = dict(group.attrs)
    image = attributes["ome"]["multiscales"][0]
    image["axes"] = [
        {"name": name, "type": "space"} | ({"unit": unit} if unit else {})
        for name, unit in zip("zyx", units, strict=True)
    ]
    transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": origin}]
    image["datasets"] = [image["datasets"][0] | {"coordinateTransformations": transforms}]
    group.attrs.update(attributes)
    return path


@pytest.mark.parametrize("name", PLACES)
def test_labels_lie_on_their_image(name: str, terminal: Terminal, viewer: Any) -> None:
    path = placed(terminal.folder / "s.ome.zarr", *PLACES[name])
    assert terminal.segment(path, "--format", "labels,zarr") == 0
    (image,) = viewer.open(path, plugin=PLUGIN)
    for result in ("s_run.json", "s_labels.ome.zarr"):
        (layer,) = viewer.open(terminal.out / result, plugin=PLUGIN)
        assert layer.extent.world.tolist() == image.extent.world.tolist()
        assert (layer.scale.tolist(), layer.translate.tolist()) == (image.scale.tolist(), image.translate.tolist())
        assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)


def test_a_record_of_an_earlier_version_tells_micrometres(terminal: Terminal) -> None:
    terminal.segment(terminal.stack(**SIZES))
    path = terminal.out / "s_run.json"
    ((_, before, _),) = read_labels(str(path))
    record = json.loads(path.read_text())
    del record["spacings"]
    path.write_text(json.dumps(record))
    ((_, attributes, _),) = read_labels(str(path))
    assert [attributes[name] for name in ("scale", "units")] == [before[name] for name in ("scale", "units")]
    assert len({*attributes["scale"]}) == 3


def test_results_saved_again_are_the_same_again(terminal: Terminal, viewer: Any) -> None:
    terminal.segment(terminal.stack(**SIZES))
    (layer,) = viewer.open(terminal.out / "s_run.json", plugin=None)
    written = viewer.layers.save(str(terminal.folder / "again.tif"), plugin=PLUGIN)
    (again,) = viewer.open(written[-1], plugin=None)
    np.testing.assert_array_equal(again.data, layer.data)
    pd.testing.assert_frame_equal(again.features, layer.features)
    assert again.metadata == layer.metadata


@pytest.mark.parametrize(("link", "axes"), [("z", "ZYX"), ("t", "TYX")])
def test_objects_through_a_stack_have_their_own_table(link: str, axes: str, terminal: Terminal, viewer: Any) -> None:
    sizes = {"axes": axes, "unit": "um", "spacing": 3, "finterval": 30}
    path = terminal.folder / "o.tif"
    tifffile.imwrite(path, STACK[[2, 2, 2]], imagej=True, resolution=(4, 2), metadata=sizes)
    assert terminal.segment(path, "--link", link) == 0
    (layer,) = viewer.open(terminal.out / "o_run.json", plugin=None)
    objects = pd.read_csv(terminal.out / "o_objects.csv")
    assert len(objects) == 2 < len(pd.read_csv(terminal.out / "o_features.csv"))
    pd.testing.assert_frame_equal(layer.features.iloc[1:].reset_index(drop=True), objects, check_dtype=False)
    assert layer.scale.tolist() == [3 if link == "z" else 30, 0.5, 0.25]
    assert [str(unit) for unit in layer.units] == ["micrometer" if link == "z" else "second", *["micrometer"] * 2]
    go_to(viewer, layer, 2)
    row = layer.features.loc[2]
    place = layer.data_to_world([row["plane"], row["centroid_y"], row["centroid_x"]])
    assert layer.get_value(place, world=True) == 2
    written = viewer.layers.save(str(terminal.folder / "again_labels.tif"), plugin=PLUGIN)
    assert Path(written[0]).read_bytes() == (terminal.out / "o_labels.tif").read_bytes()


def test_a_table_of_objects_that_is_gone_is_named(terminal: Terminal) -> None:
    tifffile.imwrite(terminal.folder / "o.tif", STACK[[2, 2, 2]], imagej=True, metadata={"axes": "ZYX"})
    terminal.segment(terminal.folder / "o.tif", "--link", "z")
    (terminal.out / "o_objects.csv").unlink()
    with pytest.raises(ValueError, match=r"o_objects\.csv is no table of labels: No such file"):
        read_labels(str(terminal.out / "o_labels.tif"))


def test_what_was_made_of_the_labels_before_is_named_and_goes_with_the_next_run(terminal: Terminal) -> None:
    path = terminal.png()
    terminal.segment(path, "--format", "labels,rois", "--overlay")
    data, attributes, _ = read_labels(str(terminal.out / "a_run.json"))[0]
    layer = Labels(np.where(data == 1, 0, data), **attributes)
    for _ in range(2):  # it is known the second time, too
        messages: list[Any] = []
        notification_manager.notification_ready.connect(messages.append)
        write_labels(str(terminal.out / "a_labels.tif"), *layer.as_layer_data_tuple()[:2])
        notification_manager.notification_ready.disconnect(messages.append)
        assert [message.message.split(": ")[1] for message in messages] == [
            "a_overlay.png, a_rois.zip. Export them again, or delete them."
        ]
    (terminal.out / "a_overlay.png").write_bytes(b"drawn anew")
    assert [path.name for path in older_outputs(terminal.out / "a_labels.tif")] == ["a_rois.zip"]
    assert terminal.segment(path, "--overwrite") == 0
    assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_overlay.png", "a_run.json"]


def test_planes_of_other_axes(terminal: Terminal, viewer: Any) -> None:
    tall = np.pad(np.repeat(STACK[:1], 24, axis=0), ((9, 9), (0, 0), (0, 0)))
    tifffile.imwrite(terminal.folder / "x.tif", tall, photometric="minisblack", **SIZES)
    assert terminal.segment(terminal.folder / "x.tif", "--plane", "XZ") == 0
    (layer,) = viewer.open(terminal.out / "x_run.json", plugin=None)
    assert layer.data.shape == tall.shape
    assert layer.scale[[0, 2]].tolist() == [3, 0.25]
    viewer.dims.order = (1, 0, 2)
    for label in layer.features["index"][1:4]:
        go_to(viewer, layer, label)
        row = layer.features.loc[label]
        place = [3 * row["centroid_z"], row["plane"] / 2, row["centroid_x"] / 4]
        assert viewer.dims.current_step[1] == row["plane"]
        assert layer.get_value(place, world=True) == label


def test_a_table_that_is_none_is_named(terminal: Terminal) -> None:
    terminal.segment(terminal.png())
    (terminal.out / "a_features.csv").write_text("area\n3\n")
    with pytest.raises(ValueError, match=r"a_features\.csv is no table of labels: it has no column index"):
        read_labels(str(terminal.out / "a_labels.tif"))


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "sizes": lambda record: record.update(output_bytes=3),
    "settings": lambda record: record.update(settings=5),
    "spacings": lambda record: record["spacings"].update(Y={"length": 2}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_record_that_is_damaged_is_named(name: str, terminal: Terminal) -> None:
    terminal.segment(terminal.png())
    path = terminal.out / "a_run.json"
    record = json.loads(path.read_text())
    DAMAGE[name](record)
    path.write_text(json.dumps(record), "utf-8-sig")  # as Notepad does
    with pytest.raises(ValueError, match=r"a_run\.json cannot be opened, its record or its image is damaged: \w+Error"):
        read_labels(str(path))


def test_an_image_that_is_damaged_is_named(terminal: Terminal, viewer: Any) -> None:
    terminal.segment(terminal.png(), "--format", "labels,zarr")
    (terminal.out / "a_labels.tif").write_bytes(b"not a TIFF file")
    with pytest.raises(
        ValueError, match=r"a_run\.json cannot be opened, its record or its image is damaged: not a TIFF file"
    ):
        read_labels(str(terminal.out / "a_run.json"))
    shutil.rmtree(terminal.out / "a_labels.ome.zarr" / "0")
    with pytest.raises(ValueError, match=r"a_labels\.ome\.zarr is damaged: it has no level '0'"):
        viewer.open(terminal.out / "a_labels.ome.zarr", plugin=PLUGIN)
