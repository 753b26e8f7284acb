"""Labels as ImageJ's regions of interest: a zip file that its ROI Manager opens."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi
from scipy.ndimage import find_objects

from napari_sam_amg.io.outlines import Ring, rings
from napari_sam_amg.io.plane_file import PlaneFile

if TYPE_CHECKING:
    from napari_sam_amg.io.raw_image import SourceImage
    from napari_sam_amg.run import PlaneResult

ROIS_ENDING = "_rois.zip"
MOST_CORNERS = 2**16 - 1  # of a polygon; a composite may have more
FARTHEST = 60_535  # px from the image's corner, of a polygon: ImageJ takes larger 16-bit numbers for negative ones
_MOVE, _LINE, _CLOSE = 0, 1, 4  # of java.awt.geom.PathIterator
_SLIDERS = "CZT"  # axes for which ImageJ has some
_DAY = (1980, 1, 1, 0, 0, 0)  # the same labels give the same file


class RoisZip:
    """One region for each label and page of the label image, named after the label.

    A polygon along the edges of its pixels, or, with holes or pieces that touch at corners or nowhere, a composite of
    such: either holds the label's pixels and no others. Planes may come in any order. ``axes``: a letter for each axis
    of the label image. ``in_hyperstack``: whether ImageJ shows the image with a slider for each axis but the last two,
    or as a mere stack.
    """

    def __init__(self, path: Path, axes: str, planes: PlaneFile, in_hyperstack: bool) -> None:
        self.path = path
        self._axes, self._planes, self._in_hyperstack = axes[:-2], planes, in_hyperstack

    @classmethod
    def of_image(cls, path: Path, source: "SourceImage") -> "RoisZip":
        """Of the labels of an image file, to be shown on that image."""
        raw, axes = source.raw, source.axes
        sliders = [axis for axis, length in zip(raw.axes, raw.data.shape, strict=True) if has_slider(axis, length)]
        lengths = (*source.stack.stack_shape, *source.stack.plane_size)
        planes = PlaneFile(path.with_suffix(".regions"), lengths, source.own_order)
        return cls(path, axes, planes, len(sliders) > 1 and set(axes[:-2]) <= set(_SLIDERS))

    def add(self, result: "PlaneResult") -> None:
        self._planes.add(result.index, result.labels, result.rows)

    def add_plane(self, index: tuple[int, ...], labels: NDArray[Any]) -> None:
        """``labels``: (H, W), from 0 to what 32 bits with a sign hold."""
        self._planes.add(index, labels)

    def finish(self) -> None:
        lengths, seen = self._planes.shape[:-2], set[int]()
        # written at once: a zip file that is open between planes could not be given up when the disk is full
        with ZipFile(self.path, "w") as archive:
            for index, page in zip(np.ndindex(lengths), self._planes.pages(), strict=True):
                for label, roi in plane_rois(page):
                    self._place(roi, index, lengths)
                    roi.name = str(label)
                    # An object in several planes: names in a zip file differ, and ImageJ's list shows them.
                    plane = "".join(f"-{position + 1}" for position in index) if label in seen else ""
                    seen.add(label)
                    entry = ZipInfo(f"{label}{plane}.roi", _DAY)
                    entry.compress_type = ZIP_DEFLATED
                    archive.writestr(entry, roi.tobytes())
        self._planes.delete()

    def _place(self, roi: ImagejRoi, index: tuple[int, ...], lengths: tuple[int, ...]) -> None:
        """On its page, counted from 1; 0, as it is, means every one."""
        if index and not self._in_hyperstack:
            roi.position = 1 + int(np.ravel_multi_index(index, lengths))
        elif index:
            for axis, position in zip(self._axes, index, strict=True):
                setattr(roi, f"{axis.lower()}_position", position + 1)


def has_slider(axis: str, length: int) -> bool:
    """Whether ImageJ has one for an axis, a letter. An image with two of them or more is a hyperstack."""
    return axis in _SLIDERS and length > 1


def plane_rois(labels: NDArray[Any]) -> Iterator[tuple[int, ImagejRoi]]:
    """The region of every label of a plane (H, W), in order of label."""
    offset = int(labels.min(initial=np.iinfo(labels.dtype).max, where=labels > 0)) - 1
    near = np.where(labels > 0, labels - offset, 0)  # ids far into a long stack would each take a place in a list
    for label, window in enumerate(find_objects(near), 1):
        if window is not None:
            yield label + offset, roi_of(near[window] == label, window[1].start, window[0].start)


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
