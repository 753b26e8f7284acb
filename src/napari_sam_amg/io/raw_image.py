"""What every reader returns: pixels that can be read plane by plane, and what their axes are."""

from dataclasses import dataclass
from typing import Any

from napari_sam_amg.amg.planes import PlaneStack


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """An image file as it is stored."""

    data: Any  # array-like (..., Y, X) or (..., Y, X, S), read lazily where the file allows it
    axes: str  # a letter for each axis of the data, tifffile's: T, Z, C, ..., then YX or YXS
    pixel_size: tuple[float, float] | None = None  # (y, x) in micrometres
    z_spacing: float | None = None  # micrometres from plane to plane along Z
    note: str = ""  # what was left out
    compression: str = ""  # tifffile's name of it, in a TIFF file
    read_at_once: int = 0  # bytes that are read and decoded to get at one plane, if more than the plane


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """An image file as it is segmented."""

    stack: PlaneStack
    stack_axes: str  # a letter for each axis of the stack
    raw: RawImage
    channel: int | None  # counted from 0; None if the file has no channels
    note: str  # choices made without being asked, for the summary


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


def choose_channel(raw: RawImage, channel: int | None) -> SourceImage:
    """Planes to segment: colour images as colour, of other channels the one that is asked for.

    Without a choice an image of several channels gives its first. ``ValueError`` if there is no
    such channel.
    """
    size = dict(zip(raw.axes, raw.data.shape, strict=True))
    is_one_colour = channel is not None and "C" not in size
    data = raw.data if is_one_colour or size.get("S", 0) <= 4 else FirstColours(raw.data)
    if "C" in size:
        _check_channel(channel, size["C"])
        stack = PlaneStack(data, rgb="S" in size, fixed={raw.axes.index("C"): channel or 0})
        return _source(raw, stack, channel or 0, _channel_note(channel, size["C"]))
    if "S" in size and channel is not None:
        _check_channel(channel, size["S"])
        return _source(raw, PlaneStack(OneSample(data, channel)), channel, "")
    _check_channel(channel, 1)
    return _source(raw, PlaneStack(data, rgb="S" in size), None, "")


def check_series(number: int | None, count: int) -> None:
    """Raise ``ValueError`` if there is no such image in a file of ``count``."""
    if number is not None and not 0 <= number < count:
        allowed = "0" if count == 1 else f"0 to {count - 1}"
        raise ValueError(f"series={number} is not in this file: allowed is {allowed}")


def _source(raw: RawImage, stack: PlaneStack, channel: int | None, note: str) -> SourceImage:
    letters = "".join(raw.axes[axis] for axis in stack.stack_axes)
    return SourceImage(stack, letters, raw, channel, ", ".join(text for text in (raw.note, note) if text))


def _check_channel(channel: int | None, count: int) -> None:
    if channel is not None and not 0 <= channel < count:
        allowed = "0" if count == 1 else f"0 to {count - 1}"
        raise ValueError(f"channel={channel} is not in this image: allowed is {allowed}")


def _channel_note(channel: int | None, count: int) -> str:
    if channel is not None or count == 1:
        return ""
    return f"channel 0 of 0..{count - 1} (--channel chooses)"
