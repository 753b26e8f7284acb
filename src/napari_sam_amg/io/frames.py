"""What the readers of microscopes' files share: planes by a function, and libraries that may be missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Array-like (..., Y, X) or (..., Y, X, S) of which a plane is read when it is indexed."""

    read: Callable[[tuple[int, ...]], NDArray[Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_colour: bool = False  # S is the last axis

    rows_only: ClassVar[bool] = True  # of one plane, see views.pages_of

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is read together, along each axis: a plane."""
        leading = len(self.shape) - 2 - self.in_colour
        return (*(1 for _ in range(leading)), *self.shape[leading:])

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """One plane: ``index`` has a position for every axis before Y, and perhaps a slice of its rows."""
        position, rows = tuple(at for at in index if not isinstance(at, slice)), index[-1:]
        with in_words(f"plane {', '.join(map(str, position))} cannot be read" if position else "it cannot be read"):
            plane = self.read(position)
        return plane[rows] if len(index) > len(position) else plane


def library(name: str, extra: str, kind: str) -> Any:
    """A package that an extra of ours installs. ``ValueError`` that says which if it is not there."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{kind} files are read by the package {name}, which is not installed: pip install napari-sam-amg[{extra}]"
        ) from error


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """The libraries take a file at its word: a damaged one raises anything."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{what}: {error or type(error).__name__}") from error
