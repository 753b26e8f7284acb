"""Labels as an OME-Zarr, plane by plane as they come."""

from pathlib import Path

import numpy as np

from napari_sam_amg.io.label_volume import VERSIONS, LabelVolume, RowsOfPlanes, ngff_axes
from napari_sam_amg.io.plane_file import PlaneFile
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.run import PlaneResult


class LabelsZarr:
    """A label volume of the axes of the image, in the order that OME-NGFF asks for; coarser levels come at the end.

    Planes that are not of Y and X wait in a file beside it, since a chunk lies across many of them.
    """

    def __init__(self, path: Path, source: SourceImage, version: str = VERSIONS[0]) -> None:
        self.path = path
        letters = source.stack_axes + source.plane_axes
        axes = ngff_axes(letters)
        lengths = (*source.stack.stack_shape, *source.stack.plane_size)
        self._order = tuple(letters.index(letter) for letter in axes)
        spacing = {letter: known for letter in axes if (known := source.raw.spacing(letter)) is not None}
        shape = tuple(lengths[place] for place in self._order)
        self._volume = LabelVolume.create(path, shape, axes, spacing, version)
        is_turned = axes[-2:] != source.plane_axes
        self._rows = RowsOfPlanes(self._volume)
        self._waiting = PlaneFile(path.with_suffix(".planes"), lengths, self._order) if is_turned else None

    def add(self, result: PlaneResult) -> None:
        if self._waiting is not None:
            self._waiting.add(result.index, result.labels, result.rows)
            return
        index = tuple(result.index[place] for place in self._order[:-2])
        self._rows.write(index, result.labels, result.rows)

    def finish(self) -> None:
        if self._waiting is not None:
            for index, page in zip(np.ndindex(self._volume.shape[:-2]), self._waiting.pages(), strict=True):
                self._volume.write_plane(index, page)
            self._waiting.delete()
        self._volume.pyramid()
