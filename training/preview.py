"""A picture of augmented crops with their points, to look at before a run: ``python -m training.preview``."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import io

from training.batches import Sample, make_batch
from training.colour import PIXEL_MEAN, PIXEL_STD
from training.dataset import read_split
from training.recipe import Recipe


def draw_sample(sample: Sample) -> NDArray[np.uint8]:
    """Instances outlined in yellow; points on instances green, on background red."""
    image = sample.image.numpy().transpose(1, 2, 0) * PIXEL_STD + PIXEL_MEAN
    canvas = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    boundary = cv2.resize(sample.dense[1].numpy(), canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    canvas[boundary > 0] = (255, 255, 0)
    for index, (x, y) in enumerate(sample.points.numpy()):
        colour = (0, 255, 0) if index < len(sample.masks) else (255, 0, 0)
        cv2.circle(canvas, (round(float(x)), round(float(y))), 3, colour, -1)
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--step", type=int, default=0)
    arguments = parser.parse_args()
    samples = make_batch(read_split(arguments.data, "train"), Recipe(batch=20), 512, arguments.step)
    tiles = [draw_sample(sample) for sample in samples]
    io.imsave(arguments.output, np.vstack([np.hstack(tiles[i : i + 5]) for i in range(0, 20, 5)]))


if __name__ == "__main__":
    main()
