"""What every reader returns: pixels that can be read plane by plane, and what their axes are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from napari_sam_amg.amg.planes import CANONICAL, PlaneStack
from napari_sam_amg.amg.views import in_order, pages_of
from napari_sam_amg.checks import check_positive
from napari_sam_amg.io.ngff import MICROMETRE, SECONDS, Spacing
from napari_sam_amg.io.pixel_size import micrometres


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """An image file as it is stored."""

    data: Any  # array-like (..., Y, X) or (..., Y, X, S), read lazily where the file allows it
    axes: str  # a letter for each axis of the data, tifffile's: T, Z, C, ..., then YX or YXS
    pixel_size: tuple[float, float] | None = None  # (y, x) in micrometres
    z_spacing: float | None = None  # micrometres from plane to plane along Z
    stated: Mapping[str, Spacing] = field(default_factory=dict)  # by letter, what the file says, in its own units
    channels: tuple[str, ...] = ()  # their names, if they have some
    images: int = 1  # how many there are in the file, of which ``series`` chose one
    note: str = ""  # what was left out
    compression: str = ""  # tifffile's name of it, in a TIFF file
    read_at_once: int = 0  # bytes that are read and decoded to get at one plane, if more than the plane

    def spacing(self, letter: str) -> Spacing | None:
        """From one position to the next along an axis; None if the file does not say."""
        known = dict(zip("YX", self.pixel_size or (), strict=False)) | {"Z": self.z_spacing}
        length = known.get(letter)
        return self.stated.get(letter) or (None if length is None else Spacing(length, MICROMETRE))

    def micrometres(self, letter: str) -> float | None:
        """The same, of an axis of space."""
        spacing = self.spacing(letter)
        unit = micrometres(spacing.unit) if spacing is not None else None
        return None if spacing is None or unit is None else spacing.length * unit

    @property
    def seconds(self) -> float | None:
        """From one point in time to the next, if the file says so."""
        known = self.spacing("T")
        return known.length * SECONDS[known.unit] if known is not None and known.unit in SECONDS else None


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """An image file as it is segmented."""

    stack: PlaneStack
    stack_axes: str  # a letter for each axis of the stack
    raw: RawImage
    channel: int | None  # counted from 0; None if the file has no channels
    note: str  # choices made without being asked, for the summary
    plane_axes: str = "YX"  # letters of a plane's two, down and to the right

    @property
    def own_order(self) -> tuple[int, ...]:
        """Where each axis of the image, channels and colours left out, is among the stack's and then the plane's."""
        stack = iter(range(len(self.stack_axes)))
        down = len(self.stack_axes)
        letters = [letter for letter in self.raw.axes if letter in self.stack_axes + self.plane_axes]
        return tuple(
            down + self.plane_axes.index(letter) if letter in self.plane_axes else next(stack) for letter in letters
        )

    @property
    def axes(self) -> str:
        """A letter for each axis of the labels, in the image's own order."""
        letters = self.stack_axes + self.plane_axes
        return "".join(letters[place] for place in self.own_order)

    def sizes(self, axes: str) -> tuple[float, float] | None:
        """Micrometres from pixel to pixel along two axes; None unless both are known."""
        first, second = (self.raw.micrometres(letter) for letter in axes)
        return None if first is None or second is None else (first, second)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a user says of the axes of an image, in place of what its file says, and which planes are wanted."""

    axes: str = ""  # see :func:`named`; empty: as the file has it
    plane: str = ""  # two of its axes; empty: Y and X
    ranges: tuple[tuple[str, range], ...] = ()  # positions along axes; a stop of -1 is the end
    pixel_size: float | None = None  # micrometres, along Y and X
    z_spacing: float | None = None  # micrometres, along Z

    def __post_init__(self) -> None:
        for name in ("pixel_size", "z_spacing"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))

    def record(self) -> dict[str, Any]:
        """As JSON has it, that which is not said left out, but for the pixel size."""
        ranges = {letter: [span.start, span.stop, span.step] for letter, span in self.ranges}
        said = {"axes": self.axes, "plane": self.plane, "ranges": ranges, "z_spacing": self.z_spacing}
        return {"pixel_size": self.pixel_size} | {name: value for name, value in said.items() if value}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Geometry":
        """The other way round."""
        ranges = tuple((letter, range(*span)) for letter, span in record.get("ranges", {}).items())
        return cls(**{**record, "ranges": ranges})

    def applied_to(self, raw: RawImage) -> RawImage:
        """The image with these names and sizes. ``ValueError`` if they do not fit."""
        raw = named(raw, self.axes) if self.axes else raw
        given = dict.fromkeys("YX", self.pixel_size) | {"Z": self.z_spacing}
        sizes = {letter: Spacing(size, MICROMETRE) for letter, size in given.items() if size is not None}
        return replace(raw, stated={**raw.stated, **sizes}) if sizes else raw


AS_STORED = Geometry()


@dataclass(frozen=True, slots=True, eq=False)
class OneSample:
    """One colour of (..., Y, X, S) data, itself (..., Y, X)."""

    data: Any
    sample: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape[:-1])

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def chunks(self) -> Any:
        chunks = getattr(self.data, "chunks", None)
        return None if chunks is None else chunks[:-1]

    def __getitem__(self, index: tuple[int | slice, ...]) -> Any:
        return self.data[index][..., self.sample]


@dataclass(frozen=True, slots=True, eq=False)
class FirstColours:
    """Red, green and blue of (..., Y, X, S) data with more samples than that, itself (..., Y, X, 3)."""

    data: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.data.shape[:-1], 3)

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def chunks(self) -> Any:
        return getattr(self.data, "chunks", None)

    def __getitem__(self, index: tuple[int | slice, ...]) -> Any:
        return self.data[index][..., :3]


def choose_channel(
    raw: RawImage, channel: int | None, plane: str = "", ranges: Mapping[str, range] | None = None
) -> SourceImage:
    """Planes to segment: colour images as colour, of other channels the one that is asked for.

    Without a choice an image of several channels gives its first. ``plane``: the letters of a plane's axes, by
    default Y and X. ``ranges``: positions along axes, the other planes are left out. ``ValueError`` for a channel,
    axes or positions that are not there.
    """
    data, axes = _plane_last(raw, plane)
    size = dict(zip(axes, data.shape, strict=True))
    is_rgb, fixed, note = "S" in size, {}, ""
    if size.get("S", 0) > 4 and (channel is None or "C" in size):
        data = FirstColours(data)
    if "C" in size:
        _check_channel(channel, size["C"])
        fixed, note = {axes.index("C"): channel or 0}, _channel_note(channel, size["C"], raw.channels)
        channel = channel or 0
    elif is_rgb and channel is not None:
        _check_channel(channel, size["S"])
        data, is_rgb = OneSample(data, channel), False
    else:
        _check_channel(channel, 1)
        channel = None
    plane_axes = axes.removesuffix("S")[-2:]
    stack = PlaneStack(data, is_rgb, fixed, _within(axes, data.shape, ranges or {}, plane_axes))
    letters = "".join(axes[axis] for axis in stack.stack_axes)
    return SourceImage(stack, letters, raw, channel, ", ".join(filter(None, (raw.note, note))), plane_axes)


def named(raw: RawImage, axes: str) -> RawImage:
    """The image with other names for its axes, in the order in which they are stored; that of colours may be left out.

    ``ValueError`` if they do not fit.
    """
    letters = axes + "S" * (len(axes) + 1 == len(raw.axes) and raw.axes.endswith("S"))
    known = f"the image has axes {raw.axes} and shape {tuple(raw.data.shape)}"
    if len(letters) != len(raw.axes):
        raise ValueError(f"axes={axes} does not fit: {known}")
    if raw.axes.endswith("S") and not letters.endswith("S"):
        raise ValueError(f"axes={axes} does not fit: the last axis, S, holds colours; {known}")
    return replace(raw, data=pages_of(raw.data, 2 + raw.axes.endswith("S")), axes=letters)


def check_axes(axes: str, name: str = "axes") -> str:
    """Names of axes as a user gives them, in capitals. ``ValueError`` unless each is a letter of its own."""
    letters = axes.upper()
    if not letters.isascii() or not letters.isalpha() or len(set(letters)) < len(letters) or len(letters) < 2:
        raise ValueError(
            f"{name}={axes} is not allowed: give a letter for each axis, such as TZCYX (T time, C channels, S colours)"
        )
    return letters


def _plane_last(raw: RawImage, plane: str) -> tuple[Any, str]:
    """The data and its letters with the axes of a plane behind the others; those of colours stay the last."""
    letters = raw.axes
    candidates = [letter for letter in letters if letter not in "CS"]
    if plane and (len(plane) != 2 or any(candidates.count(letter) != 1 for letter in plane)):
        raise ValueError(f"plane={plane} is not allowed: choose two of the axes {''.join(candidates)} of this image")
    if not plane and {"Y", "X"} <= set(candidates):
        plane = "YX"
    others = [axis for axis, letter in enumerate(letters) if letter not in "CS"][-2:]
    axes = [letters.index(letter) for letter in plane] if plane else others
    chosen = sorted(axes, key=lambda axis: _rank(letters, axis))
    colours = [axis for axis, letter in enumerate(letters) if letter == "S"]
    order = [axis for axis in range(len(letters)) if axis not in chosen + colours] + chosen + colours
    if order == list(range(len(letters))):
        return raw.data, letters
    data = pages_of(raw.data, 2 + letters.endswith("S"))
    return in_order(data, tuple(order)), "".join(letters[axis] for axis in order)


def _rank(letters: str, axis: int) -> tuple[int, int]:
    """Axes without a known name go before the others, in their own order."""
    return CANONICAL.find(letters[axis]), axis


def _within(axes: str, shape: tuple[int, ...], ranges: Mapping[str, range], plane_axes: str) -> dict[int, range]:
    """Ranges by axis. ``ValueError`` for those that are not of the stack, or reach beyond it."""
    found = {}
    for letter, positions in ranges.items():
        if letter in plane_axes or letter in "CS":
            why = "--channel chooses those" if letter in "CS" else f"planes of {plane_axes} are segmented whole"
            raise ValueError(f"range {letter} is not allowed: {why}")
        if axes.count(letter) != 1:
            raise ValueError(f"range {letter} is not allowed: the image has axes {axes}")
        length = int(shape[axes.index(letter)])
        stop = length if positions.stop < 0 else positions.stop
        if not 0 <= positions.start < stop <= length:
            given = f"{positions.start}:{stop}"
            raise ValueError(f"range {letter}={given} is not in this image: allowed is 0:{length}")
        found[axes.index(letter)] = range(positions.start, stop, positions.step)
    return found


def check_series(number: int | None, count: int) -> None:
    """Raise ``ValueError`` if there is no such image in a file of ``count``."""
    if number is not None and not 0 <= number < count:
        allowed = "0" if count == 1 else f"0 to {count - 1}"
        raise ValueError(f"series={number} is not in this file: allowed is {allowed}")


def _check_channel(channel: int | None, count: int) -> None:
    if channel is not None and not 0 <= channel < count:
        allowed = "0" if count == 1 else f"0 to {count - 1}"
        raise ValueError(f"channel={channel} is not in this image: allowed is {allowed}")


def _channel_note(channel: int | None, count: int, names: tuple[str, ...]) -> str:
    if channel is not None or count == 1:
        return ""
    name = f" ({names[0]})" if names else ""
    return f"channel 0{name} of 0..{count - 1} (--channel chooses)"
