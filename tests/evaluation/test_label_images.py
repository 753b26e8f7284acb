"""Label images as the programs that make them store them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam_amg.evaluation.label_images import open_labels
from napari_sam_amg.io.label_volume import LabelVolume
from tests.ome_zarrs import write

LABELS = np.array([[0, 1, 1, 300], [0, 7, 7, 300]])


def read(path: Path) -> np.ndarray:
    with open_labels(path) as labels:
        return np.array([labels.plane(index) for index in labels.indices]).reshape(labels.shape)


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int16", "uint32", "int32", "uint64", "int64"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}])
def test_tiff(dtype: str, options: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(dtype), **options)
    assert (read(tmp_path / "a.tif") == LABELS).all()


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("shape", [(3, 2, 4), (5, 2, 4), (2, 3, 2, 4)])
def test_stacks(shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path) -> None:
    labels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="minisblack", **options)
    assert read(tmp_path / "a.tif").shape == shape
    assert (read(tmp_path / "a.tif") == labels).all()


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TZYX", "CZYX"])
def test_label_volumes(axes: str, version: str, tmp_path: Path) -> None:
    shape = (2, 3, 9, 8)[4 - len(axes) :]
    labels = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    volume = LabelVolume.create(tmp_path / "a.zarr", shape, axes, version=version)
    for index in np.ndindex(shape[:-2]):
        volume.write_plane(index, labels[index])
    volume.pyramid()
    assert (read(tmp_path / "a.zarr") == labels).all()
    with open_labels(tmp_path / "a.zarr") as opened:
        assert opened.named_axes == ("" if axes == "YX" else axes)


def test_labels_of_a_zarr_image_are_found_in_it(tmp_path: Path) -> None:
    image = write(tmp_path / "a.zarr", np.zeros((2, 40, 50), np.uint8), "zyx")
    labels = np.arange(4000, dtype=np.int32).reshape(2, 40, 50)
    for number, name in enumerate(("cells", "nuclei")):
        volume = LabelVolume.create(image / "labels" / name, labels.shape, "ZYX")
        for plane in range(2):
            volume.write_plane((plane,), labels[plane] + number)
        assert (read(image / "labels" / name) == labels + number).all()
        if not number:
            assert (read(image) == labels).all()
    with pytest.raises(ValueError, match=r"several labels, cells, nuclei: give one of them, such as .*labels.cells"):
        read(image)


def test_a_plain_zarr_array_may_be_labels_and_fractions_may_not(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "a.zarr", LABELS.astype(np.uint16))
    assert (read(tmp_path / "a.zarr") == LABELS).all()
    zarr.save_array(tmp_path / "b.zarr", LABELS + 0.5)
    with pytest.raises(ValueError, match=r"value 0\.5 is not allowed"):
        read(tmp_path / "b.zarr")


def test_axes_of_length_1_do_not_count(tmp_path: Path) -> None:
    for shape in ((1, 2, 4), (1, 1, 2, 4)):
        tifffile.imwrite(tmp_path / "a.tif", LABELS.reshape(shape).astype(np.uint16), photometric="minisblack")
        assert (read(tmp_path / "a.tif") == LABELS).all()
    two = np.stack([LABELS, LABELS + 1]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", two[:, None], photometric="minisblack", metadata={"axes": "TZYX"})
    assert (read(tmp_path / "a.ome.tif") == two).all()


@pytest.mark.parametrize(
    ("dtype", "imagej"), [("float16", False), ("float32", False), ("float32", True), ("float64", False)]
)
def test_floats_that_are_whole_numbers(dtype: str, imagej: bool, tmp_path: Path) -> None:
    """As MorphoLibJ saves more than 65535 labels."""
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(dtype), imagej=imagej)
    assert (read(tmp_path / "a.tif") == LABELS).all()
    assert read(tmp_path / "a.tif").dtype == np.int64


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int64", "float32"])
@pytest.mark.parametrize("shape", [(2, 4), (3, 2, 4), (1, 2, 4), (2, 3, 2, 4)])
def test_npy(shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(labels))
    assert (read(tmp_path / "a.npy") == labels.squeeze()).all()


UNSIGNED, SIGNED = 1, 2


def save_with_pillow(path: Path, pixels: Any, compression: str, sample_format: int) -> None:
    """It writes more compressions than tifffile does alone, but chooses the format by its own types."""
    Image.fromarray(pixels).save(path, compression=compression, tiffinfo={339: SIGNED})
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["SampleFormat"].overwrite(sample_format)


@pytest.mark.parametrize("compression", ["tiff_lzw", "zstd", "tiff_deflate"])
def test_compressions_that_pillow_has_to_read_change_no_value(compression: str, tmp_path: Path) -> None:
    """zstd needs another package before Python 3.14; Pillow has neither uint32 nor int8."""
    high = np.array([[0, 1, 2**31 + 5], [3, 3, 2**32 - 1]], np.uint32)
    save_with_pillow(tmp_path / "a.tif", high.view(np.int32), compression, UNSIGNED)
    assert (read(tmp_path / "a.tif") == high).all()
    save_with_pillow(tmp_path / "b.tif", np.array([[0, 253]], np.uint8), compression, SIGNED)
    with pytest.raises(ValueError, match="label -3 is not allowed"):
        read(tmp_path / "b.tif")


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_png_of_few_bits_is_as_stored(bits: int, tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2, 3]], np.uint8)
    Image.fromarray(indices * (255 // (2**bits - 1))).save(tmp_path / "a.png", bits=bits)
    assert read(tmp_path / "a.png").tolist() == indices.tolist()


def test_png_of_8_and_16_bit(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        Image.fromarray(LABELS.astype(dtype)).save(tmp_path / "a.png")
        assert (read(tmp_path / "a.png") == LABELS.astype(dtype)).all()


def test_of_paletted_images_the_indices_are_labels(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [3, 3, 200]], np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tolist())
    image.putdata(indices.ravel().tolist())
    image.save(tmp_path / "a.png")
    colours = np.random.default_rng(0).integers(0, 2**16, (3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    for name in ("a.png", "a.tif"):
        assert (read(tmp_path / name) == indices).all()


def write_jpeg(path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint8)).save(path, "JPEG")


def write_jpeg_in_tiff(path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint8)).save(path, "TIFF", compression="jpeg")


def write_two(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(LABELS.astype(np.uint16))
        writer.write(LABELS[:1].astype(np.uint16))


def write_tiff(pixels: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def save_npy(array: Any) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array)

    return save


def cut_npy(path: Path) -> None:
    save_npy(np.zeros((99, 99)))(path)
    path.write_bytes(path.read_bytes()[:5000])


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "fractions": (
        write_tiff(LABELS.astype(np.float32) / 2),
        "value 0.5 is not allowed: of labels saved as float32, all must be whole numbers from 0 to 16777216",
    ),
    "NaN": (write_tiff(np.array([[0, np.nan]], np.float32)), "value nan is not allowed"),
    "merged ids": (write_tiff(np.array([[0, 2**24 + 2]], np.float32)), r"value 1.67772e\+07 is not allowed"),
    "negative float": (write_tiff(np.array([[0, -3]], np.float32)), "label -3 is not allowed: 0 is background"),
    "booleans": (write_tiff(LABELS > 0), "labels of type bool are not allowed"),
    "colour": (
        write_tiff(np.zeros((8, 9, 3), np.uint8), photometric="rgb"),
        r"an image in colour, of shape \(8, 9, 3\), is not allowed: labels are one integer a pixel",
    ),
    "negative": (write_tiff(np.array([[0, -3]], np.int16)), "label -3 is not allowed: 0 is background"),
    "JPEG": (write_jpeg, "a file of type JPEG: allowed are PNG, TIFF, NPY and OME-Zarr"),
    "JPEG in TIFF": (write_jpeg_in_tiff, "compression JPEG is not allowed: it changes pixels"),
    "text": (lambda path: path.write_text("hello"), "can be read: allowed are PNG, TIFF, NPY and OME-Zarr"),
    "objects": (save_npy(np.array({"masks": LABELS})), "it holds Python objects, as Cellpose's _seg.npy does: allowed"),
    "one axis": (save_npy(LABELS[0]), r"an array of shape \(4,\) is no image: allowed are \(Y, X\) and stacks of it"),
    "cut off": (cut_npy, "the file is cut off: it ends before the array of shape"),
    "cut off early": (lambda path: path.write_bytes(b"\x93NUMPY\1"), "the file is cut off or damaged: EOF"),
    "empty": (lambda path: path.touch(), "the file is empty"),
    "several": (write_two, "series 0 of 0..1: allowed is a file of one whole image or stack"),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_what_holds_no_labels_is_refused(write: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a")


def test_a_png_in_colour_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="an image in colour"):
        read(tmp_path / "a.png")
