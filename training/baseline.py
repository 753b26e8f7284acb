"""What needs no model: Otsu's threshold, then a watershed of the distance transform."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import feature, filters, measure, morphology, segmentation

MIN_AREA = 20  # px
PEAK_DISTANCE = 5  # px between the seeds of the watershed


def to_grey(image: NDArray[np.generic]) -> NDArray[np.float32]:
    grey = image.astype(np.float32)
    return grey.mean(axis=2) if grey.ndim == 3 else grey


def otsu_foreground(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """The rarer side of Otsu's threshold, without holes and specks."""
    grey = to_grey(image)
    foreground = grey > filters.threshold_otsu(grey)
    if foreground.mean() > 0.5:
        foreground = ~foreground
    filled = ndimage.binary_fill_holes(foreground)
    return morphology.remove_small_objects(filled, max_size=MIN_AREA - 1)


def otsu_watershed(image: NDArray[np.generic]) -> NDArray[np.int32]:
    """(H, W) or (H, W, 3) image -> (H, W) labels."""
    foreground = otsu_foreground(image)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), 1.0)
    regions = measure.label(foreground)
    peaks = feature.peak_local_max(distance, min_distance=PEAK_DISTANCE, labels=regions, exclude_border=False)
    seeds = np.zeros(foreground.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-distance, seeds, mask=foreground)
