"""What the worker tells of a place, of runs of every kind; without a window."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.plugin.reviewing.why_work import Asked, Told, all_outlines, tell
from napari_sam_amg.review.kept import KeepingWork
from napari_sam_amg.run import segment_planes
from tests.disc_model import BlobModel, disc_image

PARAMS = AmgParameters(points_per_side=8, pred_iou_thresh=0.9, stability_score_thresh=0.5)
STACK = np.stack([disc_image([(15, 15), (45, 30)]), disc_image([(15, 15)]), disc_image([(15, 15)])])


def segmented(image: Any, params: AmgParameters, axis: int | None = None) -> tuple[Any, dict[Any, Any]]:
    """The kept run, and the labels of every plane."""
    model, stack = BlobModel(), PlaneStack(image)
    work = KeepingWork(ModelWork(model), params, merged(model.info.amg_defaults), axis=axis)
    axes = ("z",) if stack.stack_shape else ()
    steps = work.watch(segment_planes(stack, model, params, axes=axes, work=work))
    labels = {step.result.index: step.result.labels for step in steps if step.result is not None}
    return work.kept, labels


def told(kept: Any, labels: dict[Any, Any], index: Any, y: int, x: int, **changes: Any) -> Told:
    answer = tell(Asked(kept, replace(kept.params, **changes), index, labels[index], y, x))
    assert isinstance(answer, Told), answer
    return answer


def test_ids_are_those_of_the_stack_also_for_other_thresholds() -> None:
    kept, labels = segmented(STACK, PARAMS)
    assert told(kept, labels, (2,), 15, 15).candidates[0].endswith(f": label {labels[(2,)][15, 15]}")
    assert labels[(2,)][15, 15] == 4
    stricter = told(kept, labels, (2,), 15, 15, pred_iou_thresh=0.96).candidates
    assert stricter[0].endswith("predicted IoU 0.95 is not above 0.96")
    weaker = told(kept, labels, (2,), 15, 15, pred_iou_thresh=0.8, box_nms_thresh=0.3).candidates
    assert weaker[0].endswith(": label 4")


def test_what_hands_have_removed_is_said() -> None:
    kept, labels = segmented(STACK, PARAMS)
    labels[(1,)] = np.zeros_like(labels[(1,)])
    assert told(kept, labels, (1,), 15, 15).candidates[0].endswith(": label 3 (deleted or drawn over by hand)")


def test_objects_through_planes_are_known_by_what_is_shown() -> None:
    kept, labels = segmented(STACK, replace(PARAMS, link="z", min_planes=3), axis=0)
    assert told(kept, labels, (1,), 15, 15).candidates[0].endswith(f": label {labels[(0,)][15, 15]}")
    assert labels[(0,)][15, 15] == labels[(1,)][15, 15] > 0
    lost = told(kept, labels, (0,), 45, 30).candidates[0]
    assert lost.endswith("lost when masks of planes or tiles were joined to objects, or covered by others")
    assert "cannot be shown" in str(all_outlines(Asked(kept, kept.params, (0,), labels[(0,)])))


def test_tiles_are_looked_at_by_the_one_that_holds_the_place() -> None:
    params = replace(PARAMS, points_per_side=16, tile_size=64, tile_halo=24, crop_layers="last")
    image = disc_image([(30, 30), (60, 100), (100, 60)], shape=(128, 128))  # the second reaches into two tiles
    kept, labels = segmented(image, params)
    assert len(kept.regions(())) == 4
    for y, x in ((30, 30), (60, 100), (64, 100), (100, 60)):
        assert labels[()][y, x] > 0
        assert any(line.endswith(f": label {labels[()][y, x]}") for line in told(kept, labels, (), y, x).candidates)
    assert not told(kept, labels, (), 5, 120).candidates


def test_why_there_can_be_none() -> None:
    kept, labels = segmented(np.stack([STACK[0], np.zeros_like(STACK[0])]), PARAMS)
    assert told(kept, labels, (1,), 5, 5) == Told((), "The model was not asked: every pixel is 0.")
    labels[(7,)] = labels[(0,)]
    assert told(kept, labels, (7,), 5, 5) == Told((), "This plane was not segmented.")
    floor = kept.floor
    words = told(kept, labels, (0,), 60, 75).nothing
    assert words.startswith(f"No mask here has a predicted IoU above {floor.pred_iou_thresh:g} and a stability of ")
    assert words.endswith("The nearest point that was asked is 1 px away.")


@pytest.mark.parametrize("index", [(5,), ()])
def test_what_goes_wrong_is_words(index: tuple[int, ...]) -> None:
    kept, labels = segmented(STACK, PARAMS)
    asked = Asked(kept, replace(kept.params, points_per_side=9), (0,), labels[(0,)], 15, 15)
    assert "oints_per_side=9 differs from 8" in str(tell(asked))
    assert isinstance(all_outlines(replace(asked, index=index)), str)
