"""Grey values to the model's input, with the variation that microscopes bring."""

import cv2
import numpy as np
from numpy.random import Generator

from training.dataset import Example
from training.views import Floats

PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # SAM's, for 0 .. 255
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)


def stretch(rng: Generator, image: Floats, example: Example) -> Floats:
    """Grey values to about 0 .. 1 by percentiles of the whole image, a little uncertain."""
    black, white = rng.uniform(*example.black), rng.uniform(*example.white)
    return np.clip((image - black) / max(white - black, 1e-3), 0, 1).astype(np.float32)


def vary_hue(rng: Generator, image: Floats) -> Floats:
    if rng.random() < 0.15:
        return image.mean(axis=2, keepdims=True)
    if rng.random() < 0.4:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-25, 25)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.6, 1.4), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)


def vary_light(rng: Generator, image: Floats) -> Floats:
    """Inversion, gamma, contrast and uneven illumination."""
    if rng.random() < 0.15:
        image = 1 - image
    if rng.random() < 0.6:
        image = image ** np.float32(np.exp(rng.uniform(-0.6, 0.6)))
    if rng.random() < 0.5:
        image = image * rng.uniform(0.6, 1.2) + rng.uniform(-0.12, 0.12)
    if rng.random() < 0.2:
        coarse = rng.uniform(0.6, 1.2, (3, 3)).astype(np.float32)
        image = image * cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    return image.astype(np.float32)


def vary_sharpness(rng: Generator, image: Floats) -> Floats:
    """Blur, then noise."""
    if rng.random() < 0.25:
        blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
        image = blurred.reshape(image.shape).astype(np.float32)
    if rng.random() < 0.3:
        image = image + rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 0.08))
    return image


def colour_view(rng: Generator, image: Floats, example: Example) -> Floats:
    """(S, S, 1 or 3) grey values of the file -> (S, S, 3) in 0 .. 1, augmented."""
    image = stretch(rng, image, example)
    if image.shape[2] == 3:
        image = vary_hue(rng, image)
    image = np.clip(vary_sharpness(rng, vary_light(rng, image)), 0, 1)
    return np.broadcast_to(image, (*image.shape[:2], 3))


def to_input(image: Floats) -> Floats:
    """(S, S, 3) in 0 .. 1 -> (3, S, S), normalised with SAM's mean and deviation."""
    return np.ascontiguousarray(((image * 255 - PIXEL_MEAN) / PIXEL_STD).transpose(2, 0, 1), dtype=np.float32)
