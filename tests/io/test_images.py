"""Every kind of image file is read as the array that was written."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sam_amg.io.images import open_image
from napari_sam_amg.params import AmgParameters

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 30)).astype(np.uint8)
DEEP = RANDOM.integers(0, 65536, (20, 30)).astype(np.uint16)
FLOATS = RANDOM.random((20, 30)).astype(np.float32)
RGB = RANDOM.integers(0, 256, (20, 30, 3)).astype(np.uint8)
RGBA = RANDOM.integers(0, 256, (20, 30, 4)).astype(np.uint8)
DEEP_RGB = RANDOM.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
DEEP_RGBA = RANDOM.integers(0, 65536, (20, 30, 4)).astype(np.uint16)
STACK = RANDOM.integers(0, 65536, (5, 20, 30)).astype(np.uint16)
PALETTED = Image.fromarray(RGB).quantize(16)
COLOURS = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)]) * 257
HYPERSTACK = RANDOM.integers(0, 65536, (2, 3, 4, 20, 30)).astype(np.uint16)  # TZCYX


def pillow(image: Any, **options: Any) -> Callable[[Path], None]:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    return lambda path: image.save(path, **options)


def opencv(image: Array) -> Callable[[Path], None]:
    channels = [2, 1, 0, 3][: image.shape[2]]
    return lambda path: cv2.imwrite(str(path), image[..., channels])


def tiff(image: Array, **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, image, **options)


def pages(*images: Array, **options: Any) -> Callable[[Path], None]:
    first, *others = (Image.fromarray(image) for image in images)
    return lambda path: first.save(path, save_all=True, append_images=others, **options)


#: Name of the file, what writes it, the axes of the stack, and the planes one after the other.
FILES: dict[str, tuple[str, Callable[[Path], Any], str, list[Array]]] = {
    "png grey": ("a.png", pillow(GREY), "", [GREY]),
    "png 16 bit": ("a.png", pillow(DEEP), "", [DEEP]),
    "png rgb": ("a.png", pillow(RGB), "", [RGB]),
    "png rgba": ("a.png", pillow(RGBA), "", [RGBA[..., :3]]),
    "png rgb 16 bit": ("a.png", opencv(DEEP_RGB), "", [DEEP_RGB]),
    "png rgba 16 bit": ("a.png", opencv(DEEP_RGBA), "", [DEEP_RGBA[..., :3]]),
    "png palette": ("a.png", pillow(PALETTED), "", [np.asarray(PALETTED.convert("RGB"))]),
    "png 1 bit": ("a.png", pillow(GREY > 100), "", [GREY > 100]),
    "png grey and alpha": ("a.png", pillow(Image.fromarray(GREY).convert("LA")), "", [GREY]),
    "png called tif": ("a.tif", pillow(GREY, format="PNG"), "", [GREY]),
    "tiff": ("a.tif", tiff(GREY), "", [GREY]),
    "tiff float": ("a.tif", tiff(FLOATS), "", [FLOATS]),
    "tiff big-endian": ("a.tif", tiff(DEEP, byteorder=">"), "", [DEEP]),
    "tiff bilevel": ("a.tif", pillow(GREY > 100, compression="group4"), "", [GREY > 100]),
    "tiff lzw": ("a.tif", pillow(DEEP, compression="tiff_lzw"), "", [DEEP]),
    "tiff lzw float": ("a.tif", pillow(FLOATS, compression="tiff_lzw"), "", [FLOATS]),
    "tiff lzw rgb": ("a.tif", pillow(RGB, compression="tiff_lzw"), "", [RGB]),
    "tiff lzw rgb 16 bit": ("a.tif", opencv(DEEP_RGB), "", [DEEP_RGB]),
    "tiff lzw stack": ("a.tif", pages(*STACK, compression="tiff_lzw"), "I", list(STACK)),
    "tiff rgb": ("a.tif", tiff(RGB, photometric="rgb", compression="zlib"), "", [RGB]),
    "tiff rgb 16 bit": ("a.tif", tiff(DEEP_RGB, photometric="rgb"), "", [DEEP_RGB]),
    "tiff rgba": ("a.tif", tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]), "", [RGBA[..., :3]]),
    "tiff rgb in planes": (
        "a.tif",
        tiff(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate", metadata=None),
        "",
        [RGB],
    ),
    "tiff rgb stack": ("a.tif", tiff(np.stack([RGB, RGB[::-1]]), photometric="rgb"), "Q", [RGB, RGB[::-1]]),
    "tiff grey and alpha": (
        "a.tif",
        tiff(RGBA[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        "",
        [RGBA[..., 0]],
    ),
    "tiff palette": (
        "a.tif",
        tiff(GREY, photometric="palette", colormap=COLOURS),
        "",
        [np.stack([GREY, 255 - GREY, np.full_like(GREY, 7)], axis=2)],
    ),
    "tiff stack": ("a.tif", tiff(STACK, photometric="minisblack"), "Q", list(STACK)),
    "tiff stack compressed": ("a.tif", tiff(STACK, photometric="minisblack", compression="zlib"), "Q", list(STACK)),
    "tiff stack tiled": ("a.tif", tiff(STACK, photometric="minisblack", tile=(16, 16)), "Q", list(STACK)),
    "tiff stack of three": ("a.tif", tiff(STACK[:3], photometric="rgb", planarconfig="separate"), "Q", list(STACK[:3])),
    "tiff stack big": ("a.tif", tiff(STACK, photometric="minisblack", bigtiff=True), "Q", list(STACK)),
    "tiff stack of one": ("a.tif", tiff(STACK[:1], photometric="minisblack"), "Q", list(STACK[:1])),
    "tiff single axes": ("a.tif", tiff(STACK[None, :1], photometric="minisblack", tile=(16, 16)), "QQ", [STACK[0]]),
    "imagej": ("a.tif", tiff(STACK, imagej=True, metadata={"axes": "ZYX"}), "Z", list(STACK)),
    "imagej hyperstack": ("a.tif", tiff(HYPERSTACK, imagej=True), "TZ", list(HYPERSTACK[:, :, 0].reshape(6, 20, 30))),
    "ome": ("a.ome.tif", tiff(STACK, metadata={"axes": "ZYX"}), "Z", list(STACK)),
    "ome hyperstack": (
        "a.ome.tif",
        tiff(HYPERSTACK, metadata={"axes": "TZCYX"}, compression="zlib"),
        "TZ",
        list(HYPERSTACK[:, :, 0].reshape(6, 20, 30)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "write", "axes", "expected"), FILES.values(), ids=FILES)
def test_planes_are_as_written(
    name: str, write: Callable[[Path], Any], axes: str, expected: list[Array], tmp_path: Path
) -> None:
    write(tmp_path / name)
    with open_image(tmp_path / name) as source:
        assert source.stack_axes == axes
        planes = [source.stack.plane(index) for index in source.stack.indices]
    assert len(planes) == len(expected)
    for plane, wanted in zip(planes, expected, strict=True):
        assert plane.dtype.newbyteorder("=") == wanted.dtype
        np.testing.assert_array_equal(plane, wanted)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: a viewer's business, pixels are taken as stored
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, exif=exif)
    with open_image(tmp_path / "a.jpg") as source:
        plane = source.stack.plane(())
    assert plane.shape == (64, 96)
    assert np.abs(plane.astype(int) - smooth).max() < 6


@pytest.mark.parametrize("channel", [None, 0, 3])
def test_channel_of_a_hyperstack(channel: int | None, tmp_path: Path) -> None:
    tiff(HYPERSTACK, imagej=True)(tmp_path / "a.tif")
    with open_image(tmp_path / "a.tif", channel) as source:
        np.testing.assert_array_equal(source.stack.plane((1, 2)), HYPERSTACK[1, 2, channel or 0])
        assert source.channel == (channel or 0)
        assert source.note == ("channel 0 of 0..3 (--channel chooses)" if channel is None else "")


def test_one_colour_of_an_image_in_colour(tmp_path: Path) -> None:
    pillow(RGB)(tmp_path / "a.png")
    with open_image(tmp_path / "a.png", 2) as source:
        np.testing.assert_array_equal(source.stack.plane(()), RGB[..., 2])


@pytest.mark.parametrize(
    ("image", "channel", "message"),
    [
        (HYPERSTACK, 4, "channel=4 is not in this image: allowed is 0 to 3"),
        (HYPERSTACK, -1, "channel=-1 is not in this image: allowed is 0 to 3"),
        (STACK, 1, "channel=1 is not in this image: allowed is 0$"),
    ],
)
def test_channel_that_is_not_there(image: Array, channel: int, message: str, tmp_path: Path) -> None:
    tiff(image, metadata={"axes": "TZCYX"[5 - image.ndim :] if image.ndim == 5 else "ZYX"}, imagej=True)(
        tmp_path / "a.tif"
    )
    with pytest.raises(ValueError, match=message), open_image(tmp_path / "a.tif", channel):
        pass


def test_compressed_pages_are_read_when_indexed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiff(STACK, photometric="minisblack", compression="zlib")(tmp_path / "a.tif")
    decoded: list[bytes] = []
    decompress = tifffile.TIFF.DECOMPRESSORS[8]

    def counting(data: bytes, **options: Any) -> Any:
        decoded.append(data)
        return decompress(data, **options)

    monkeypatch.setitem(tifffile.TIFF.DECOMPRESSORS._codecs, 8, counting)
    with open_image(tmp_path / "a.tif") as source:
        assert not decoded
        source.stack.plane((3,))
        assert len(decoded) == 1


def cut(write: Callable[[Path], Any], share: float) -> Callable[[Path], None]:
    """The beginning of a file, as a download that stopped leaves it."""

    def write_part(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write_part


def scratched(write: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Some bytes in the middle overwritten."""

    def write_bad(path: Path) -> None:
        write(path)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(range(64))
        path.write_bytes(content)

    return write_bad


def bomb(path: Path) -> None:
    """A PNG of a few hundred bytes that says it is 200000 x 200000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 200000, 200000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))))


def huge(path: Path) -> None:
    """A TIFF whose header says 200000 x 200000 pixels."""
    tiff(GREY, compression="zlib")(path)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(200000)


def says(**tags: int) -> Callable[[Path], None]:
    """A TIFF of two strips whose header says something else."""

    def write(path: Path) -> None:
        tiff(GREY, rowsperstrip=GREY.shape[0] // 2, compression=None if "RowsPerStrip" in tags else "zlib")(path)
        with tifffile.TiffFile(path, mode="r+") as file:
            for name, value in tags.items():
                file.pages[0].tags[name].overwrite(value)

    return write


ZIPPED = tiff(STACK, photometric="minisblack", compression="zlib")
WRONG_FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "empty": ("a.tif", lambda path: path.write_bytes(b""), "the file is empty"),
    "text": (
        "a.tif",
        lambda path: path.write_text("hello"),
        "that can be read: allowed are TIFF, OME-Zarr, ND2, LIF, CZI, PNG, JPEG,",
    ),
    "tiff header only": ("a.tif", lambda path: path.write_bytes(b"II*\0"), "damaged"),
    "tiff of zeros": ("a.tif", lambda path: path.write_bytes(b"II*\0" + bytes(100)), "damaged"),
    "tiff cut": ("a.tif", cut(ZIPPED, 0.01), "damaged or cut short: "),
    "tiff cut, uncompressed": ("a.tif", cut(tiff(GREY), 0.6), "cut short"),
    "tiff cut, lzw": ("a.tif", cut(pillow(GREY, compression="tiff_lzw"), 0.6), "damaged"),
    "tiff scratched": ("a.tif", scratched(ZIPPED), "page 2 of the TIFF file cannot be read"),
    "tiff scratched, lzw": ("a.tif", scratched(pillow(GREY, compression="tiff_lzw")), "page 0 of the TIFF file cannot"),
    "tiff cmyk": ("a.tif", pillow(Image.fromarray(RGBA).convert("CMYK")), "SEPARATED are not supported"),
    "tiff huge": ("a.tif", huge, "200000 x 200000 pixels needs about .* GB of memory"),
    "tiff of a compression": ("a.tif", says(Compression=31337), "compression 31337 is not known: save the file anew"),
    "npy in colour": ("a.npy", lambda path: np.save(path, RGB), "if the last axis holds colours, say so: --axes YXS"),
    "png cut": ("a.png", cut(pillow(RGB), 0.6), "damaged or cut short"),
    "png cut, 16 bit rgb": ("a.png", cut(opencv(DEEP_RGB), 0.6), "damaged or cut short"),
    "png cut in the header": ("a.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(4)), "damaged"),
    "png scratched": ("a.png", scratched(pillow(RGB)), "damaged"),
    "png bomb": ("a.png", bomb, "200000 x 200000 pixels needs about .* GB of memory"),
    "jpeg cut": ("a.jpg", cut(pillow(RGB), 0.6), "damaged or cut short"),
    "complex": ("a.tif", tiff(FLOATS.astype(np.complex64)), "complex64 cannot be segmented"),
    "1 x 1": ("a.png", pillow(GREY[:1, :1]), "1 x 1 pixels"),
    "3 x 20000": ("a.png", pillow(np.zeros((3, 20000), np.uint8)), "3 x 20000 pixels"),
}


def read_all(path: Path) -> None:
    with open_image(path) as source:
        for index in source.stack.indices:
            source.stack.plane(index)


@pytest.mark.parametrize(("name", "write", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_file_gets_a_clear_message(
    name: str, write: Callable[[Path], Any], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        read_all(tmp_path / name)
    assert capfd.readouterr() == ("", "")


HEADERS: dict[str, tuple[dict[str, int], str]] = {
    "2 billion rows": (
        {"ImageLength": 2**31 - 1, "RowsPerStrip": 2**31 - 1},
        "of 2147483647 x .* has .* bytes, the file",
    ),
    "100000 each way": ({"ImageLength": 10**5, "RowsPerStrip": 10**5, "ImageWidth": 10**5}, "its header is damaged"),
    "more strips": ({"ImageLength": 10**6}, "page 0 of the TIFF file cannot be read: it has 2 strips"),
}


@pytest.mark.parametrize(("tags", "message"), HEADERS.values(), ids=HEADERS)
def test_rows_that_no_file_can_hold_are_not_walked(tags: dict[str, int], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    says(**tags)(path)
    with (
        pytest.raises(ValueError, match=message),
        open_image(path, params=AmgParameters(crop_layers="auto")),  # of which some rows are read at a time
    ):
        pass


def test_half_of_a_large_plane_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((3000, 3000), np.uint8))
    cut(lambda path: None, 0.6)(path)
    with open_image(path, params=AmgParameters(crop_layers="auto")) as source:
        assert source.stack.part((), slice(0, 1000)).all()
