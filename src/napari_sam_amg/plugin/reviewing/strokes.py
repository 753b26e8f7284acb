"""What napari tells of painting, as patches of planes."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_sam_amg.plugin.reviewing.reviewed import ReviewedLayer
from napari_sam_amg.review.edits import Index, Patch


def patches_of(atoms: Iterable[Any], review: ReviewedLayer, has_stack: bool) -> list[Patch]:
    """Of what napari's event ``paint`` has: what was changed by a stroke, bit by bit.

    ``has_stack``: whether planes go by an index.
    """
    return [patch for atom in atoms for patch in _patches(*_pixels(atom), review, has_stack)]


def end_stroke(layer: Labels) -> None:
    """What the mouse has drawn by now is told at once, though its button is still down."""
    commit = getattr(layer, "_commit_staged_history", None)
    if commit is not None:
        commit()


def forget_strokes(layer: Labels) -> None:
    """napari's own undo would bring back pixels of labels that are others now."""
    for name in ("_undo_history", "_redo_history"):
        history = getattr(layer, name, None)
        if history is not None:
            history.clear()


def _pixels(atom: Any) -> tuple[list[NDArray[np.int64]], NDArray[np.int64], NDArray[np.int64]]:
    """Indices along every axis, ids before and ids after: (n,) each. napari has had two ways to say it."""
    if hasattr(atom, "slice_key"):  # since 0.9: a mask in a box
        starts = [part.start or 0 for part in atom.slice_key]
        old = np.asarray(atom.old_values)
        mask = np.ones(old.shape, bool) if atom.mask is None else atom.mask
        places = [axis + start for axis, start in zip(np.nonzero(mask), starts, strict=True)]
        before = old[mask] if atom.mask is None else old
        return places, before.astype(np.int64), np.full(len(before), int(atom.new_value), np.int64)
    indices, old, new = atom
    places = [np.ravel(axis).astype(np.int64) for axis in np.broadcast_arrays(*indices)]
    before = np.broadcast_to(np.ravel(old), places[0].shape).astype(np.int64)
    return places, before, np.broadcast_to(np.ravel(new), places[0].shape).astype(np.int64)


def _patches(
    places: list[NDArray[np.int64]],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    review: ReviewedLayer,
    has_stack: bool,
) -> Iterator[Patch]:
    """Plane by plane."""
    stack = [places[axis] for axis in review.stack_axes] if has_stack else []
    order = np.lexsort(stack[::-1]) if stack else np.arange(len(before))
    keys = np.stack(stack, axis=1)[order] if stack else np.zeros((len(order), 0), np.int64)
    cuts = np.flatnonzero((np.diff(keys, axis=0) != 0).any(axis=1)) + 1
    down, right = (places[axis] for axis in review.plane_axes)
    for part in np.split(order, cuts) if len(order) else []:
        index: Index = tuple(int(axis[part[0]]) for axis in stack)
        corner = int(down[part].min()), int(right[part].min())
        at = down[part] - corner[0], right[part] - corner[1]
        box = np.zeros((2, int(at[0].max()) + 1, int(at[1].max()) + 1), np.int64)
        box[0][at], box[1][at] = before[part], after[part]
        if (patch := Patch.of(index, box[0], box[1], corner)) is not None:
            yield patch
