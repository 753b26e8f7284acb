"""A large plane, arrays that count how often their chunks are read, and their rows as they go by."""

import numpy as np

from napari_sam_amg.amg.plane_reader import PlaneReader
from napari_sam_amg.amg.plane_rows import PlaneRows
from napari_sam_amg.amg.planes import PlaneStack

LARGE = (530, 2100)


def plane(dtype, seed: int = 0, hot: int = 60, shape=LARGE) -> np.ndarray:
    """Noise and blocks, with hot pixels: in the corners, at edges of chunks, in pairs, and anywhere."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 40, shape)
    image[100:200, 300:700] += 700
    image[230:, 1500:1540] += 300
    places = [(0, 0), (0, shape[1] - 1), (shape[0] - 1, 0), (127, 50), (128, 90), (255, 1000), (300, 5), (300, 6)]
    places += list(zip(rng.integers(0, shape[0], hot), rng.integers(0, shape[1], hot), strict=True))
    for row, column in places:
        image[row, column] = 1500 + 20000 * rng.random()
    if np.dtype(dtype).kind == "f":
        image[50:60, 70:90] = np.nan
    return (
        image.clip(0, 65000).astype(dtype)
        if np.dtype(dtype) != np.uint8
        else (image / 90).clip(0, 255).astype(np.uint8)
    )


class Chunked:
    """An array that counts how often each chunk is read, and of which some cannot be."""

    def __init__(self, pixels, chunks, broken=()):
        self.pixels, self.chunks, self.broken = pixels, chunks, set(broken)
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.reads = {}

    def __getitem__(self, where):
        where = where if isinstance(where, tuple) else (where,)
        spans = []
        for axis, (length, chunk) in enumerate(zip(self.shape, self.chunks, strict=True)):
            at = where[axis] if axis < len(where) else slice(None)
            at = range(*at.indices(length)) if isinstance(at, slice) else range(at, at + 1)
            spans.append(range(at.start // chunk, -(-at.stop // chunk)))
        for number in np.ndindex(*map(len, spans)):
            chunk = tuple(span[at] for span, at in zip(spans, number, strict=True))
            if chunk in self.broken:
                raise OSError(f"chunk {chunk} is missing")
        for number in np.ndindex(*map(len, spans)):
            chunk = tuple(span[at] for span, at in zip(spans, number, strict=True))
            self.reads[chunk] = self.reads.get(chunk, 0) + 1
        return self.pixels[where]


def rows_of(pixels, rgb=False, **options) -> PlaneRows:
    stack = PlaneStack(pixels, rgb=rgb, **options)
    return PlaneRows(stack, (0,) * len(stack.stack_axes), PlaneReader(stack))
