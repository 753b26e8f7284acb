"""Files as microscopes and their programs write them, made by hand."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.tiff_lsm import two_channels_spared

PLANES = np.random.default_rng(0).integers(1, 60000, (12, 16, 20)).astype(np.uint16)
RGB = np.random.default_rng(1).integers(0, 256, (256, 512, 3)).astype(np.uint8)


def write_lsm(
    path: Path, depth: int, channels: int, photometric: str, compression: str | None, thumbnails: bool = True
) -> None:
    """Zeiss: channels are the samples of a page, and a thumbnail follows every page; sizes are metres."""
    body = struct.pack(
        "<I9i6d2H", 0x0400494C, 0, 20, 16, depth, channels, 1, 2, 20, 16, 0.25e-6, 0.5e-6, 1e-6, 0, 0, 0, 0, 0
    )
    body = body[:4] + struct.pack("<i", len(body)) + body[8:]
    with tifffile.TiffWriter(path) as writer:
        for z in range(depth):
            planes = PLANES[z * channels : (z + 1) * channels]
            writer.write(
                planes if channels > 1 else planes[0], photometric=photometric,
                planarconfig="separate" if channels > 1 else None, metadata=None, compression=compression,
                extratags=[(34412, 1, len(body), body, True)] if z == 0 else [],
            )  # fmt: skip
            if thumbnails:
                small = np.zeros((3, 8, 10), np.uint8)
                writer.write(small, photometric="rgb", planarconfig="separate", metadata=None, subfiletype=1)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize(
    ("channels", "photometric"), [(1, "minisblack"), (2, "minisblack"), (3, "minisblack"), (3, "rgb")]
)
@pytest.mark.parametrize("depth", [1, 2])
def test_lsm(depth: int, channels: int, photometric: str, compression: str | None, tmp_path: Path) -> None:
    write_lsm(tmp_path / "a.lsm", depth, channels, photometric, compression)
    for channel in (None, channels - 1):
        with open_image(tmp_path / "a.lsm", channel) as source:
            named = channel is not None or channels == 1
            assert source.note == ("" if named else f"channel 0 of 0..{channels - 1} (--channel chooses)")
            assert source.raw.pixel_size == pytest.approx((0.5, 0.25))
            assert source.raw.z_spacing == pytest.approx(1)
            for z, index in enumerate(source.stack.indices):
                assert np.array_equal(source.stack.plane(index), PLANES[z * channels + (channel or 0)])
            assert len(source.stack.indices) == depth


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 3])
def test_lsm_without_thumbnails_is_read_page_by_page(depth: int, channels: int, tmp_path: Path) -> None:
    """tifffile takes every second page for one."""
    write_lsm(tmp_path / "a.lsm", depth, channels, "minisblack", None, thumbnails=False)
    with open_image(tmp_path / "a.lsm", channels - 1) as source:
        found = [source.stack.plane(index) for index in source.stack.indices]
        assert np.array_equal(found, PLANES[channels - 1 : depth * channels : channels])
        assert source.raw.pixel_size == pytest.approx((0.5, 0.25))
        assert "its description cannot be read" in source.note


def test_lsm_of_an_old_writer_has_an_offset_in_place_of_the_bits_of_two_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.lsm"
    write_lsm(path, 1, 2, "minisblack", None)
    content = bytearray(path.read_bytes())
    with two_channels_spared(), tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[258].offset + 8
    content[place : place + 4] = struct.pack("<I", len(content))
    path.write_bytes(content + struct.pack("<HH", 16, 16))
    with open_image(path, 1) as source:
        assert np.array_equal(source.stack.plane(()), PLANES[1])


def test_svs(tmp_path: Path) -> None:
    """Aperio: tiles, a pyramid, and pictures of the label and the slide."""
    text = {"description": "Aperio Image Library v10\r\n512x256 |AppMag = 20|MPP = 0.4990", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        writer.write(RGB, photometric="rgb", tile=(64, 64), compression="jpeg", **text)
        writer.write(RGB[::4, ::4], photometric="rgb", **text)
        writer.write(RGB[::2, ::2], photometric="rgb", tile=(64, 64), **text)
        writer.write(RGB[:40, :40], photometric="rgb", subfiletype=1, **text)
        writer.write(RGB[:40, :60], photometric="rgb", subfiletype=9, **text)
    with open_image(tmp_path / "a.svs") as source:
        assert source.stack.plane(()).shape == RGB.shape
        assert source.raw.pixel_size == pytest.approx((0.499, 0.499))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pyramid_of_subifds(compression: str | None, tmp_path: Path) -> None:
    """QuPath and Bio-Formats."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        options: dict[str, Any] = {"photometric": "minisblack", "compression": compression}
        writer.write(PLANES, subifds=1, metadata={"axes": "ZYX"}, **options)
        writer.write(PLANES[:, ::2, ::2], subfiletype=1, **options)
    with open_image(tmp_path / "a.ome.tif") as source:
        assert source.note == ""
        found = [source.stack.plane(index) for index in source.stack.indices]
    assert np.array_equal(found, PLANES)


def write_stk(path: Path, planes: int) -> None:
    """MetaMorph: a single page, its planes one behind the other, and a table of their distances.

    The table has three fractions a plane, but its tag counts planes.
    """
    table = struct.pack(f"<{6 * planes}I", *([2, 1, 2459000, 0, 2459000, 0] * planes))
    tifffile.imwrite(
        path, PLANES[:planes], photometric="minisblack", truncate=True, metadata=None,
        extratags=[(33629, 5, 3 * planes, table, True), (33628, 5, 1, struct.pack("<2I", 0, 0), True)],
    )  # fmt: skip
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HH", 33629, 5))
    content[place : place + 8] = struct.pack("<HHI", 33629, 5, planes)
    path.write_bytes(content)


def test_stk(tmp_path: Path) -> None:
    write_stk(tmp_path / "a.stk", 3)
    with open_image(tmp_path / "a.stk") as source:
        found = [source.stack.plane(index) for index in source.stack.indices]
    assert np.array_equal(found, PLANES[:3])


def test_imagej_hyperstack_of_channels_and_slices_in_one_block(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", PLANES.reshape(2, 3, 2, 16, 20), imagej=True, truncate=True, metadata={"axes": "TZCYX"}
    )
    with open_image(tmp_path / "a.tif", 1) as source:
        assert source.stack_axes == "TZ"
        assert np.array_equal([source.stack.plane(index) for index in source.stack.indices], PLANES[1::2])
