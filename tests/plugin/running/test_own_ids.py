"""Ids of planes that come into a layer: their own first, then free ones, whether planes come whole or in rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from napari_sam_amg.amg.assemble import PlaneResult
from napari_sam_amg.amg.masks import no_masks
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running.own_ids import OwnIds, with_own_ids
from napari_sam_amg.run import Step


def result(index: int, labels: list[list[int]], ids: list[int], **more: Any) -> PlaneResult:
    table = pd.DataFrame({"index": np.array(ids, np.int64), "plane": index})
    return PlaneResult((index,), np.array(labels, np.int32), table, no_masks((1, 4)), AmgParameters(), **more)


def beside(planes: list[int], highest: int = 0) -> OwnIds:
    """A layer in which plane 5 has the ids 1 and 4, and plane 6 has 2 and 3."""
    ids = OwnIds()
    table = pd.DataFrame({"index": [1, 2, 3, 4], "plane": [5.0, 6, 6, 5]})
    ids.stand_beside(table, ["plane"], [(plane,) for plane in planes], highest)
    return ids


def test_a_plane_takes_its_own_ids_and_then_free_ones() -> None:
    ids = beside([5])
    found = ids.renamed(result(5, [[0, 1, 2, 3]], [1, 2, 3]))
    assert found.labels.tolist() == [[0, 1, 4, 5]]
    assert list(found.features["index"]) == [1, 4, 5]
    assert found.labels.dtype == np.int32


def test_planes_do_not_take_each_others_ids() -> None:
    """Neither those of a plane that is not run, nor those of one that comes later or not at all."""
    ids = beside([5, 6, 7])
    steps = [
        Step(1, 4, result(7, [[1, 2, 0, 0]], [1, 2])),
        Step(2, 4),
        Step(3, 4, result(6, [[3, 0, 4, 5]], [3, 4, 5])),
        Step(4, 4, result(5, [[0, 0, 6, 0]], [6])),
    ]
    found = [step.result for step in with_own_ids(steps, ids)]
    assert [None if plane is None else plane.labels.tolist() for plane in found] == [
        [[5, 6, 0, 0]], None, [[2, 0, 3, 7]], [[0, 0, 1, 0]],
    ]  # fmt: skip


def test_ids_that_hands_have_given_are_taken() -> None:
    assert beside([7], highest=40).renamed(result(7, [[1, 0, 0, 0]], [1])).labels.tolist() == [[41, 0, 0, 0]]


def test_an_empty_plane_and_an_empty_layer() -> None:
    ids = OwnIds()
    ids.stand_beside(pd.DataFrame({"index": [], "plane": []}), ["plane"], [(0,)], 0)
    assert ids.renamed(result(0, [[0, 0]], [])).labels.tolist() == [[0, 0]]
    assert ids.renamed(result(1, [[0, 1]], [1])).labels.tolist() == [[0, 1]]


def test_a_plane_in_rows_keeps_its_ids_from_row_to_row() -> None:
    """An object's row of the table may come before the last of its pixels."""
    ids = beside([5])
    first = ids.renamed(result(5, [[1, 2, 0, 0]], [1, 2], rows=(0, 1), is_last=False))
    last = ids.renamed(result(5, [[0, 2, 3, 4]], [3, 4], rows=(1, 2)))
    assert (first.labels.tolist(), last.labels.tolist()) == ([[1, 4, 0, 0]], [[0, 4, 5, 6]])
    assert [*first.features["index"], *last.features["index"]] == [1, 4, 5, 6]
    after = ids.renamed(replace(result(8, [[5, 0, 0, 0]], [5])))
    assert after.labels.tolist() == [[7, 0, 0, 0]]
