"""Objects that divide: which labels of a plane are the daughters of a label of the plane before."""

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.objects.links import Links

WITHIN = 0.5  # of a daughter, at least, lies where its mother was
SMALLEST = 0.25  # of its mother's pixels a daughter has at least: anything smaller is no half of it


def daughters(before: NDArray[np.int32], here: NDArray[np.int32], linked: Links) -> dict[int, list[int]]:
    """By label of ``before`` the labels of ``here`` that it became, two at least.

    A label of ``here`` that is linked is a daughter of the label it is linked to, if that has another one. One that is
    not linked may be the daughter of the label which covers most of it.
    """
    mothers = _mothers(before, here, free=_unlinked(here, linked))
    several = set(mothers.values())
    pairs = zip(linked.one.tolist(), linked.other.tolist(), strict=True)
    mothers |= {label: mother for mother, label in pairs if mother in several}
    areas, sizes = np.bincount(before.ravel()), np.bincount(here.ravel())
    found: dict[int, list[int]] = {}
    for label, mother in sorted(mothers.items()):
        if sizes[label] >= SMALLEST * areas[mother]:
            found.setdefault(mother, []).append(label)
    return {mother: labels for mother, labels in found.items() if len(labels) > 1}


def _unlinked(here: NDArray[np.int32], linked: Links) -> NDArray[np.bool_]:
    """(m + 1,) of every label, the background not."""
    free = np.ones(int(here.max(initial=0)) + 1, bool)
    free[0] = False
    free[linked.other] = False
    return free


def _mothers(before: NDArray[np.int32], here: NDArray[np.int32], free: NDArray[np.bool_]) -> dict[int, int]:
    """Of those labels of ``here`` that are free the label of ``before`` in which they lie, if they lie in one."""
    both = free[here] & (before > 0)
    pairs, pixels = np.unique(np.stack([here[both], before[both]]), axis=1, return_counts=True)
    sizes = np.bincount(here.ravel())
    inside = pixels > WITHIN * sizes[pairs[0]]  # more than half: one at most
    return dict(zip(pairs[0][inside].tolist(), pairs[1][inside].tolist(), strict=True))
