"""Axes in any order, planes of any two, ranges, sizes: the same objects, and results in the image's own axes."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from napari_sam_amg.io import plane_file
from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.label_volume import LabelVolume
from napari_sam_amg.io.ngff import ome_attributes, read_multiscale
from tests.cli.terminal import Terminal
from tests.disc_model import disc_image

#: (T, Z, Y, X) = (2, 3, 40, 56): discs that are different in each plane, and a plane with nothing in it.
CENTRES = [[[(10, 12)], [], [(12, 30), (28, 14)]], [[(20, 40)], [(14, 14), (26, 44)], [(30, 20)]]]
VOLUME = np.stack([[disc_image(centres, 6, (40, 56)) for centres in planes] for planes in CENTRES])
SIZES = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0, "TimeIncrement": 30.0}
UNITS = {f"{name}Unit": "s" if name.startswith("Time") else "µm" for name in SIZES}


def npy(terminal: Terminal, axes: str, volume: Any = VOLUME) -> Path:
    """With its axes in this order."""
    path = terminal.folder / f"{axes}.npy"
    np.save(path, np.ascontiguousarray(volume.transpose(["TZYX".index(letter) for letter in axes])))
    return path


def table_of(terminal: Terminal, name: str) -> pd.DataFrame:
    return pd.read_csv(terminal.out / f"{name}_features.csv")


def in_order(labels: Any, axes: str) -> Any:
    """From these axes to (T, Z, Y, X)."""
    return labels.transpose([axes.index(letter) for letter in "TZYX"])


ORDERS = ["".join(order) for order in itertools.permutations("TZYX")]
TALL = np.repeat(VOLUME[1:], 6, axis=1)


@pytest.mark.parametrize(
    ("plane", "orders", "formats"),
    [("YX", ORDERS, "labels"), ("XZ", ["TZYX", "YTXZ"], "labels,zarr"), ("zy", ["TZYX", "YXZT"], "labels,zarr"),
     ("XY", ["TZYX", "XYZT", "ZTXY"], "zarr,labels")],
)  # fmt: skip
def test_any_order_of_axes_gives_the_same_labels(
    plane: str, orders: list[str], formats: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane_file, "BLOCK_BYTES", 5 * 4 * 40 * 56)  # five pages at once
    volume = VOLUME if set(plane) == {"X", "Y"} else TALL
    for axes in orders:
        options = ("--plane", plane, "--axes", axes, "--format", formats)
        assert terminal.segment(npy(terminal, axes, volume), *options) == 0, terminal.lines()
    expected = in_order(tifffile.imread(terminal.out / f"{orders[0]}_labels.tif"), orders[0])
    assert expected.shape == volume.shape
    assert not (expected > 0)[volume < 127].any()
    # seen from the side discs are bars, of which some are as small as specks
    assert np.count_nonzero(expected) >= (1 if volume is VOLUME else 0.8) * np.count_nonzero(volume)
    for axes in orders:
        labels = in_order(tifffile.imread(terminal.out / f"{axes}_labels.tif"), axes)
        # ids count in the order of work, and planes are walked in the image's own order
        pairs = np.unique(np.stack([expected.ravel(), labels.ravel()]), axis=1)
        assert len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1])), axes
        if "zarr" in formats:
            stored = LabelVolume.open(terminal.out / f"{axes}_labels.ome.zarr")
            assert stored.axes == "TZYX"
            np.testing.assert_array_equal(stored.levels[0][:], labels)
    assert sum(name.endswith((".planes", ".part")) for name in terminal.written()) == 0


def test_tables_of_other_planes_name_their_axes(terminal: Terminal) -> None:
    assert terminal.segment(npy(terminal, "TZYX"), "--axes", "TZYX", "--plane", "XY") == 0
    usual = table_of(terminal, "TZYX")
    path = npy(terminal, "ZTXY", TALL)
    assert terminal.segment(path, "--axes", "ZTXY", "--plane", "XZ", "--z-spacing", 2, "--pixel-size", 0.25) == 0
    table, labels = table_of(terminal, "ZTXY"), tifffile.imread(terminal.out / "ZTXY_labels.tif")
    renamed = {name: name.replace("_y", "_z") for name in usual.columns if "_y" in name}
    assert set(table.columns) == {*usual.rename(columns=renamed).columns, "area_um2"}
    assert table["area_um2"].tolist() == (table["area"] * 2 * 0.25).tolist()
    for row in table.to_dict("records"):
        time, y = row["plane_0"], row["plane_1"]
        pixels = np.argwhere(labels[:, time, :, y] == row["index"])  # (z, x)
        np.testing.assert_allclose(pixels.mean(axis=0), (row["centroid_z"], row["centroid_x"]))
        assert pixels.min(axis=0).tolist() == [row["bbox_z0"], row["bbox_x0"]]
        assert (pixels.max(axis=0) + 1).tolist() == [row["bbox_z1"], row["bbox_x1"]]
        assert row["area"] == len(pixels)


def test_only_planes_in_the_range_are_segmented(terminal: Terminal) -> None:
    path = npy(terminal, "TZYX")
    options = ("--axes", "TZYX", "--intensities", 0, 255)
    assert terminal.segment(path, *options) == 0
    whole = tifffile.imread(terminal.out / "TZYX_labels.tif")
    seen = len(terminal.model.embedded)
    assert seen == 5  # the plane with nothing in it costs nothing
    for ranges, inside in (
        (("t=1", "z=1:"), np.s_[1:2, 1:]),
        (("Z=:2",), np.s_[:, :2]),
        (("z=0:1", "t=0:2"), np.s_[:, :1]),
    ):
        terminal.model.embedded.clear()
        flags = [part for given in ranges for part in ("--range", given)]
        assert terminal.segment(path, *options, *flags, "--overwrite") == 0
        labels = tifffile.imread(terminal.out / "TZYX_labels.tif")
        expected = np.zeros_like(whole)
        expected[inside] = whole[inside]
        np.testing.assert_array_equal(labels > 0, expected > 0)
        assert len(terminal.model.embedded) == (expected > 0).any(axis=(2, 3)).sum()
    record = json.loads((terminal.out / "TZYX_run.json").read_text())
    assert record["planes"] == 2
    assert record["settings"]["ranges"] == {"Z": [0, 1, 1], "T": [0, 2, 1]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--axes", "ZYX"), "axes=ZYX does not fit: the image has axes QQYX and shape (2, 3, 40, 56)"),
        (("--plane", "XZ"), "plane=XZ is not allowed: choose two of the axes QQYX of this image"),
        (("--axes", "TZYX", "--range", "z=1:4"), "range Z=1:4 is not in this image: allowed is 0:3"),
        (("--axes", "TZYX", "--range", "z=3:"), "range Z=3:3 is not in this image: allowed is 0:3"),
        (("--axes", "TZYX", "--range", "x=1"), "range X is not allowed: planes of YX are segmented whole"),
        (("--axes", "TZYX", "--range", "v=1"), "range V is not allowed: the image has axes TZYX"),
        (("--axes", "TCYX", "--range", "c=1"), "range C is not allowed: --channel chooses those"),
        (("--format", "zarr"), "labels with axes QQYX cannot be an OME-Zarr: allowed are T, one other axis, and two or "
         "three of Z, Y and X; --axes names them"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_image_is_said(options: tuple[str, ...], message: str, terminal: Terminal) -> None:
    path = npy(terminal, "TZYX")
    assert terminal.segment(path, *options) == 1
    assert terminal.lines()[1] == [f"{path}: error: {message}"]
    assert terminal.written() == []


@pytest.mark.parametrize(
    "options", [("--axes", "ZZYX"), ("--plane", "X1"), ("--range", "z"), ("--range", "z=a"), ("--range", "z=-1:2"),
                ("--range", "zz=1"), ("--range", "z="), ("--format", "ome"), ("--ngff-version", "0.3")],
)  # fmt: skip
def test_wrong_flags_are_wrong_usage(options: tuple[str, ...], terminal: Terminal) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal.segment(npy(terminal, "TZYX"), *options)
    assert ended.value.code == 2
    assert terminal.loaded == []


def test_a_range_given_twice_is_refused(terminal: Terminal) -> None:
    assert terminal.segment(npy(terminal, "TZYX"), "--range", "z=1", "--range", "Z=2") == 1
    assert "--range is given twice for an axis" in terminal.lines()[1][0]


def write_ome_tiff(path: Path, channels: int = 2) -> None:
    stack = np.stack([VOLUME // 2] * (channels - 1) + [VOLUME], axis=2).transpose(0, 1, 2, 3, 4)
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["dim", "bright"][-channels:]}, **SIZES, **UNITS}
    tifffile.imwrite(path, stack, ome=True, metadata=metadata, photometric="minisblack")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_sizes_units_and_names_of_an_ome_tiff_are_kept(version: str, terminal: Terminal) -> None:
    path = terminal.folder / "a.ome.tif"
    write_ome_tiff(path)
    options = ("--format", "labels,zarr", "--ngff-version", version)
    assert terminal.segment(path, "--channel", 1, *options) == 0
    table = table_of(terminal, "a")
    assert table["area_um2"].tolist() == (table["area"] * 0.5 * 0.25).tolist()
    known = read_multiscale(ome_attributes(zarr.open_group(terminal.out / "a_labels.ome.zarr", mode="r")))
    assert (known.version, known.axes, known.scales[0]) == (version, ("t", "z", "y", "x"), (30.0, 2.0, 0.5, 0.25))
    assert known.units == ("second", "micrometer", "micrometer", "micrometer")
    for name in ("a_labels.tif", "a_labels.ome.zarr"):
        with open_image(terminal.out / name) as source:
            assert (source.axes, source.sizes("YX"), source.raw.micrometres("Z")) == ("TZYX", (0.5, 0.25), 2.0)
            assert source.raw.seconds == 30.0
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert (record["pixel_size_um"], record["z_spacing_um"], record["plane_axes"]) == ([0.5, 0.25], 2.0, "YX")
    assert terminal.segment(path, "--overwrite", *options) == 0
    assert "channel 0 (dim) of 0..1 (--channel chooses)" in terminal.lines()[0][-1]


def test_an_axis_of_length_one_keeps_the_z_spacing(terminal: Terminal) -> None:
    path = npy(terminal, "TZYX", VOLUME[:1])
    assert terminal.segment(path, "--axes", "TZYX", "--z-spacing", 2, "--pixel-size", 0.25) == 0
    with tifffile.TiffFile(terminal.out / "TZYX_labels.tif") as tiff:
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TZYX", (1, 3, 40, 56))
        assert tiff.shaped_metadata is not None
        assert (tiff.shaped_metadata[0]["spacing"], tiff.shaped_metadata[0]["unit"]) == (2.0, "um")
    assert terminal.segment(terminal.out / "TZYX_labels.tif") == 0
    record = json.loads((terminal.out / "TZYX_labels_run.json").read_text())
    assert (record["pixel_size_um"], record["z_spacing_um"]) == ([pytest.approx(0.25)] * 2, 2.0)


def test_colours_are_an_axis_that_may_be_named(terminal: Terminal) -> None:
    colour = np.repeat(disc_image([(20, 30)], 6)[..., None], 3, axis=2)
    np.save(terminal.folder / "a.npy", colour.transpose(2, 0, 1))
    np.save(terminal.folder / "b.npy", np.stack([colour, colour]))
    assert terminal.segment(terminal.folder / "a.npy", "--axes", "SYX") == 0
    assert terminal.segment(terminal.folder / "b.npy", "--axes", "TYXS") == 0
    single = tifffile.imread(terminal.out / "a_labels.tif")
    np.testing.assert_array_equal(single > 0, colour[..., 0] > 127)
    np.testing.assert_array_equal(tifffile.imread(terminal.out / "b_labels.tif") > 0, np.stack([single, single]) > 0)
    assert {image.shape for image in terminal.model.embedded} == {colour.shape}
