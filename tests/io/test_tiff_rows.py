"""Rows of planes in TIFF files are those of the whole plane, and no more is decoded than holds them."""

from itertools import pairwise

import numpy as np
import pytest
import tifffile

from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.npy import open_npy
from napari_sam_amg.io.tiff import open_tiff

GREY = np.random.default_rng(0).integers(0, 60000, (3, 100, 75), np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 255, (2, 100, 75, 3), np.uint8)

KINDS = {
    "as it is": (GREY, {}, 1),
    "strips": (GREY, {"compression": "zlib", "rowsperstrip": 12}, 12),
    "one strip": (GREY, {"compression": "zlib", "rowsperstrip": 100}, 100),
    "tiles": (GREY, {"compression": "zlib", "tile": (32, 16)}, 32),
    "tiles as they are": (GREY, {"tile": (32, 16)}, 32),
    "predictor": (GREY, {"compression": "lzw", "predictor": True, "rowsperstrip": 7}, 7),
    "big-endian": (GREY, {"byteorder": ">", "compression": "zlib", "rowsperstrip": 12}, 12),
    "colour": (COLOUR, {"photometric": "rgb", "compression": "zlib", "tile": (16, 32)}, 16),
    "colour as it is": (COLOUR, {"photometric": "rgb"}, 1),
    "colour apart": (
        np.moveaxis(COLOUR, -1, 1),
        {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib", "rowsperstrip": 9},
        9,
    ),
    "white is 0": (GREY, {"photometric": "miniswhite", "compression": "zlib", "rowsperstrip": 12}, 12),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_the_plane(kind, tmp_path):
    pixels, options, at_once = KINDS[kind]
    options = {"photometric": "minisblack"} | options
    byteorder = {"byteorder": options["byteorder"]} if "byteorder" in options else {}
    path = tmp_path / "image.tif"
    tifffile.imwrite(
        path, pixels, **byteorder, **{name: value for name, value in options.items() if name != "byteorder"}
    )
    with open_image(path) as source:
        stack = source.stack
        assert stack.data.chunks[stack.leading] == at_once
        for index in stack.indices:
            whole = stack.plane(index)
            for start, stop in pairwise([0, 1, 5, 31, 33, 64, 99, 100]):
                np.testing.assert_array_equal(stack.part(index, slice(start, stop)), whole[start:stop])


def test_no_more_strips_are_decoded_than_hold_the_rows(tmp_path, monkeypatch):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, GREY[0], compression="zlib", rowsperstrip=10, photometric="minisblack")
    decoded = []
    read = tifffile.FileHandle.read_segments

    def note(self, offsets, counts, indices=None, *rest, **options):
        decoded.extend(indices)
        return read(self, offsets, counts, indices, *rest, **options)

    monkeypatch.setattr(tifffile.FileHandle, "read_segments", note)
    with open_tiff(path) as raw:
        raw.data[(slice(25, 41),)]
    assert decoded == [2, 3, 4]


def test_a_damaged_strip_is_an_error_of_its_rows_alone(tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, GREY[0], compression="zlib", rowsperstrip=10, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[3]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 20)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.stack.part((), slice(0, 30)), GREY[0, :30])
        with pytest.raises(ValueError, match="page 0 of the TIFF file cannot be read"):
            source.stack.part((), slice(25, 35))


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_numpys_own_files(order, tmp_path):
    np.save(tmp_path / "image.npy", np.asarray(GREY, order=order))
    with open_npy(tmp_path / "image.npy") as raw:
        assert raw.data.chunks == (1, 100 if order == "F" else 1, 75)
        np.testing.assert_array_equal(raw.data[1, slice(20, 43)], GREY[1, 20:43])
        np.testing.assert_array_equal(raw.data[(2,)], GREY[2])
