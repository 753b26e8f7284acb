"""Labels as ImageJ's regions of interest: a zip file that its ROI Manager opens."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi
from skimage.measure import regionprops

from napari_sam_amg.io.outlines import Ring, rings

if TYPE_CHECKING:
    from napari_sam_amg.io.raw_image import SourceImage
    from napari_sam_amg.run import PlaneResult

ROIS_ENDING = "_rois.zip"
MOST_CORNERS = 2**16 - 1  # of a polygon; a composite may have more
FARTHEST = 60_535  # px from the image's corner, of a polygon: ImageJ takes larger 16-bit numbers for negative ones
_MOVE, _LINE, _CLOSE = 0, 1, 4  # of java.awt.geom.PathIterator
_SLIDERS = "CZT"  # axes for which ImageJ has some
_DAY = (1980, 1, 1, 0, 0, 0)  # the same labels give the same file
_SIZES = Struct("<II")


class RoisZip:
    """One region for each label and plane, named after the label; planes may come in any order.

    A polygon along the edges of its pixels, or, with holes or pieces that touch at corners or nowhere, a composite of
    such: either holds the label's pixels and no others. ``axes``: a letter for each axis of the stack, of lengths
    ``shape``. ``in_hyperstack``: whether ImageJ shows the image with a slider for each axis, or as a mere stack.
    """

    def __init__(self, path: Path, axes: str, shape: Sequence[int], in_hyperstack: bool) -> None:
        self.path = path
        self._axes, self._shape, self._in_hyperstack = axes, tuple(shape), in_hyperstack
        self._labels: set[int] = set()
        # A zip file that is open between planes could not be given up in silence when the disk is full.
        self._scratch = path.with_suffix(".regions")
        self._scratch.touch()

    @classmethod
    def of_image(cls, path: Path, source: "SourceImage") -> "RoisZip":
        """Of the labels of an image file, to be shown on that image."""
        raw = source.raw
        sliders = [axis for axis, length in zip(raw.axes, raw.data.shape, strict=True) if has_slider(axis, length)]
        axes = source.stack_axes
        return cls(path, axes, source.stack.stack_shape, len(sliders) > 1 and set(axes) <= set(_SLIDERS))

    def add(self, result: "PlaneResult") -> None:
        self.add_plane(result.index, result.labels)

    def add_plane(self, index: tuple[int, ...], labels: NDArray[Any]) -> None:
        """``labels``: (H, W) of any integer type, 0 for background."""
        with self._scratch.open("ab") as file:
            for label, roi in plane_rois(labels):
                self._place(roi, index)
                roi.name = str(label)
                # An object in several planes: names in a zip file differ, and ImageJ's list shows them.
                plane = "".join(f"-{position + 1}" for position in index) if label in self._labels else ""
                self._labels.add(label)
                name, content = f"{label}{plane}.roi".encode(), roi.tobytes()
                file.write(_SIZES.pack(len(name), len(content)) + name + content)

    def finish(self) -> None:
        with self._scratch.open("rb") as file, ZipFile(self.path, "w") as archive:
            while sizes := file.read(_SIZES.size):
                name, content = map(file.read, _SIZES.unpack(sizes))
                entry = ZipInfo(name.decode(), _DAY)
                entry.compress_type = ZIP_DEFLATED
                archive.writestr(entry, content)
        self._scratch.unlink()

    def _place(self, roi: ImagejRoi, index: tuple[int, ...]) -> None:
        """On its plane, counted from 1; 0, as it is, means every one."""
        if index and not self._in_hyperstack:
            roi.position = 1 + int(np.ravel_multi_index(index, self._shape))
        elif index:
            for axis, position in zip(self._axes, index, strict=True):
                setattr(roi, f"{axis.lower()}_position", position + 1)


def has_slider(axis: str, length: int) -> bool:
    """Whether ImageJ has one for an axis, a letter. An image with two of them or more is a hyperstack."""
    return axis in _SLIDERS and length > 1


def plane_rois(labels: NDArray[Any]) -> Iterator[tuple[int, ImagejRoi]]:
    """The region of every label of a plane (H, W), in order of label."""
    ids, places = np.unique(labels, return_inverse=True)
    dense = np.where(labels == 0, 0, 1 + places.reshape(labels.shape))  # ids of a long stack are large
    for region in regionprops(dense):
        top, left, _, _ = region.bbox
        yield int(ids[region.label - 1]), roi_of(region.image, left, top)


def roi_of(mask: NDArray[np.bool_], left: int, top: int) -> ImagejRoi:
    """The region of a mask (H, W) that is not empty, whose upper left pixel lies at ``left``, ``top``."""
    outlines = rings(mask)
    height, width = mask.shape
    is_near = max(left + width, top + height) <= FARTHEST
    if len(outlines) == 1 and len(outlines[0]) <= MOST_CORNERS and is_near:
        roi = ImagejRoi(roitype=ROI_TYPE.TRACED, n_coordinates=len(outlines[0]))
        roi.integer_coordinates = outlines[0].astype(np.int32)
    else:
        path = _path([outline + np.array([left, top]) for outline in outlines])
        roi = ImagejRoi(roitype=ROI_TYPE.RECT, shape_roi_size=len(path), multi_coordinates=path)
    roi.left, roi.top, roi.right, roi.bottom = left, top, left + width, top + height
    roi.options = ROI_OPTIONS.OVERLAY_LABELS | ROI_OPTIONS.OVERLAY_NAMES
    return roi


def _path(outlines: Sequence[Ring]) -> NDArray[np.float32]:
    """Outlines in Java's words: go to the first corner, draw lines to the others, close."""
    parts: list[Any] = []
    for outline in outlines:
        steps = np.column_stack([np.full(len(outline), _LINE), outline])
        steps[0, 0] = _MOVE
        parts += [steps.ravel(), [_CLOSE]]
    return np.concatenate(parts).astype(np.float32)
