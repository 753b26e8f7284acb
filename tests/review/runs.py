"""Runs that keep their candidates, and what a fresh run at other thresholds gives."""

from dataclasses import replace

import numpy as np
import pandas as pd

from napari_sam_amg import AmgParameters, PlaneStack
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import merged
from napari_sam_amg.review.kept import KeepingWork
from napari_sam_amg.run import segment_planes
from tests.amg.models import OWN, SeeingModel
from tests.disc_model import blobs

#: Of the blob model, whose masks have the predicted IoUs .6, .7 and .95.
PARAMS = AmgParameters(points_per_side=12, coarse_points_per_side=4, **OWN)
UNITS = Units(pixel_size=(0.5, 0.25), area_column="area_um2")
STACK = np.stack(
    [
        blobs(),
        blobs(discs=((30, 30, 20), (60, 40, 22), (100, 70, 12), (20, 80, 5))),
        blobs(discs=()),
        blobs(discs=((40, 40, 30), (100, 60, 25))),
    ]
)


def kept_run(image, params=PARAMS, model=None, stop_after=None, **how):
    """The kept run, and its results; ``stop_after`` so many steps it is cancelled."""
    model = model or SeeingModel()
    work = KeepingWork(ModelWork(model), params, merged(model.info.amg_defaults), units=UNITS, **how)
    steps = work.watch(segments(image, params, model, work=work))
    results = []
    for number, step in enumerate(steps):
        if step.result is not None:
            results.append(step.result)
        if number == stop_after:
            steps.close()
            break
    return work.kept, results


def segments(image, params, model=None, **how):
    rgb = image.ndim > 2 and image.shape[-1] == 3
    return segment_planes(PlaneStack(image, rgb=rgb), model or SeeingModel(), params, units=UNITS, **how)


def fresh(image, params, model=None, **how):
    """Results by index."""
    steps = segments(image, params, model, **how)
    return {step.result.index: step.result for step in steps if step.result is not None}


def assert_as_fresh(shown, run):
    """Equal up to the ids."""
    ids = shown.features["index"].to_numpy()
    assert len(np.unique(ids)) == len(ids)
    first = run.features["index"].min() if len(ids) else 0
    renumbered = np.concatenate([[0], ids]).astype(np.int32)[np.where(run.labels, run.labels - first + 1, 0)]
    np.testing.assert_array_equal(shown.labels, renumbered)
    assert shown.labels.dtype == np.int32
    without = (table.drop(columns="index") for table in (shown.features, run.features))
    pd.testing.assert_frame_equal(*without, check_exact=True)
    assert list(shown.features.columns) == list(run.features.columns)
    assert shown.too_large == run.too_large
    assert shown.hidden_by_overlap == len(run.masks) - len(run.features)
    assert len(shown.masks) == len(run.masks)


def at(run, **changes):
    return replace(run.params, **changes)
