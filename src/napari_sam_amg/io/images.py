"""Image files of any supported kind, told apart by their first bytes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_sam_amg.amg.plane_reader import chunk_edges
from napari_sam_amg.amg.planes import LARGE_SIDE, PlaneStack, may_tile
from napari_sam_amg.amg.read_once import read_once
from napari_sam_amg.io.czi_images import open_czi
from napari_sam_amg.io.discover import is_zarr
from napari_sam_amg.io.lif_images import open_lif
from napari_sam_amg.io.memory import check_plane
from napari_sam_amg.io.nd2_images import open_nd2
from napari_sam_amg.io.npy import open_npy
from napari_sam_amg.io.raster import FORMATS, find_format, open_raster
from napari_sam_amg.io.raw_image import AS_STORED, Geometry, RawImage, SourceImage, choose_channel
from napari_sam_amg.io.tiff import open_tiff
from napari_sam_amg.io.watched import check_regular
from napari_sam_amg.io.zarr_images import open_zarr
from napari_sam_amg.params import AmgParameters

KINDS = ("TIFF", *FORMATS, "TGA", "NPY", "ZARR", "ND2", "LIF", "CZI")
_NAMED = (
    "TIFF", "OME-Zarr", "ND2", "LIF", "CZI", "PNG", "JPEG", "BMP", "GIF", "WebP", "JPEG 2000", "AVIF", "PNM",
    "TGA and a few more",
)  # fmt: skip
_SPELT = {"ZARR": "OME-Zarr"}  # of kinds that are not called as they are spelt
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"\x93NUMPY": "NPY",
    b"\xda\xce\xbe\n": "ND2",
    b"ZISRAWFILE": "CZI",
    b"p\0\0\0": "LIF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",  # its code stream alone
}
#: Those that come after the size of the file, or of its first part.
_LATER_SIGNATURES = {b"WEBP": (8, "WEBP"), b"ftypavif": (4, "AVIF"), b"ftypavis": (4, "AVIF")}


_READERS: dict[str, Callable[[Path, int | None], AbstractContextManager[RawImage]]] = {
    "TIFF": open_tiff,
    "NPY": open_npy,
    "ZARR": open_zarr,
    "ND2": open_nd2,
    "LIF": open_lif,
    "CZI": open_czi,
}


def open_raw(path: Path, series: int | None = None) -> AbstractContextManager[RawImage]:
    """An image as it is stored, of any kind that is read."""
    return _READERS.get(image_kind(path), open_raster)(path, series)


@contextmanager
def open_image(
    path: Path,
    channel: int | None = None,
    series: int | None = None,
    geometry: Geometry = AS_STORED,
    params: AmgParameters | None = None,
) -> Iterator[SourceImage]:
    """Open a TIFF file, an OME-Zarr or a picture; planes can be read as long as the context lasts.

    ``channel``, counted from 0: the one to read of several, or one colour of an image in colour. ``series``, counted
    from 0: the image to read of a TIFF file with several. ``params``: of the run, which may take large planes tile by
    tile; without, a plane must fit into memory.
    Raises ``ValueError`` or ``OSError`` for a file that cannot be segmented, and for a plane that cannot be read.
    """
    with open_raw(path, series) as raw:
        source = choose_channel(geometry.applied_to(raw), channel, geometry.plane, dict(geometry.ranges))
        _check_memory(source.stack, raw.read_at_once, params)
        yield replace(source, stack=read_once(source.stack))


def _check_memory(stack: PlaneStack, read_at_once: int, params: AmgParameters | None) -> None:
    """Raise ``ValueError`` if a plane, or what is held at once of one that is taken tile by tile, does not fit."""
    height, width = stack.plane_size
    stored = np.dtype(stack.data.dtype).itemsize * (3 if stack.rgb else 1)
    if params is not None and may_tile((height, width), params):
        edges = chunk_edges(stack, stack.leading)
        held = int(np.diff(edges).max()) + LARGE_SIDE  # rows that are decoded together, and those of tiles
        if held < height:
            check_plane(held, width, stored)
            return
    check_plane(height, width, stored, read_at_once)


def image_kind(path: Path, allowed: tuple[str, ...] = KINDS) -> str:
    """Of a file, whatever it is called: "TIFF", "NPY", or Pillow's name of its format, such as "PNG" or "JPEG".

    A folder that holds a Zarr is "ZARR". ``ValueError`` unless it is allowed, or if it is no file at all, but another
    folder, a pipe or a device.
    """
    if "ZARR" in allowed and path.is_dir() and is_zarr(path):
        return "ZARR"
    check_regular(path)
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise ValueError("the file is empty")
    kinds = [kind for signature, kind in _SIGNATURES.items() if start.startswith(signature)]
    kinds += [kind for text, (place, kind) in _LATER_SIGNATURES.items() if start.startswith(text, place)]
    kind = kinds[0] if kinds else find_format(path)
    if kind == "JPEG2000" and path.suffix.lower() == ".nd2":  # as Nikon's first ones were
        kind = "ND2"
    if kind is None or kind not in allowed:
        what = f"a file of type {kind}" if kind else "not an image that can be read"
        some = [_SPELT.get(kind, kind) for kind in allowed]
        names = _NAMED if allowed == KINDS else (*some[:-2], f"{some[-2]} and {some[-1]}")
        raise ValueError(f"{what}: allowed are {', '.join(names)}")
    return kind
