"""Intensities mapped a plane at a time, pixel by pixel where that is plainest: the reference for doing it in parts."""

import cv2
import numpy as np

HOLLOW = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)


LEAST = np.finfo(np.float32).min


def close_gaps(plane):
    """Gaps that hold no 9 x 9 square are closed from their edges inwards, others are NaN."""
    if plane.ndim == 3:
        return np.stack([close_gaps(channel) for channel in np.moveaxis(plane, 2, 0)], axis=2)
    gaps, wide = ~np.isfinite(plane), np.zeros(plane.shape, bool)
    for y, x in np.argwhere(gaps):
        square = slice(max(y - 4, 0), y + 5), slice(max(x - 4, 0), x + 5)
        if gaps[square].all():
            wide[square] = True
    plane = np.where(gaps, np.nan, plane)
    for _ in range(4):
        before = plane.copy()
        for y, x in np.argwhere(np.isnan(before) & ~wide):
            around = before[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            data = np.sort(around[~np.isnan(around)])
            if len(data):
                plane[y, x] = data[(len(data) - 1) // 2]
    return plane


def remove_hot_pixels(plane):
    plane = close_gaps(plane)
    if plane.ndim == 3:
        return plane
    smooth = plane.astype(np.float32)
    smooth[np.isinf(smooth)] = 0
    smooth[np.isnan(plane)] = LEAST
    median = cv2.medianBlur(smooth, 3)
    highest_neighbour = cv2.dilate(smooth, HOLLOW)
    known = median[median > LEAST]
    span = float(known.max() - known.min()) if len(known) else 0
    hot = (smooth > highest_neighbour + 0.5 * span) & (span > 0)
    return np.where(hot, np.where(median > LEAST, median, np.nan), plane)


def percentiles(plane):
    height, width = plane.shape[:2]
    step = max(1, int((height * width / 1_000_000) ** 0.5))
    values = remove_hot_pixels(plane.astype(np.float64))[::step, ::step].ravel()
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [0.1, 99.8], method="nearest")
    return (values.min(), values.max()) if low == high else (low, high)


def to_rgb(plane, low, high):
    values = remove_hot_pixels(plane.astype(np.float64))
    with np.errstate(invalid="ignore"):
        scaled = (values - low) / (high - low)
    scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    grey = np.floor(scaled * 255 + 0.5 + 7.3e-4).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
