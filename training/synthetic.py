"""Made-up images of what the real ones lack: a layout of instances, drawn in the manner of some microscope.

Layouts: blobs, rods, rings of a tissue (a warped Voronoi diagram). Manners: filled with light, lit or dark rims, relief
(differential interference contrast), halo (phase contrast), stains on white. Any layout goes with any manner, since
what is to be learned is what makes an instance, whichever the sample.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from training.dataset import Example, make_example
from training.views import Floats

SIDE = 320  # px
RADII = (4.0, 48.0)  # px, of the instances of an image on average
ISOLATED = 0.15  # share of an instance that others may cover
ORIENTATIONS = 40  # points of an outline

Labels = NDArray[np.int32]


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_noise(rng: Generator, scale: float) -> Floats:
    """Noise of mean 0 and deviation about 1, whose waves are ``scale`` px long: (SIDE, SIDE)."""
    cells = max(2, round(SIDE / scale))
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    noise = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return (noise / max(float(noise.std()), 1e-6)).astype(np.float32)


# layouts


def outline(rng: Generator, radius: float, aspect: float, roughness: float, straight: bool) -> Floats:
    """The outline of an instance around (0, 0): (ORIENTATIONS, 2). ``straight`` gives a rod of that aspect."""
    angle = np.linspace(0, 2 * np.pi, ORIENTATIONS, endpoint=False)
    wave = sum(rng.normal(0, 1 / n) * np.cos(n * angle + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 4, 5))
    size = radius * np.exp(roughness * wave)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * size[:, None]
    if straight:
        points[:, 0] += np.sign(points[:, 0]) * radius * (aspect - 1)
    else:
        points *= np.sqrt([aspect, 1 / aspect])
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return (points @ np.array([[cos, sin], [-sin, cos]])).astype(np.float32)


def scatter(rng: Generator) -> Labels:
    """Blobs or rods, some of them touching; in clusters half of the time."""
    radius, straight = log_uniform(rng, *RADII), rng.random() < 0.3
    if straight:
        radius = min(radius, 14.0)
    aspect, roughness = rng.uniform(1, 4 if straight else 1.8), rng.choice([0.0, 0.06, 0.15, 0.3])
    wanted = int(min(rng.uniform(0.1, 0.9) * SIDE**2 / (np.pi * radius**2 * aspect), 250)) + 1
    middles = rng.uniform(0, SIDE, (rng.integers(1, 6), 2))
    spread = np.inf if rng.random() < 0.5 else rng.uniform(1.5, 5) * radius * np.sqrt(wanted / len(middles))
    labels, label_id = np.zeros((SIDE, SIDE), np.int32), 0
    for _ in range(wanted):
        place = rng.uniform(0, SIDE, 2)
        if np.isfinite(spread):
            place = middles[rng.integers(len(middles))] + rng.normal(0, spread, 2)
        shape = outline(rng, radius * rng.uniform(0.7, 1.3), aspect * rng.uniform(0.8, 1.2), roughness, straight)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillPoly(mask, [np.round(shape + place).astype(np.int32)], 1)
        area = int(mask.sum())
        covered = np.count_nonzero(labels[mask > 0])
        if area >= 12 and covered <= ISOLATED * area:
            label_id += 1
            labels[(mask > 0) & (labels == 0)] = label_id
    return labels


def tissue(rng: Generator) -> Labels:
    """Cells that fill the field, with or without gaps, some of them missing: a warped Voronoi diagram."""
    radius = log_uniform(rng, 7, RADII[1])
    count = max(4, int(SIDE**2 / (np.pi * radius**2)))
    seeds = rng.uniform(-0.1, 1.1, (count * 3 // 2, 2)) * SIDE
    if rng.random() < 0.7:  # more even: each seed away from its neighbour
        _, near = cKDTree(seeds).query(seeds, 2)
        seeds += 0.35 * (seeds - seeds[near[:, 1]])
    grid = np.indices((SIDE, SIDE)).astype(np.float32)
    warp = rng.choice([0.0, 0.2, 0.5]) * radius
    places = np.stack([axis + warp * smooth_noise(rng, 2.5 * radius) for axis in grid], axis=-1)
    places *= np.array([1.0, rng.uniform(0.6, 1.6)])
    distance, owner = cKDTree(seeds * places.reshape(-1, 2).max(0) / SIDE).query(places, 2)
    gap = rng.choice([0.0, 0.8, 1.5, 3.0])
    labels = np.where(distance[..., 1] - distance[..., 0] > gap, owner[..., 0] + 1, 0)
    missing = rng.random(labels.max() + 1) < rng.choice([0.0, 0.1, 0.5])
    return np.where(missing[labels], 0, labels).astype(np.int32)


# manners of drawing


def distance_from(blocked: NDArray[np.bool_]) -> Floats:
    """From each pixel to the next blocked one, px; SIDE where there is none."""
    distance = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, 5)
    return np.minimum(distance, SIDE).astype(np.float32)


def depth_inside(labels: Labels) -> Floats:
    """From each pixel of an instance to its outline, px, from 1 on; 0 outside."""
    as_float = labels.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    outline = (cv2.erode(as_float, kernel) != cv2.dilate(as_float, kernel)) | (labels == 0)
    return distance_from(outline) + (labels > 0)


def depth_outside(labels: Labels) -> Floats:
    """From each pixel outside to the next instance, px; 0 inside."""
    return distance_from(labels > 0)


def by_instance(rng: Generator, labels: Labels, spread: float) -> Floats:
    """A brightness around 1 for each instance, 0 outside."""
    levels = np.exp(rng.normal(0, spread, labels.max() + 1)).astype(np.float32)
    levels[0] = 0
    return levels[labels]


def texture(rng: Generator) -> Floats:
    return rng.uniform(0, 0.3) * smooth_noise(rng, log_uniform(rng, 2, 12)) + rng.uniform(0, 0.2) * smooth_noise(
        rng, 30
    )


def background(rng: Generator) -> Floats:
    """An uneven field with a little out-of-focus light, 0 .. 1."""
    field = rng.uniform(0, 0.4) + rng.uniform(0, 0.15) * smooth_noise(rng, log_uniform(rng, 40, 300))
    if rng.random() < 0.5:
        field = field + rng.uniform(0, 0.12) * smooth_noise(rng, log_uniform(rng, 3, 15))
    return field


def filled(rng: Generator, labels: Labels) -> Floats:
    """Light inside, as in fluorescence; domes or flat."""
    depth = depth_inside(labels)
    dome = np.minimum(depth / log_uniform(rng, 1, 25), 1) ** rng.uniform(0.3, 1)
    return background(rng) + by_instance(rng, labels, rng.uniform(0.05, 0.5)) * dome * (1 + texture(rng))


def rims(rng: Generator, labels: Labels) -> Floats:
    """Outlines lighter or darker than everything else, as of membranes."""
    width = log_uniform(rng, 0.8, 4)
    edge = np.exp(-((depth_inside(labels) - 1) ** 2) / (2 * width**2)) * (labels > 0)
    edge = np.maximum(edge, np.exp(-(depth_outside(labels) ** 2) / (2 * width**2)))
    inside = rng.uniform(-0.3, 0.3) * by_instance(rng, labels, 0.3)
    faint = 1 + rng.uniform(0, 0.5) * smooth_noise(rng, 40)
    return background(rng) + inside * (1 + texture(rng)) + rng.choice([-1.0, 1.0]) * edge * faint + 0.5 * texture(rng)


def relief(rng: Generator, labels: Labels) -> Floats:
    """Lit from one side, as in differential interference contrast."""
    height = np.sqrt(np.minimum(depth_inside(labels), log_uniform(rng, 3, 30))) * by_instance(rng, labels, 0.2)
    smooth = cv2.GaussianBlur(height * (1 + 0.3 * texture(rng)), (0, 0), rng.uniform(0.6, 1.8))
    rows, columns = np.gradient(smooth)
    angle = rng.uniform(0, 2 * np.pi)
    return 0.5 + rows * np.cos(angle) + columns * np.sin(angle) + 0.4 * texture(rng)


def halo(rng: Generator, labels: Labels) -> Floats:
    """Dark inside and light around, as in phase contrast, or the reverse."""
    around = np.exp(-depth_outside(labels) / log_uniform(rng, 1.5, 8)) * (labels == 0)
    inside = by_instance(rng, labels, 0.4) * (rng.uniform(0.1, 0.6) + texture(rng))
    rim = np.exp(-(depth_inside(labels) - 1) / log_uniform(rng, 1, 4)) * (labels > 0)
    return background(rng) + rng.uniform(0.2, 1) * around - inside - rng.uniform(-0.4, 0.6) * rim


def stained(rng: Generator, labels: Labels) -> Floats:
    """Two colours on a light, grainy ground: (SIDE, SIDE, 3)."""
    ground, stain = rng.uniform(0.55, 1, 3), rng.uniform(0.05, 0.65, 3)
    amount = np.clip(by_instance(rng, labels, 0.3) * (0.8 + texture(rng)), 0, 1)
    amount = cv2.GaussianBlur(amount, (0, 0), rng.uniform(0.4, 1.5))[..., None]
    grain = rng.uniform(0, 0.12) * smooth_noise(rng, log_uniform(rng, 3, 25))[..., None]
    return (ground * (1 - amount) + stain * amount + grain * rng.uniform(0.3, 1, 3)).astype(np.float32)


MANNERS: tuple[tuple[float, Callable[[Generator, Labels], Floats]], ...] = (
    (0.3, filled), (0.25, rims), (0.15, relief), (0.2, halo), (0.1, stained),
)  # fmt: skip


def finish(rng: Generator, image: Floats) -> NDArray[np.uint16]:
    """Through a lens and a camera: blur, shot noise, 16 bits."""
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.4)).reshape(image.shape)
    low, high = np.percentile(blurred, (0.5, 99.5))
    scaled = np.clip((blurred - low) / max(high - low, 1e-3), -0.1, 1.3)
    shot = np.sqrt(np.maximum(scaled, 0.05)) * log_uniform(rng, 0.005, 0.15)
    noise = rng.standard_normal(scaled.shape, np.float32) * shot
    return np.clip((scaled + noise + 0.3) * 20000, 0, 65535).astype(np.uint16)


def synthesize(rng: Generator) -> Example:
    """A made-up image of SIDE x SIDE px, grey or in colours, with its labels."""
    labels = tissue(rng) if rng.random() < 0.35 else scatter(rng)
    chances, manners = zip(*MANNERS, strict=True)
    draw = manners[rng.choice(len(manners), p=chances)]
    return make_example("synthetic", draw.__name__, finish(rng, draw(rng, labels)), labels)
