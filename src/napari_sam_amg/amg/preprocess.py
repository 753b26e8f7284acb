"""Intensities of any kind to the 8-bit RGB that SAM sees, the same way for a whole stack."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.contrast import PlaneContrast, common_range, measure, planes_that_show, sampling_step
from napari_sam_amg.amg.hot_pixels import clean_rows, hot_margin, remove_hot_pixels, row_slices
from napari_sam_amg.amg.no_data import NARROW
from napari_sam_amg.amg.one_pass import look
from napari_sam_amg.amg.plane_reader import PlaneReader
from napari_sam_amg.amg.plane_rows import PlaneRows
from napari_sam_amg.amg.planes import Index, PlaneStack, plane_number
from napari_sam_amg.checks import check_kind
from napari_sam_amg.errors import in_words, is_out_of_memory

__all__ = ["IntensityRange", "Survey", "nothing_in", "percentile_range", "remove_hot_pixels", "survey", "to_rgb"]

#: Added before rounding to 8 bits, so that a value which falls on a half does so in every number
#: type. Without it uint8 data and its float copy round apart; 255 * float32's epsilon is 3e-5.
TIE_BREAK = 7.3e-4

HELD = 2  # planes that are kept of those looked at: the fullest may turn out to be a damaged one


@dataclass(frozen=True, slots=True)
class IntensityRange:
    """The values shown black and white."""

    low: float
    high: float

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            check_kind(name, value, Real, "a number")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"intensities from {self.low:g} to {self.high:g} are no range: low must be below high, both finite"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What one look at every plane of a stack says."""

    intensities: IntensityRange
    shown: tuple[Index, ...]  # the planes whose percentiles made the range; none if nothing is in any
    planes: int  # that were looked at
    step: int  # every how manieth pixel of them, along both sides
    fullest: Index | None  # the plane of ``shown`` that shows most
    pixels: NDArray[Any] | None  # of that plane, so that it need not be read again
    problems: dict[Index, str] = field(default_factory=dict)  # planes that could not be read, and why
    parts: tuple[NDArray[Any], ...] = ()  # of that plane, if it is large, in place of ``pixels``: those that show most
    margins: dict[Index, float] = field(default_factory=dict)  # by how much a pixel of each plane is hot
    contents: dict[Index, float] = field(default_factory=dict)  # how much each plane shows
    without_data: dict[Index, int] = field(default_factory=dict)  # how many pixels, of the planes that have some

    def record(self) -> dict[str, Any]:
        """The range and what it was taken from, as JSON has it; planes are named by their number or index."""
        looked_at: dict[str, Any] = {
            "planes": [plane_number(index) for index in self.shown],
            "planes_looked_at": self.planes,
            "every_nth_pixel": self.step,
        }
        if self.without_data:
            looked_at["pixels_without_data"] = sum(self.without_data.values())
        return {"low": self.intensities.low, "high": self.intensities.high} | looked_at

    @property
    def gaps(self) -> str:
        """How many pixels have no data, and what is done about them, in words; empty if all have."""
        count, planes = sum(self.without_data.values()), len(self.without_data)
        if not count:
            return ""
        where = f" in {planes} plane{'s' * (planes != 1)}" if self.planes > 1 else ""
        which = f"{count} pixel{'s are' if count != 1 else ' is'} NaN or infinite{where}, which is taken for no data"
        return f"{which}: gaps less than {NARROW} pixels wide are closed from around, others are black"


def percentile_range(stack: PlaneStack) -> IntensityRange:
    """The range that leaves out the darkest 0.1 % and the brightest 0.2 % of pixels with data, see :func:`survey`.

    The percentiles are order statistics, so multiplying the image multiplies them exactly; hot pixels are replaced
    first, so that not even one changes them. An image with nothing in it gets a range in which it is black.
    """
    return survey(stack).intensities


def survey(stack: PlaneStack) -> Survey:
    """Look at every plane once, and take the range from those that show something.

    A single plane's range is its own 0.1 and 99.8 percentiles (of every n-th pixel, if it has more than a million). A
    stack's goes from the lowest to the highest of those of the planes that :func:`contrast.planes_that_show` chooses,
    but for one in ten at either end. Raises what reading raised if no plane at all can be read.
    """
    *_, last = survey_steps(stack)
    assert last is not None
    return last


def survey_steps(stack: PlaneStack) -> Iterator[Survey | None]:
    """As :func:`survey`: None after every plane, then the survey. Closing the generator cancels."""
    reader = PlaneReader(stack)
    measured: dict[Index, PlaneContrast] = {}
    held: dict[Index, tuple[NDArray[Any], ...]] = {}
    problems: dict[Index, str] = {}
    failure: Exception | None = None
    for index in reader.in_storage_order():
        try:
            contrast, pixels = _look_at(stack, index, reader)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            problems[index], failure = in_words(error), failure or error
            yield None
            continue
        if contrast is not None:
            measured[index] = contrast
            _hold(held, index, pixels, measured)
        yield None
    if failure is not None and len(problems) == len(stack.indices):
        raise failure
    yield _survey(stack, dict(sorted(measured.items())), held, problems)


def _look_at(
    stack: PlaneStack, index: Index, reader: PlaneReader
) -> tuple[PlaneContrast | None, tuple[NDArray[Any], ...]]:
    """What a plane shows, and its pixels; of a large one, which is not held, parts that show most."""
    if not stack.is_large:
        plane = reader.plane(index)
        return measure(plane), (plane,)
    rows = PlaneRows(stack, index, reader)
    seen = look(rows, stack.rgb, np.dtype(stack.data.dtype))
    rows.check_any()
    return seen.contrast, seen.cells


def _hold(
    held: dict[Index, tuple[NDArray[Any], ...]],
    index: Index,
    pixels: tuple[NDArray[Any], ...],
    measured: dict[Index, PlaneContrast],
) -> None:
    """Keep the pixels of a plane if it is one of the fullest so far."""
    fullest = sorted((*held, index), key=lambda at: -measured[at].content)[:HELD]
    for other in [other for other in held if other not in fullest]:
        del held[other]
    if index in fullest:
        held[index] = tuple(part.copy() for part in pixels)  # a view would hold the whole block that it lies in


def _survey(
    stack: PlaneStack,
    measured: dict[Index, PlaneContrast],
    held: dict[Index, tuple[NDArray[Any], ...]],
    problems: dict[Index, str],
) -> Survey:
    indices = list(measured)
    shown = tuple(indices[position] for position in planes_that_show(list(measured.values())))
    fullest = max(shown, key=lambda index: measured[index].content, default=None)
    kept = () if fullest is None else held.get(fullest, ())
    return Survey(
        _range([measured[index] for index in shown] or list(measured.values())),
        shown,
        len(stack.indices) - len(problems),
        sampling_step(stack.plane_size),
        fullest,
        kept[0] if kept and not stack.is_large else None,
        problems,
        kept if stack.is_large else (),
        {index: contrast.hot_margin for index, contrast in measured.items()},
        {index: contrast.content for index, contrast in measured.items()},
        {index: contrast.without_data for index, contrast in measured.items() if contrast.without_data},
    )


def _range(planes: list[PlaneContrast]) -> IntensityRange:
    """Common to these planes; for no plane, or constant ones of one value, a range in which that value is black."""
    low, high = common_range(planes) if planes else (0.0, 1.0)
    if low < high:
        return IntensityRange(low, high)
    low = min(low, float(np.nextafter(np.finfo(np.float64).max, 0)))  # the greatest above which there is one more
    return IntensityRange(low, float(np.nextafter(low + 1, np.inf)))


def to_rgb(plane: NDArray[Any], intensities: IntensityRange, margin: float | None = None) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) of any real type -> (H, W, 3) uint8, what the model sees.

    Narrow gaps of pixels that are NaN or infinite are closed (:func:`no_data.closed`), wide ones black; values beyond
    the range are black or white. ``margin``: by how much a pixel is hot, if that is known.
    """
    height, width = plane.shape[:2]
    rgb = np.empty((height, width, 3), np.uint8)
    margin = hot_margin(plane) if margin is None else margin
    for rows in row_slices(height, width):
        values = clean_rows(plane, rows, margin)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (values - intensities.low) / (intensities.high - intensities.low)
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
        grey = np.floor(scaled * 255 + 0.5 + TIE_BREAK).astype(np.uint8)
        rgb[rows] = grey if grey.ndim == 3 else grey[..., None]
    return rgb


def nothing_in(plane: NDArray[Any], rgb: NDArray[np.uint8]) -> str:
    """Why there is nothing to segment in a plane, of which the model would see ``rgb``; empty if there is something."""
    if any((rgb[rows] != rgb[0, 0]).any() for rows in row_slices(*rgb.shape[:2])):
        return ""
    finite = [plane[rows][np.isfinite(plane[rows])] for rows in row_slices(*plane.shape[:2])]
    extremes = {float(extreme) for some in finite if len(some) for extreme in (some.min(), some.max())}
    if not extremes:
        return "no pixel is finite: every value is NaN or infinite"
    if len(extremes) > 1:
        return f"all pixels look the same, they are {min(extremes):g} to {max(extremes):g}"
    which = "every pixel" if sum(map(len, finite)) == plane.size else "every finite pixel"
    return f"{which} is {extremes.pop():g}"
