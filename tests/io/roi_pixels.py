"""What a region of ImageJ covers, by the rule that it fills pixels by: those whose centre lies inside."""

from pathlib import Path
from typing import Any

import numpy as np
from roifile import ImagejRoi, roiread


def filled(outlines: list[Any], shape: tuple[int, int]) -> Any:
    """Pixels whose centre is inside an odd number of polygons of corners (x, y); and how often each is wound round."""
    crossings, winding = np.zeros(shape, int), np.zeros(shape, int)
    centres_y, centres_x = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    for outline in outlines:
        for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            if x0 != x1:
                assert y0 == y1, "an outline that does not go along the edges of pixels"
                continue
            rows = (min(y0, y1) < centres_y) & (centres_y < max(y0, y1))
            hit = rows[:, None] & (centres_x > x0)[None]
            crossings += hit
            winding += np.where(hit, np.sign(y0 - y1).astype(int), 0)
    return crossings % 2 == 1, winding


def pixels(roi: ImagejRoi, shape: tuple[int, int]) -> Any:
    """(H, W): by both rules by which a path can be filled, which must agree."""
    odd, winding = filled([np.asarray(part) for part in roi.coordinates(multi=True)], shape)
    np.testing.assert_array_equal(odd, winding == 1)
    np.testing.assert_array_equal(~odd, winding == 0)
    return odd


def read(path: Path) -> list[ImagejRoi]:
    rois = roiread(path)
    assert isinstance(rois, list)
    return rois


def painted(rois: list[ImagejRoi], shape: tuple[int, ...]) -> Any:
    """The label image of which these are the regions; ``shape``: (Y, X), or (Z, Y, X) of a mere stack."""
    labels = np.zeros(shape, int)
    for roi in rois:
        plane = labels if len(shape) == 2 else labels[roi.position - 1]
        inside = pixels(roi, (shape[-2], shape[-1]))
        assert not plane[inside].any()
        plane[inside] = int(roi.name)
    return labels
