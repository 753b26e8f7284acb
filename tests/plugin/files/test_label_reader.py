"""Label volumes are opened lazily, on their image, and every row of their table belongs to its label."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from napari.layers import Labels
from npe2 import PluginManager

from napari_sam_amg.io import label_files
from napari_sam_amg.io.feature_table import rows_by_label
from napari_sam_amg.io.label_files import label_levels, read_label_volume
from napari_sam_amg.io.label_volume import LabelVolume
from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.plugin.files.image_reader import get_reader
from napari_sam_amg.plugin.files.label_reader import labels_layer, shown_levels
from napari_sam_amg.plugin.reviewing.results import go_to, is_result
from tests.counting_store import CountingStore

SPACING = {"Z": Spacing(2.0, "micrometer"), "Y": Spacing(0.5, "micrometer", 3.0), "X": Spacing(0.5, "micrometer")}
TABLE = pd.DataFrame(
    {"index": [1, 2, 4], "plane": [0, 1, 2], "centroid_y": [10.0, 20, 30], "centroid_x": [5.0, 6, 7],
     "bbox_y0": 1, "bbox_x0": 1, "bbox_y1": 9, "bbox_x1": 9, "area": [7, 8, 9]}
)  # fmt: skip


def write(
    folder: Path,
    shape: tuple[int, ...] = (4, 40, 50),
    table: pd.DataFrame | None = TABLE,
    spacing: Mapping[str, Spacing] = SPACING,
) -> Path:
    path = folder / "cells_labels.ome.zarr"
    volume = LabelVolume.create(path, shape, "TZYX"[-len(shape) :], spacing)
    labels = np.random.default_rng(0).integers(1, 5, shape).astype(np.int32)
    for index in np.ndindex(shape[:-2]):
        volume.write_plane(index, labels[index])
    volume.pyramid()
    if table is not None:
        table.to_csv(folder / "cells_features.csv", index=False)
    record = {"stack_axes": "TZ"[-len(shape[:-2]) :], "plane_axes": "YX", "finished": "2026-01-01"}
    (folder / "cells_run.json").write_text(json.dumps(record))
    return path


def opened(path: Path) -> Any:
    reader = get_reader(str(path))
    assert reader is not None
    ((data, arguments, kind),) = reader(str(path))
    assert kind == "labels"
    return Labels(data, **arguments)


def test_labels_lie_on_their_image_with_their_table(tmp_path: Path) -> None:
    path = write(tmp_path)
    layer = opened(path)
    assert (layer.name, layer.axis_labels) == ("cells masks", ("z", "y", "x"))
    assert layer.scale.tolist() == [2.0, 0.5, 0.5]
    assert layer.translate.tolist() == [0.0, 3.0, 0.0]
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    np.testing.assert_array_equal(np.asarray(layer.data), zarr.open_array(path / "0", mode="r")[:])
    assert layer.features["index"].tolist() == [0, 1, 2, 3, 4]
    assert layer.features["area"].fillna(-1).tolist() == [-1, 7, 8, -1, 9]
    assert is_result(layer)


def test_a_row_of_the_table_leads_to_its_object(tmp_path: Path, make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    layer = viewer.add_layer(opened(write(tmp_path)))
    go_to(viewer, layer, 4)
    assert viewer.dims.current_step[0] == 2
    assert viewer.scene.camera.center[-2:] == pytest.approx((30 * 0.5 + 3, 7 * 0.5))


@pytest.mark.parametrize("shape", [(2, 3, 2600, 1500), (5, 300, 400), (3, 1500, 1530)])
@pytest.mark.parametrize("show", [False, True])
def test_opening_reads_two_chunks_at_most(
    shape: tuple[int, ...], show: bool, tmp_path: Path, make_napari_viewer: Any, qtbot: Any
) -> None:
    path = write(tmp_path, shape)
    store = CountingStore(path)
    labels = label_levels(zarr.open_group(store, mode="r"), path)
    data, arguments, _ = labels_layer(labels, "cells")
    viewer = make_napari_viewer(show=show)
    viewer.add_image(np.broadcast_to(np.uint8(0), shape), scale=arguments["scale"], units=arguments["units"])
    assert sum(store.read.values()) == 0
    layer = viewer.add_layer(Labels(data, **arguments))
    qtbot.wait(300 if show else 0)
    assert 1 <= len(store.read) <= 2, store.read
    assert layer.features["index"].tolist() == [0, 1, 2, 3, 4]


#: Far from the origin of the world, in large units or small ones.
PLACES = [Spacing(0.5, "micrometer", 3.0), Spacing(200.0, "nanometer", -1e6), Spacing(0.001, "millimeter")]


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        *(((2, 2100, 1500), place) for place in PLACES),
        *(((2, 3, 300, 400), PLACES[0]), ((2, 2100, 4200), PLACES[0]), ((2600, 2100), PLACES[0])),
    ],
)
def test_opening_into_an_empty_window_reads_two_chunks_at_most(
    shape: tuple[int, ...], place: Spacing, tmp_path: Path, make_napari_viewer: Any, qtbot: Any, monkeypatch: Any
) -> None:
    path = write(tmp_path, shape, table=None, spacing={"Z": Spacing(2.0, place.unit), "Y": place, "X": place})
    store, open_group = CountingStore(path), zarr.open_group
    monkeypatch.setattr(label_files.zarr, "open_group", lambda _, mode: open_group(store, mode=mode))
    viewer = make_napari_viewer(show=True)
    (layer,) = viewer.open(str(path), plugin="napari-sam-amg")
    qtbot.wait(300)
    assert 1 <= len(store.read) <= 2, store.read
    middle = np.array(place.origin) + place.length * (np.array(shape[-2:]) - 1) / 2
    assert viewer.scene.camera.center[-2:] == pytest.approx(tuple(middle))
    assert not layer.multiscale or layer.data_level == len(layer.data) - 1


def test_the_camera_of_a_window_that_shows_something_stays(tmp_path: Path, make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((40, 50), np.uint8))
    viewer.scene.camera.zoom = 7.5
    opened(write(tmp_path))
    assert viewer.scene.camera.zoom == 7.5


def test_levels_coarser_than_a_window_are_for_deep_stacks_in_3d() -> None:
    def lengths(*shape: int) -> list[int]:
        levels = [da.zeros((*shape[:-2], shape[-2] // 2**n, shape[-1] // 2**n), dtype=np.uint32) for n in range(6)]
        return [level.shape[-1] for level in shown_levels(levels)]

    assert lengths(2048, 2048) == [2048]
    assert lengths(4096, 4096) == [4096, 2048]
    assert lengths(32, 2048, 2048) == [2048]
    assert lengths(33, 2048, 2048) == [2048, 1024]
    assert lengths(90, 33, 2048, 2048) == [2048, 1024]  # 3D shows one point in time
    assert lengths(200000, 2048, 2048) == [2048, 1024, 512, 256, 128, 64]


def test_napari_finds_the_reader_by_the_folder_s_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    manager = PluginManager.instance()
    names = [reader.command for reader in manager.iter_compatible_readers([str(path)])]
    assert "napari-sam-amg.read" in names


def test_other_folders_are_left_to_others(tmp_path: Path) -> None:
    assert get_reader([str(write(tmp_path)), str(tmp_path)]) is None
    with pytest.raises(ValueError, match="is no label volume"):
        read_label_volume(tmp_path)


def test_without_table_and_record_there_are_labels_alone(tmp_path: Path) -> None:
    path = write(tmp_path, table=None)
    (tmp_path / "cells_run.json").unlink()
    layer = opened(path)
    assert len(layer.features.columns) == 0
    assert layer.metadata["napari-sam-amg"]["source"] == {}


@pytest.mark.parametrize("ids", [[0, 1], [1, 1], [1.5, 2], [1, 5000]])
def test_tables_that_are_none_are_refused(ids: list[float], tmp_path: Path) -> None:
    table = pd.DataFrame({"index": ids, "area": 1})
    with pytest.raises(ValueError, match=r"ids of labels|reach up"):
        rows_by_label(table)
    path = write(tmp_path, table=table)
    with pytest.raises(ValueError, match=r"cells_features\.csv is no table of labels"):
        read_label_volume(path)


def test_an_empty_table_has_the_background(tmp_path: Path) -> None:
    assert rows_by_label(TABLE[:0])["index"].tolist() == [0]
