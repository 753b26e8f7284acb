"""The same array gives the same planes, however a TIFF file stores it."""

from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.io.images import open_image

Array = NDArray[Any]
H, W = 13, 17
TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?")
FOR_ALL_TYPES = (None, "lzw", "zlib", "zstd", "packbits", "lzma")  # of bytes, and so of any type


def pixels(dtype: str, *shape: int) -> Array:
    """Values that use every byte of the type, but no NaN."""
    count = int(np.prod(shape))
    if dtype == "?":
        return np.random.default_rng(0).random(shape) > 0.5
    if dtype[0] == "f":
        return (np.random.default_rng(0).normal(size=shape) * 1000).astype(dtype)
    raw = np.random.default_rng(0).integers(0, 256, count * np.dtype(dtype).itemsize, np.uint8)
    return raw.view(dtype).reshape(shape)


def check(path: Path, planes: Array, channels: int, **choices: Any) -> None:
    """All planes (planes, channels, Y, X) of a file, channel by channel, are those that were written."""
    for channel in range(channels) if channels > 1 else [None]:
        with open_image(path, channel, **choices) as source:
            found = [source.stack.plane(index) for index in source.stack.indices]
        assert len(found) == len(planes)
        for plane, wanted in zip(found, planes[:, channel or 0], strict=True):
            assert plane.dtype == wanted.dtype
            np.testing.assert_array_equal(plane, wanted)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("compression", FOR_ALL_TYPES)
def test_types_compressions_byte_orders_predictors_tiles(compression: str | None, dtype: str, tmp_path: Path) -> None:
    stack = pixels(dtype, 2, 1, H, W)
    path = tmp_path / "a.tif"
    for order, predictor, tile in product("<>", (1, 2, 3), (None, (16, 32))):
        if predictor > 1 and (compression is None or dtype == "?"):
            continue
        if (predictor == 2 and dtype[0] == "f") or (predictor == 3 and dtype[0] != "f"):
            continue
        options = {"predictor": predictor} if predictor > 1 else {}
        shape = {"tile": tile} if tile else {"rowsperstrip": 5}
        tifffile.imwrite(
            path, stack[:, 0], byteorder=order, compression=compression, photometric="minisblack", **options, **shape
        )
        check(path, stack, 1)


#: Layouts of an array (planes, channels, Y, X): its axes in the file, and how tifffile is told.
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "contiguous": ("YXC", {"planarconfig": "contig"}),
    "pages of rows": ("YXC", {}),
    "planar": ("CYX", {"planarconfig": "separate"}),
    "pages": ("CYX", {}),
    "stack, contiguous": ("ZYXC", {"planarconfig": "contig"}),
    "stack, pages of rows": ("ZYXC", {}),
    "stack, planar": ("ZCYX", {"planarconfig": "separate"}),
    "stack, pages": ("ZCYX", {}),
    "stack of channels": ("CZYX", {}),
    "time": ("TYX", {}),
    "columns first": ("ZXY", {}),
    "plane inside": ("YXZ", {}),
    "split": ("YZX", {}),
}


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("axes", "options"), LAYOUTS.values(), ids=LAYOUTS)
def test_axes_have_their_names_whatever_the_compression(
    axes: str, options: dict[str, Any], order: str, compression: str | None, tmp_path: Path
) -> None:
    """Two to five samples: RGB is not what three of them are unless the file says so."""
    for count in (2, 3, 5):
        whole = pixels("u2", 2, count, H, W)
        planes = whole if set("ZT") & set(axes) else whole[:1]
        planes = planes if "C" in axes else planes[:, :1]
        letters = {"Z": 0, "T": 0, "C": 1, "Y": 2, "X": 3}
        kept = planes.transpose(
            [letters[axis] for axis in axes] + [axis for axis in (0, 1) if axis not in {letters[axis] for axis in axes}]
        ).reshape([planes.shape[letters[axis]] for axis in axes])
        tifffile.imwrite(
            tmp_path / "a.tif", kept, byteorder=order, compression=compression, photometric="minisblack",
            metadata={"axes": axes}, **options,
        )  # fmt: skip
        check(tmp_path / "a.tif", planes, planes.shape[1])


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("dtype", "alpha"), [("u1", 0), ("u1", 1), ("u2", 0), ("u2", 1), ("f4", 0)])
def test_colour_where_the_file_says_so(
    dtype: str, alpha: int, planar: str, compression: str | None, tmp_path: Path
) -> None:
    colour = pixels(dtype, H, W, 3 + alpha)
    stored = colour if planar == "contig" else np.moveaxis(colour, 2, 0)
    for order in "<>":
        tifffile.imwrite(
            tmp_path / "a.tif", stored, byteorder=order, compression=compression, photometric="rgb",
            planarconfig=planar, metadata=None, extrasamples=["unassalpha"] * alpha,
        )  # fmt: skip
        with open_image(tmp_path / "a.tif") as source:
            assert source.note == ""
            np.testing.assert_array_equal(source.stack.plane(()), colour[..., :3])


#: tifffile's name, imagecodecs' encoder, its options, the types, and how far values may be off.
CODECS: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...], float]] = {
    "jpeg": ("jpeg", "jpeg8", {"level": 100}, ("u1", "rgb"), 4),
    "jpeg lossless": ("jpeg", "ljpeg", {}, ("u1", "u2"), 0),
    "jpeg 2000": ("jpeg2000", "jpeg2k", {"level": 0, "reversible": True}, ("u1", "u2", "i2", "rgb"), 0),
    "jpeg xr": ("jpegxr", "jpegxr", {"level": 100}, ("u1", "u2"), 0),
    "jpeg xl": ("jpegxl", "jpegxl", {"lossless": True}, ("u1", "u2", "f4", "rgb"), 0),
    "webp": ("webp", "webp", {"lossless": True}, ("rgb",), 0),
    "lerc": ("lerc", "lerc", {}, ("u1", "u2", "i4", "f4", "f8"), 0),
    "png": ("png", "png", {}, ("u1", "u2", "rgb"), 0),
}


@pytest.mark.parametrize(("name", "codec", "options", "dtypes", "tolerance"), CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_codecs_of_images(
    name: str,
    codec: str,
    options: dict[str, Any],
    dtypes: tuple[str, ...],
    tolerance: float,
    order: str,
    tmp_path: Path,
) -> None:
    """Encoded here: tifffile hands big-endian values to the encoders, which take them as they lie in memory."""
    smooth = np.add.outer(np.arange(64), np.arange(80))
    for dtype in dtypes:
        rgb = dtype == "rgb"
        if order == ">" and ((codec == "ljpeg" and dtype == "u2") or (codec == "lerc" and dtype[0] == "f")):
            continue  # which tifffile cannot write
        image = np.stack([smooth, smooth + 50, smooth[::-1]], -1).astype("u1") if rgb else smooth.astype(dtype)
        swapped = image.byteswap() if codec == "lerc" and order == ">" else image  # as libtiff has it
        encoded = getattr(imagecodecs, f"{codec}_encode")(swapped, **options)
        photometric = "ycbcr" if rgb and name == "jpeg" else "rgb" if rgb else "minisblack"
        tifffile.imwrite(
            tmp_path / "a.tif", iter([encoded]), shape=image.shape, dtype=image.dtype, byteorder=order,
            compression=name, photometric=photometric, metadata=None,
        )  # fmt: skip
        with open_image(tmp_path / "a.tif") as source:
            plane = source.stack.plane(())
        assert plane.dtype == image.dtype
        assert plane.shape == image.shape
        assert np.abs(plane.astype(float) - image).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "dtype"), [(1, "?"), (2, "u1"), (4, "u1"), (10, "u2"), (12, "u2"), (14, "u2"), (20, "u4")]
)
def test_packed_integers(bits: int, dtype: str, order: str, tmp_path: Path) -> None:
    """Bits lie in the same order in files of both byte orders, which tifffile's writer does not know."""
    image = (pixels("u4", H, 48) % 2**bits).astype(dtype)
    width, shift = np.arange(bits)[::-1], image.astype("u4")[..., None]
    packed = np.packbits((shift >> width & 1).astype(np.uint8))
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=order, bitspersample=bits)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        start, size = file.pages[0].dataoffsets[0], sum(file.pages[0].databytecounts)
    assert size == packed.size
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[start : start + size] = packed.tobytes()
    (tmp_path / "a.tif").write_bytes(content)
    check(tmp_path / "a.tif", image[None, None], 1)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_numbers_are_refused_by_name(dtype: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((H, W), dtype))
    name = str(np.dtype(dtype))
    with pytest.raises(ValueError, match=f"pixels of type {name} cannot be segmented"), open_image(tmp_path / "a.tif"):
        pass


def test_integers_of_24_bits_are_refused_where_decoders_swap_them(tmp_path: Path) -> None:
    for order in "<>":
        tifffile.imwrite(tmp_path / f"{order}.tif", np.zeros((H, W), "u4"), byteorder=order, bitspersample=24)
    check(tmp_path / "<.tif", np.zeros((1, 1, H, W), "u4"), 1)
    with pytest.raises(ValueError, match="integers of 24 bits"), open_image(tmp_path / ">.tif"):
        pass
