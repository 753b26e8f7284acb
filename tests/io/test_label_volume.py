"""Label volumes are valid OME-NGFF, hold what was written by whichever process, and halve from level to level."""

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import zarr
from ome_zarr.format import format_from_version
from ome_zarr.writer import write_image
from ome_zarr_models.v04.image_label import ImageLabel as OldImageLabel
from ome_zarr_models.v05.image_label import ImageLabel

from napari_sam_amg.io import label_volume
from napari_sam_amg.io.label_volume import ChunkPlace, LabelVolume, is_label_volume, ngff_axes
from napari_sam_amg.io.ngff import Spacing, ome_attributes, read_multiscale

VERSIONS = ("0.4", "0.5")
SPACING = {
    "T": Spacing(30.0, "second"),
    "Z": Spacing(2.0, "micrometer", 5.0),
    "Y": Spacing(0.5, "micrometer"),
    "X": Spacing(0.25, "micrometer"),
}


def some_labels(shape: tuple[int, ...], highest: int = 9) -> Any:
    return np.random.default_rng(0).integers(0, highest, shape).astype(np.int32)


@pytest.fixture
def small_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_volume, "COARSEST", 16)


def made(path: Path, labels: Any, axes: str, **options: Any) -> LabelVolume:
    volume = LabelVolume.create(path, labels.shape, axes, **options)
    for index in np.ndindex(labels.shape[:-2]):
        volume.write_plane(index, labels[index])
    volume.pyramid()
    return volume


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "QYX", "CZYX", "TZYX", "TCZYX", "ZX"])
def test_a_volume_is_valid_and_says_its_axes(axes: str, version: str, small_levels: None, tmp_path: Path) -> None:
    labels = some_labels((*(2 + place for place in range(len(axes) - 2)), 41, 50))
    made(tmp_path / "a.zarr", labels, axes, spacing=SPACING, version=version)
    group = ome_zarr_models.open_ome_zarr(str(tmp_path / "a.zarr"), version=version)
    assert isinstance(group, OldImageLabel if version == "0.4" else ImageLabel)
    read = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert read.metadata.zarr_format == (2 if version == "0.4" else 3)
    known = read_multiscale(ome_attributes(read))
    assert (known.version, "".join(known.axes).upper()) == (version, axes)
    assert known.types == tuple({"T": "time", "C": "channel", "Q": "other"}.get(letter, "space") for letter in axes)
    stated = [SPACING.get(letter, Spacing(1.0, "")) for letter in axes]
    assert known.units == tuple(axis.unit for axis in stated)
    for level, (scale, translation) in enumerate(zip(known.scales, known.translations, strict=True)):
        factors = [1] * (len(axes) - 2) + [2**level] * 2
        assert scale == tuple(axis.length * factor for axis, factor in zip(stated, factors, strict=True))
        assert translation == tuple(axis.origin for axis in stated)
        np.testing.assert_array_equal(read[known.paths[level]][:], labels[..., :: 2**level, :: 2**level])
    assert len(known.paths) == 3
    assert read["0"].dtype == np.uint32


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_an_image_are_valid_with_it(version: str, small_levels: None, tmp_path: Path) -> None:
    fmt = format_from_version(version)
    image = zarr.create_group(tmp_path / "a.zarr", zarr_format=fmt.zarr_format)
    labels = some_labels((2, 40, 50))
    write_image(labels.astype(np.uint8), image, axes="zyx", fmt=fmt, scale_factors=[2])
    for name in ("cells", "nuclei"):
        made(tmp_path / "a.zarr" / "labels" / name, labels, "ZYX", version=version)
    kinds = [type(ome_zarr_models.open_ome_zarr(str(tmp_path / "a.zarr" / part))).__name__
             for part in ("", "labels", "labels/cells", "labels/nuclei")]  # fmt: skip
    assert kinds == ["Image", "Labels", "ImageLabel", "ImageLabel"]
    listed = ome_attributes(zarr.open_group(tmp_path / "a.zarr" / "labels", mode="r"))
    other = "0.5" if version == "0.4" else "0.4"
    with pytest.raises(ValueError, match="is of Zarr"):
        LabelVolume.create(tmp_path / "a.zarr" / "labels" / "other", labels.shape, "ZYX", version=other)
    assert listed["labels"] == ["cells", "nuclei"]
    assert listed.get("version") == (None if version == "0.4" else "0.5")


def test_chunks_are_parts_of_planes_and_zeros_leave_no_file(tmp_path: Path) -> None:
    volume = LabelVolume.create(tmp_path / "a.zarr", (3, 2500, 900), "ZYX")
    assert [array.chunks for array in volume.levels] == [(1, 1024, 900), (1, 1250, 450), (1, 625, 225), (1, 313, 113)]
    assert [(place.index, place.rows, place.columns) for place in volume.chunks()][:4] == [
        ((0,), (0, 1024), (0, 900)), ((0,), (1024, 2048), (0, 900)), ((0,), (2048, 2500), (0, 900)),
        ((1,), (0, 1024), (0, 900)),
    ]  # fmt: skip
    labels = np.zeros((2500, 900), np.int32)
    labels[1100:1200, 300:400] = 70000
    volume.write_plane((1,), labels)
    volume.pyramid()
    files = sorted(path.relative_to(tmp_path / "a.zarr").as_posix() for path in (tmp_path / "a.zarr").glob("*/c/**/*"))
    assert [name for name in files if (tmp_path / "a.zarr" / name).is_file()] == [
        "0/c/1/1/0", "1/c/1/0/0", "2/c/1/0/0", "3/c/1/0/0"
    ]  # fmt: skip


def test_the_coarser_levels_of_a_plane_cost_the_same_in_any_stack(
    small_levels: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = some_labels((3, 2, 40, 50))
    volume = LabelVolume.create(tmp_path / "a.zarr", labels.shape, "TZYX", side=8)
    for index in np.ndindex(labels.shape[:-2]):
        volume.write_plane(index, labels[index])
    looked_at = []
    monkeypatch.setattr(label_volume, "ChunkPlace", lambda *place: looked_at.append(place) or ChunkPlace(*place))
    volume.reduce_plane((1, 1))
    assert {place[1] for place in looked_at} == {(1, 1)}
    for level in (1, 2):
        coarse = np.zeros_like(labels[..., :: 2**level, :: 2**level])
        coarse[1, 1] = labels[1, 1, :: 2**level, :: 2**level]
        np.testing.assert_array_equal(volume.levels[level][:], coarse)


def write_every_second(path: Path, first: int, labels: Any) -> None:
    volume = LabelVolume.open(path)
    for number, place in enumerate(volume.chunks()):
        if number % 2 == first:
            rows, columns = place.rows, place.columns
            volume.write(place.index, rows, columns, labels[(*place.index, slice(*rows), slice(*columns))])


@pytest.mark.parametrize("version", VERSIONS)
def test_two_processes_write_different_chunks_of_one_plane(version: str, tmp_path: Path) -> None:
    labels = some_labels((2, 70, 90))
    LabelVolume.create(tmp_path / "a.zarr", labels.shape, "ZYX", version=version, side=16)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_every_second, args=(tmp_path / "a.zarr", n, labels)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    np.testing.assert_array_equal(LabelVolume.open(tmp_path / "a.zarr").levels[0][:], labels)


def test_a_volume_can_be_pickled_and_opened_again(tmp_path: Path) -> None:
    labels = some_labels((3, 20, 30), 2**31 - 1)
    volume = LabelVolume.create(tmp_path / "a.zarr", labels.shape, "TYX", SPACING)
    pickle.loads(pickle.dumps(volume)).write_plane((1,), labels[1])
    again = LabelVolume.open(tmp_path / "a.zarr")
    assert (again.axes, again.shape) == ("TYX", (3, 20, 30))
    np.testing.assert_array_equal(again.levels[0][1], labels[1])
    again.write_plane((1,), labels[1] * 0)  # done again: the last counts
    assert not volume.levels[0][:].any()


@pytest.mark.parametrize("rows", [(0, 10), (8, 24), (16, 33), (16, 16), (-16, 0), (32, 50)])
def test_parts_of_chunks_are_refused(rows: tuple[int, int], tmp_path: Path) -> None:
    volume = LabelVolume.create(tmp_path / "a.zarr", (40, 30), "YX", side=16)
    with pytest.raises(ValueError, match=f"pixels {rows[0]} to {rows[1]} are not whole chunks of 16 px of 40 px"):
        volume.write((), rows, (0, 30), np.zeros((rows[1] - rows[0], 30), np.int32))


@pytest.mark.parametrize(
    ("axes", "ordered"),
    [("XYZT", "TZYX"), ("ZTYX", "TZYX"), ("YXC", "CYX"), ("ZQTXY", "TQZYX"), ("XZ", "ZX")],
)
def test_axes_are_put_in_the_order_of_the_standard(axes: str, ordered: str) -> None:
    assert ngff_axes(axes) == ordered


@pytest.mark.parametrize("axes", ["QQYX", "QIYX", "TX", "CQX", "ZZYX"])
def test_axes_without_a_place_in_the_standard_are_refused(axes: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"axes {axes} cannot be an OME-Zarr"):
        LabelVolume.create(tmp_path / "a.zarr", (2, 2, 9, 9)[-len(axes) :], axes)


def test_other_orders_shapes_versions_and_folders_are_refused(tmp_path: Path) -> None:
    for match, arguments in (
        ("allowed is TZYX", {"shape": (2, 2, 9, 9), "axes": "ZTYX"}),
        ("of shape .2, 9, 9. do not fit axes YX", {"shape": (2, 9, 9), "axes": "YX"}),
        ("choose from 0.5, 0.4", {"shape": (9, 9), "axes": "YX", "version": "0.3"}),
    ):
        with pytest.raises(ValueError, match=match):
            LabelVolume.create(tmp_path / "a.zarr", **arguments)
    assert not is_label_volume(tmp_path / "a.zarr")
    zarr.create_group(tmp_path / "b.zarr")
    assert not is_label_volume(tmp_path / "b.zarr")
    with pytest.raises(ValueError, match="is no label volume"):
        LabelVolume.open(tmp_path / "b.zarr")
    LabelVolume.create(tmp_path / "c.zarr", (9, 9), "YX")
    assert is_label_volume(tmp_path / "c.zarr")
