"""PNG, JPEG and the other pictures that Pillow opens."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_sam_amg.io import memory
from napari_sam_amg.io.images import image_kind, open_image

Array = NDArray[Any]
RGB = np.random.default_rng(0).integers(0, 256, (16, 20, 3)).astype(np.uint8)
GREY = RGB[..., 0]
DEEP = np.random.default_rng(1).integers(0, 65536, (16, 20, 3)).astype(np.uint16)
RED = np.ascontiguousarray(DEEP[..., 0])


def read(path: Path) -> list[Array]:
    with open_image(path) as source:
        return [source.stack.plane(index) for index in source.stack.indices]


def saved(pixels: Array, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def pnm(magic: str, pixels: Array, highest: int) -> bytes:
    body = pixels.astype(">u2" if highest > 255 else "u1").tobytes()
    return f"{magic}\n20 16\n{highest}\n".encode() + body


def as_text(magic: str, pixels: Array, highest: int) -> bytes:
    return f"{magic}\n# by hand\n20 16\n{highest}\n{' '.join(map(str, pixels.ravel().tolist()))}".encode()


def interlaced(pixels: Array) -> bytes:
    """A PNG file in Adam7's seven passes."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [pixels[y::down, x::right] for y, x, down, right in passes]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", 20, 16, 16, {2: 4, 3: 2}[pixels.shape[2]], 0, 0, 1)
    ends = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


LOSSLESS: dict[str, tuple[str, bytes, Array]] = {
    **{f"{kind} grey": (f"a.{kind.lower()}", saved(GREY, kind), GREY) for kind in ("BMP", "PCX", "SGI", "TGA", "PPM")},
    **{
        f"{kind} rgb": (f"a.{kind.lower()}", saved(RGB, kind), RGB)
        for kind in ("BMP", "PCX", "SGI", "TGA", "PPM", "QOI", "DDS", "PNG")
    },
    "webp": ("a.webp", saved(RGB, "WEBP", lossless=True), RGB),
    "jpeg 2000": ("a.jp2", saved(RGB, "JPEG2000"), RGB),
    "gif": ("a.gif", saved(GREY, "GIF"), np.repeat(GREY[..., None], 3, axis=2)),
    "pgm 16 bit": ("a.pgm", pnm("P5", DEEP[..., 0], 65535), DEEP[..., 0]),
    "pgm 12 bit": ("a.pgm", pnm("P5", DEEP[..., 0] // 16, 4095), DEEP[..., 0] // 16),
    "ppm 16 bit": ("a.ppm", pnm("P6", DEEP, 65535), DEEP),
    "jpeg 2000 16 bit": ("a.jp2", imagecodecs.jpeg2k_encode(DEEP, level=0, reversible=True), DEEP),
    "jpeg 2000 grey 16 bit": ("a.jp2", imagecodecs.jpeg2k_encode(RED, level=0, reversible=True), RED),
    "avif 12 bit": ("a.avif", imagecodecs.avif_encode(DEEP // 16, bitspersample=12, level=100), DEEP // 16),
    "pgm of 100 values": ("a.pgm", pnm("P5", GREY % 100, 99), GREY % 100),
    "pgm as text": ("a.pgm", as_text("P2", DEEP[..., 0] % 1000, 999), DEEP[..., 0] % 1000),
    "ppm as text": ("a.ppm", as_text("P3", DEEP, 65535), DEEP),
    "ppm as text 8 bit": ("a.ppm", as_text("P3", RGB % 64, 63), RGB % 64),
    "png 16 bit interlaced": ("a.png", interlaced(DEEP), DEEP),
    "png grey and alpha 16 bit interlaced": ("a.png", interlaced(DEEP[..., :2]), DEEP[..., 0]),
    "png grey and alpha 16 bit": ("a.png", imagecodecs.png_encode(DEEP[..., :2].copy()), DEEP[..., 0]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "pixels"), LOSSLESS.values(), ids=LOSSLESS)
def test_pictures_are_read_as_they_are(
    name: str, content: bytes, pixels: Array, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    (found,) = read(tmp_path / name)
    assert capfd.readouterr() == ("", "")
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_frames_of_an_animated_picture_are_a_stack(kind: str, tmp_path: Path) -> None:
    first, *others = (Image.fromarray(np.roll(GREY, shift)) for shift in range(4))
    first.save(tmp_path / "a", kind, save_all=True, append_images=others, lossless=True)
    with open_image(tmp_path / "a") as source:
        assert source.stack_axes == "T"
        for shift in (3, 0, 2):
            plane = source.stack.plane((shift,))
            assert np.array_equal(plane if plane.ndim == 2 else plane[..., 0], np.roll(GREY, shift))


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
def test_large_comments_in_png_do_not_matter(kind: bytes, tmp_path: Path) -> None:
    text = {
        b"tEXt": b"k\0" + b"x" * 2**21,
        b"zTXt": b"k\0\0" + zlib.compress(b"x" * 2**25),
        b"iTXt": b"k\0\1\0\0\0" + zlib.compress(b"x" * 2**25),
        b"iCCP": b"k\0\0" + zlib.compress(b"x" * 2**25),
    }[kind]
    content = saved(RGB, "PNG")
    (tmp_path / "a.png").write_bytes(content[:33] + chunk(kind, text) + content[33:])
    assert np.array_equal(read(tmp_path / "a.png")[0], RGB)


def test_size_is_limited_by_memory_and_not_by_pillow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(RGB, "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(read(tmp_path / "a.png")[0], RGB)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(memory, "memory_limit", lambda: 5_000)
    with pytest.raises(ValueError, match=r"a plane of 16 x 20 pixels needs about 0.0 GB of memory, 0.0 GB may be used"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.eps", saved(RGB, "EPS"), "EPS"),
        ("a.ico", saved(RGB, "ICO", sizes=[(16, 16)]), "ICO"),
        ("a.fits", b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(80), None),
    ],
)
def test_what_is_not_read_is_named(name: str, content: bytes, kind: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    what = f"a file of type {kind}" if kind else "not an image that can be read|a file of type FITS"
    with pytest.raises(ValueError, match=f"({what}): allowed are TIFF, OME-Zarr, ND2, LIF, CZI, PNG, JPEG, BMP, GIF"):
        image_kind(tmp_path / name)


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert np.array_equal(read(tmp_path / "a.png")[0], np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "JPEG2000"])
def test_damaged_pictures_are_said_to_be_damaged(kind: str, tmp_path: Path) -> None:
    """Wherever an animated or boxed file is cut: never another error, nor "not an image"."""
    first, *others = (Image.fromarray(np.roll(RGB, shift)) for shift in range(3))
    more = {} if kind == "JPEG2000" else {"save_all": True, "append_images": others}
    first.save(tmp_path / "whole", kind, **more)
    content = (tmp_path / "whole").read_bytes()
    said = []
    for share in range(1, 12):
        (tmp_path / "a").write_bytes(content[: max(16, len(content) * share // 12)])
        try:
            read(tmp_path / "a")
        except ValueError as error:
            said.append(str(error))
    assert said
    assert all("damaged" in text for text in said)


def test_a_header_that_claims_more_than_there_is_memory(tmp_path: Path) -> None:
    """A box of JPEG 2000 with a length of 64 bit, which Pillow reads at once."""
    content = saved(RGB, "JPEG2000")
    (tmp_path / "a").write_bytes(b"\0" + content[1:12] + struct.pack(">I4sQ", 1, b"ftyp", 2**60) + content[12:])
    with pytest.raises(ValueError, match=r"damaged|not an image"):
        read(tmp_path / "a")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP", "JPEG2000", "PPM", "TGA"])
def test_cut_pictures_are_damaged(kind: str, tmp_path: Path) -> None:
    content = saved(RGB, kind)
    (tmp_path / f"a.{kind.lower()}").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ValueError, match=r"the file is damaged|not an image that can be read"):
        read(tmp_path / f"a.{kind.lower()}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a pipe, a socket or a device and no file"):
        image_kind(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a pipe, a socket or a device and no file"):
        image_kind(Path(os.devnull))
