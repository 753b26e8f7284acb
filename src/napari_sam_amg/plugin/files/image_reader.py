"""Opens images that napari does not read, or without their sizes: lazily, with names, sizes and units of axes."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from weakref import finalize

import dask.array as da
import numpy as np

from napari_sam_amg.amg.views import pages_of
from napari_sam_amg.io.images import image_kind, open_raw
from napari_sam_amg.io.label_volume import is_label_volume
from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.io.raw_image import RawImage
from napari_sam_amg.plugin.placing import known_unit

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """npe2's reader. None for what is no image."""
    try:
        for one in _each(path):
            image_kind(one)
    except (OSError, ValueError):
        return None
    return read


def read(path: str | Sequence[str]) -> list[LayerData]:
    """A layer for each image of each file; labels that were written here are labels.

    ``ValueError`` names the file and what is wrong with it.
    """
    return [layer for one in _each(path) for layer in _named(one)]


def _named(path: Path) -> list[LayerData]:
    try:
        return _layers(path)
    except ValueError as error:
        raise ValueError(error if str(path) in str(error) else f"{path}: {error}") from error


def _each(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, str) else [Path(one) for one in path]


def _layers(path: Path) -> list[LayerData]:
    if is_label_volume(path):
        from napari_sam_amg.plugin.files import label_reader  # needs torch, which opening the widget does not

        return [label_reader.read(path)]
    layers: list[LayerData] = []
    count = 1
    while len(layers) < count:
        number = len(layers)
        held = ExitStack()
        raw = held.enter_context(open_raw(path, number))
        count = raw.images
        name = path.name if count == 1 else f"{path.name} {number}"
        layers.append((lazily(raw, held), {"name": name} | geometry_of(raw), "image"))
    return layers


def lazily(raw: RawImage, held: ExitStack) -> da.Array:
    """The data as dask has it, a chunk of it for each plane, or for each chunk that is stored; the file stays open."""
    data = pages_of(raw.data, 2 + raw.axes.endswith("S"))
    chunks = getattr(data, "chunks", None) or data.shape
    source = _Held(data)
    finalize(source, held.close)
    return da.from_array(
        source, chunks=chunks, lock=True, asarray=False, meta=np.empty((0,) * len(data.shape), data.dtype)
    )


class _Held:
    """The data for as long as somebody has it: then its file is closed."""

    def __init__(self, data: Any) -> None:
        self.data, self.shape, self.dtype = data, tuple(data.shape), np.dtype(data.dtype)
        self.ndim = len(self.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        return np.asarray(self.data[index])


def geometry_of(raw: RawImage) -> dict[str, Any]:
    """Arguments of a layer: names, sizes and units of its axes, as far as they are known."""
    letters = raw.axes.removesuffix("S")
    known = [raw.spacing(letter) or Spacing(1.0, "") for letter in letters]
    names = [letter.lower() if letter != "Q" else f"-{len(letters) - place}" for place, letter in enumerate(letters)]
    return {
        "axis_labels": tuple(names),
        "scale": tuple(axis.length for axis in known),
        "translate": tuple(axis.origin for axis in known),
        "units": tuple(known_unit(axis.unit) for axis in known),
        "rgb": raw.axes.endswith("S"),
    }
