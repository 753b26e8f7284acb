"""What the samples of a pixel are: colours, channels, transparency, indices; and pictures in which 0 is white."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sam_amg.evaluation.label_images import open_labels
from napari_sam_amg.io.images import open_image

Array = NDArray[Any]
SAMPLES = np.random.default_rng(0).integers(0, 256, (16, 20, 6)).astype(np.uint8)
GREY, RGB = SAMPLES[..., 0], SAMPLES[..., :3]
RAMP = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)]).astype(np.uint16)


def read(path: Path, channel: int | None = None) -> tuple[Array, str]:
    with open_image(path, channel) as source:
        assert source.stack.indices == [()]
        return source.stack.plane(()), source.note


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_samples_that_are_not_said_to_be_colours_are_channels(count: int, planar: str, tmp_path: Path) -> None:
    samples = SAMPLES[..., :count] if planar == "contig" else np.moveaxis(SAMPLES[..., :count], 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", planarconfig=planar, metadata=None)
    plane, note = read(tmp_path / "a.tif")
    assert np.array_equal(plane, GREY)
    assert note == f"channel 0 of 0..{count - 1} (--channel chooses)"
    assert np.array_equal(read(tmp_path / "a.tif", count - 1)[0], SAMPLES[..., count - 1])
    with pytest.raises(ValueError, match=f"channel={count} is not in this image"):
        read(tmp_path / "a.tif", count)


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha"])
def test_grey_with_alpha_is_grey(alpha: str, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", SAMPLES[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=[alpha]
    )
    plane, note = read(tmp_path / "a.tif")
    assert np.array_equal(plane, GREY)
    assert note == ""


@pytest.mark.parametrize("extra", [("unspecified",), ("unassalpha", "unspecified"), ("unspecified",) * 3])
def test_more_samples_beside_the_colours_are_said(extra: tuple[str, ...], tmp_path: Path) -> None:
    count = 3 + len(extra)
    tifffile.imwrite(
        tmp_path / "a.tif", SAMPLES[..., :count], photometric="rgb", planarconfig="contig", extrasamples=extra
    )
    plane, note = read(tmp_path / "a.tif")
    assert np.array_equal(plane, RGB)
    assert note == f"red, green and blue of {count} samples (--channel chooses)"
    assert np.array_equal(read(tmp_path / "a.tif", count - 1)[0], SAMPLES[..., count - 1])


@pytest.mark.parametrize("space", ["cielab", "icclab", "itulab", "separated", "logluv", "linear_raw"])
def test_other_colours_are_refused_by_name(space: str, tmp_path: Path) -> None:
    samples = SAMPLES[..., : 4 if space == "separated" else 3]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=space, planarconfig="contig", metadata=None)
    with pytest.raises(
        ValueError, match=f"colours stored as {space.upper()} are not supported: convert the file to RGB"
    ):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_ycbcr_is_converted(compression: str | None, tmp_path: Path) -> None:
    ycbcr = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    tifffile.imwrite(
        tmp_path / "a.tif", ycbcr, photometric="ycbcr", planarconfig="contig", compression=compression, metadata=None,
        subsampling=(1, 1),
    )  # fmt: skip
    plane, _ = read(tmp_path / "a.tif")
    assert np.abs(plane.astype(int) - np.asarray(Image.fromarray(ycbcr, "YCbCr").convert("RGB"))).max() <= 1


def test_jpeg_is_rgb_whatever_it_holds(tmp_path: Path) -> None:
    smooth = np.stack([np.add.outer(np.arange(64), np.arange(64) + shift) for shift in (0, 60, 120)], -1).astype("u1")
    Image.fromarray(smooth).save(tmp_path / "a.tif", compression="jpeg", quality=98)
    assert np.abs(read(tmp_path / "a.tif")[0].astype(int) - smooth).max() < 8


def test_palette_of_two_colours(tmp_path: Path) -> None:
    """One bit a pixel, which is a boolean; tifffile writes no such table, so that a grey file gets the tags."""
    bits = GREY > 100
    table = np.array([[200, 10], [30, 40], [5, 250]], np.uint16) * np.uint16(257)
    tifffile.imwrite(tmp_path / "a.tif", bits, metadata=None, extratags=[(320, "H", 6, tuple(table.ravel()), True)])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    with open_image(tmp_path / "a.tif") as source:
        assert np.array_equal(source.stack.plane(()), table.T[bits.astype(int)] >> 8)


@pytest.mark.parametrize("scale", [1, 257])
def test_palette_of_8_or_16_bit_entries(scale: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=RAMP * np.uint16(scale))
    assert np.array_equal(read(tmp_path / "a.tif")[0], RAMP.T[GREY])
    with open_labels(tmp_path / "a.tif") as labels:
        assert np.array_equal(labels.plane(()), GREY)


def test_colours_in_which_16_bit_values_are_shown_are_not_meant(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 200
    table = np.random.default_rng(1).integers(0, 65536, (3, 65536)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="palette", colormap=table)
    assert np.array_equal(read(tmp_path / "a.tif")[0], deep)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_the_same_picture_is_read_the_same_where_0_is_white(dtype: str, tmp_path: Path) -> None:
    values = GREY.astype(dtype)
    white = {"u1": 255, "u2": 65535, "i2": -1, "f4": 0}[dtype]
    turned = (white - values.astype(np.int64)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    plane, note = read(tmp_path / "a.tif")
    assert plane.dtype == values.dtype
    assert np.array_equal(plane, turned)
    assert note.startswith("0 is white in the file: values are turned to ")
    if dtype != "f4":
        with open_labels(tmp_path / "a.tif") as labels:
            assert np.array_equal(labels.plane(()), values)


def test_booleans_of_python_are_as_they_were_written(tmp_path: Path) -> None:
    """tifffile says that True is black; others who say so mean it."""
    tifffile.imwrite(tmp_path / "a.tif", GREY > 99)
    assert np.array_equal(read(tmp_path / "a.tif")[0], GREY > 99)
    tifffile.imwrite(tmp_path / "b.tif", GREY > 99, software="a scanner", metadata=None)
    plane, note = read(tmp_path / "b.tif")
    assert np.array_equal(plane, GREY <= 99)
    assert note == "0 is white in the file: turned round"
