"""Image files of any supported kind, told apart by their first bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from napari_sam_amg.io.raster import read_raster
from napari_sam_amg.io.raw_image import SourceImage, choose_channel
from napari_sam_amg.io.tiff import open_tiff

KINDS = ("PNG", "JPEG", "TIFF")
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"\x93NUMPY": "NPY",
}

#: What mapping intensities and painting a plane hold at once; measured on 3000 x 3000 pixels: 33, and 4 for labels.
_BYTES_A_PIXEL = 40


@contextmanager
def open_image(path: Path, channel: int | None = None) -> Iterator[SourceImage]:
    """Open a PNG, JPEG or TIFF file; planes can be read as long as the context lasts.

    ``channel``, counted from 0: the one to read of several, or one colour of an image in colour.
    Raises ``ValueError`` or ``OSError`` for a file that cannot be segmented.
    """
    opened = open_tiff(path) if image_kind(path) == "TIFF" else nullcontext(read_raster(path))
    with opened as raw:
        source = choose_channel(raw, channel)
        _check_memory(source.stack.plane_size)
        yield source


def image_kind(path: Path, allowed: tuple[str, ...] = KINDS) -> str:
    """Of a file, whatever it is called: "PNG", "JPEG", "TIFF" or "NPY". ``ValueError`` unless it is allowed."""
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("the file is empty")
    kinds = [kind for signature, kind in _SIGNATURES.items() if start.startswith(signature)]
    if not kinds or kinds[0] not in allowed:
        what = f"a file of type {kinds[0]}" if kinds else "not an image that can be read"
        raise ValueError(f"{what}: allowed are {', '.join(allowed[:-1])} and {allowed[-1]}")
    return kinds[0]


def _check_memory(plane_size: tuple[int, int]) -> None:
    """Refuse a plane that this computer cannot hold, before the operating system ends the process."""
    needed = plane_size[0] * plane_size[1] * _BYTES_A_PIXEL
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, and refuses by itself
        return
    if needed > installed:
        raise ValueError(
            f"a plane of {plane_size[0]} x {plane_size[1]} pixels needs about {needed / 1e9:.0f} GB of memory, "
            f"this computer has {installed / 1e9:.0f} GB: cut the image into parts"
        )
