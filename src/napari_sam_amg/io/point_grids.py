"""Explicit point grids from a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam_amg.params import Grids


def read_point_grids(path: Path) -> Grids:
    """Point grids, one for each crop layer, from a .json or .npy file.

    One grid of (n, 2) points (x, y) in 0..1, or a list of grids. ``ValueError`` names the file.
    """
    try:
        loaded = np.load(path) if path.suffix.lower() == ".npy" else json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"point_grids: {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # JSON, text and NPY errors alike
        raise ValueError(f"point_grids: {path} is no JSON or NPY file of points: {error}") from error
    try:
        grids = [loaded] if _is_grid(loaded) else list(loaded)
        return tuple(_grid(grid) for grid in grids)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f"point_grids: {path} must hold (n, 2) points (x, y) in 0..1, or a list of such grids"
        ) from error


def _is_grid(loaded: Any) -> bool:
    """Whether this is one grid: its first entry is a point, a pair of numbers."""
    return np.ndim(loaded[0]) == 1


def _grid(points: Any) -> tuple[tuple[float, float], ...]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"a grid of shape {array.shape}")
    return tuple((float(x), float(y)) for x, y in array)
