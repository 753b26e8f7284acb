"""Arguments from Python, or out of a file, held to what is allowed: a ``ValueError`` in words if they are not."""

import math
import os
from numbers import Integral, Real
from typing import Any


def shown(value: Any) -> str:
    """A value in a message: one line, and short."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], allowed: str) -> None:
    """``value`` must be of this type; ``allowed`` says so in words."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}={shown(value)} is not allowed: it must be {allowed}")


def check_whole(name: str, value: Any, least: int = 0) -> int:
    """The whole number that ``value`` is, NumPy's as well."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={shown(value)} is not allowed: it must be a whole number from {least}")
    return int(value)


def check_positive(name: str, value: Any) -> None:
    """``value`` must be a number above 0, and finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name}={shown(value)} is not allowed: it must be a positive number")


def check_path(name: str, value: Any) -> None:
    """``value`` must be a path, text or an ``os.PathLike`` of text."""
    if not isinstance(value, str | os.PathLike) or not isinstance(path := os.fspath(value), str) or not path:
        raise ValueError(f"{name}={shown(value)} is not allowed: it must be a path")
