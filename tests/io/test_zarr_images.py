"""Zarr folders as ome-zarr, zarr and others write them: axes, sizes, channels, and no more read than needed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.format import format_from_version
from ome_zarr.writer import add_metadata, write_plate_metadata, write_well_metadata

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import percentile_range
from napari_sam_amg.io.images import image_kind, open_image
from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.io.raw_image import choose_channel
from napari_sam_amg.io.zarr_images import axis_letters, open_zarr
from tests.counting_store import CountingStore
from tests.ome_zarrs import STACK, write

VERSIONS = ("0.4", "0.5")


@pytest.mark.parametrize("version", VERSIONS)
def test_axes_sizes_and_channels_are_read(version: str, tmp_path: Path) -> None:
    omero = {"channels": [{"label": "DAPI", "color": "0000FF"}, {"label": "GFP", "color": "00FF00"}]}
    data = (STACK * np.arange(1, 3)[:, None, None, None]).astype(np.uint16)
    path = write(tmp_path / "a.zarr", data, version=version)
    add_metadata(zarr.open_group(path), {"omero": omero}, format_from_version(version))
    with open_image(path) as source:
        assert (source.raw.axes, source.stack_axes, source.channel) == ("CZYX", "Z", 0)
        assert source.note == "channel 0 (DAPI) of 0..1 (--channel chooses)"
        assert source.sizes("YX") == (0.5, 0.25)
        assert source.raw.micrometres("Z") == 2.0
        assert source.raw.spacing("Z") == Spacing(2000.0, "nanometer")
        assert source.raw.channels == ("DAPI", "GFP")
        for index in source.stack.indices:
            np.testing.assert_array_equal(source.stack.plane(index), data[0][index])
    with open_image(path, 1) as source:
        np.testing.assert_array_equal(source.stack.plane((2,)), data[1, 2])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_of_several_images_gives_one_by_series(version: str, tmp_path: Path) -> None:
    folder = tmp_path / "raw.zarr"
    group = zarr.create_group(folder, zarr_format=format_from_version(version).zarr_format)
    attributes = {"bioformats2raw.layout": 3}
    group.attrs.update(attributes if version == "0.4" else {"ome": {"version": "0.5", **attributes}})
    for number in (0, 1, 10):
        write(folder / str(number), STACK[0] + np.uint8(number), "zyx", version)
    with open_image(folder) as source:
        assert source.note == "series 0 of 0..2 (--series chooses)"
        np.testing.assert_array_equal(source.stack.plane((1,)), STACK[0, 1])
    with open_image(folder, series=2) as source:
        assert source.note == ""
        np.testing.assert_array_equal(source.stack.plane((1,)), STACK[0, 1] + np.uint8(10))
    with pytest.raises(ValueError, match="series=3 is not in this file: allowed is 0 to 2"), open_zarr(folder, 3):
        pass


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_says_which_images_it_has_and_a_well_gives_its_fields(version: str, tmp_path: Path) -> None:
    fmt = format_from_version(version)
    plate = zarr.create_group(tmp_path / "plate.zarr", zarr_format=fmt.zarr_format)
    write_plate_metadata(plate, ["A"], ["1", "2"], ["A/2"], fmt=fmt)
    well = plate.require_group("A/2")
    write_well_metadata(well, ["0", "1"], fmt=fmt)
    for field in (0, 1):
        write(tmp_path / "plate.zarr" / "A" / "2" / str(field), STACK[0] + np.uint8(field), "zyx", version)
    image = tmp_path / "plate.zarr" / "A" / "2" / "0"
    with (
        pytest.raises(ValueError, match=f"a plate of 1 wells is not read as a whole: give its images, such as {image}"),
        open_zarr(tmp_path / "plate.zarr"),
    ):
        pass
    with open_image(image) as source:
        assert source.stack.stack_shape == (3,)
    with open_image(image.parent, series=1) as source:
        np.testing.assert_array_equal(source.stack.plane((1,)), STACK[0, 1] + np.uint8(1))


def test_plain_arrays_are_stacks_and_may_name_their_axes(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "a.zarr", STACK, zarr_format=3)
    zarr.create_array(tmp_path / "b.zarr", data=STACK, dimension_names=["time", "z", "y", "x"])
    old = zarr.create_array(tmp_path / "c.zarr", data=STACK, zarr_format=2)
    old.attrs["_ARRAY_DIMENSIONS"] = ["sample", "z", "y", "x"]
    for name, axes in (("a", "QQYX"), ("b", "TZYX"), ("c", "QZYX")):
        with open_image(tmp_path / f"{name}.zarr") as source:
            assert source.raw.axes == axes
            np.testing.assert_array_equal(source.stack.plane((1, 2)), STACK[1, 2])


@pytest.mark.parametrize(
    ("names", "types", "letters"),
    [
        (("t", "c", "z", "y", "x"), (), "TCZYX"),
        (("time", "Channel", "z", "y", "x"), ("", "", "space", "space", "space"), "TCZYX"),
        (("frame", "dye", "x"), ("time", "channel", "space"), "TCX"),
        (("s", "y", "x"), (), "QYX"),
        (("angle", "angle2", "y", "y"), (), "QQYQ"),
        (("c", "t", "c2"), ("channel", "time", "channel"), "CTQ"),
    ],
)
def test_axes_get_letters(names: tuple[str, ...], types: tuple[str, ...], letters: str) -> None:
    assert axis_letters(names, types) == letters


def old_metadata(folder: Path, version: str, axes: list[str] | None) -> None:
    image: dict[str, Any] = {"version": version, "datasets": [{"path": "0"}]} | ({"axes": axes} if axes else {})
    shape = (2, 3, 40, 64) if axes else (1, 2, 3, 40, 64)
    group = zarr.create_group(folder, zarr_format=2)
    group.attrs["multiscales"] = [image]
    group.create_array("0", data=STACK.reshape(shape))


def test_older_versions_are_read(tmp_path: Path) -> None:
    old_metadata(tmp_path / "a.zarr", "0.2", None)
    old_metadata(tmp_path / "b.zarr", "0.3", ["t", "z", "y", "x"])
    for name, axes in (("a", "TCZYX"), ("b", "TZYX")):
        with open_image(tmp_path / f"{name}.zarr") as source:
            assert (source.raw.axes, source.raw.stated) == (axes, {})


def damage(folder: Path, **changes: Any) -> None:
    path = folder / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["ome"]["multiscales"][0] |= changes
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": []}, "its OME-Zarr metadata: multiscales[0].datasets is empty: it must hold the path of an a"),
        ({"datasets": [{"path": "7", "coordinateTransformations": []}]}, "its metadata name '7', which is not there"),
        ({"datasets": [{"path": "/", "coordinateTransformations": []}]}, "its metadata name '/', which is"),
        ({"axes": [{"name": "y"}, {"name": "x"}]}, "its OME-Zarr metadata: multiscales[0].datasets[0].coordinateTrans"),
        ({"axes": 3}, "its OME-Zarr metadata: multiscales[0].axes=3 is not allowed: it must be a list"),
        ({"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "s0"}]},
         "its OME-Zarr metadata name axes y, x for an array of shape (2, 3, 40, 64)"),
    ],
)  # fmt: skip
def test_metadata_that_do_not_hold_together_are_said(changes: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr")
    damage(path, **changes)
    with pytest.raises(ValueError) as raised, open_image(path):  # noqa: PT011
        pass
    assert str(raised.value).startswith(message)


def test_folders_without_an_image_are_said(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "b.zarr", data=np.zeros(9))
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "c.zarr" / "zarr.json").write_text("{")
    (tmp_path / "d").mkdir()
    for name, message in (
        ("a.zarr", "a Zarr group without an image"),
        ("b.zarr", "an array of shape .9,. is no image"),
        ("c.zarr", "the Zarr is damaged"),
    ):
        with pytest.raises(ValueError, match=message), open_image(tmp_path / name):
            pass
    assert image_kind(tmp_path / "a.zarr") == "ZARR"
    with pytest.raises(ValueError, match="a folder and no file"):
        image_kind(tmp_path / "d")


@pytest.mark.parametrize("chunks", [(1, 1, 40, 64), (1, 3, 16, 16), (2, 2, 40, 64), (2, 3, 40, 8)])
def test_a_survey_and_a_run_read_each_chunk_twice_at_most(chunks: tuple[int, ...], tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=STACK + np.uint8(1), chunks=chunks)
    store = CountingStore(tmp_path / "a.zarr")
    with open_image(tmp_path / "a.zarr") as source:
        raw = source.raw
    counted = choose_channel(type(raw)(zarr.open_array(store, mode="r"), "TZYX"), None)
    percentile_range(PlaneStack(counted.stack.data))
    assert set(store.read.values()) == {1}


def test_a_damaged_chunk_is_said_in_words(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=STACK, chunks=(1, *STACK.shape[1:]))
    broken, *_ = sorted(path for path in (tmp_path / "a.zarr" / "c").rglob("*") if path.is_file())
    broken.write_bytes(broken.read_bytes()[:10])
    with open_image(tmp_path / "a.zarr") as source:
        first, *others = source.stack.indices
        with pytest.raises(ValueError, match="a chunk of the Zarr is damaged: "):
            source.stack.plane(first)
        assert source.stack.plane(others[-1]).any()
