"""Discs of which the model thinks differently well, so that thresholds tell them apart."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.run import segment_planes
from tests.disc_model import blobs
from tests.plugin.held_model import HeldModel

GRADES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # of how much less a blob is thought of, one after another


@dataclass
class GradedModel(HeldModel):
    def rate(self, region: Any) -> torch.Tensor:
        worse = torch.tensor(GRADES, dtype=torch.float32)[torch.as_tensor((region - 1) % len(GRADES))]
        return super().rate(region) - worse[:, None] * torch.as_tensor(region > 0)[:, None]


def plane(seed: int, shape: tuple[int, int] = (96, 112)) -> np.ndarray:
    """Discs of all sizes, no two of which touch; one lies around others, so that masks overlap."""
    random, image = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    discs = [
        (x + int(random.integers(-2, 3)), y + int(random.integers(-2, 3)), int(random.integers(3, 9)))
        for y in range(14, shape[0] - 10, 22)
        for x in range(14, shape[1] - 10, 22)
        if random.random() < 0.8
    ]
    image = blobs(shape, discs)
    cv2.circle(image, (discs[0][0], discs[0][1]), 1, 0, -1)
    return image


def fresh_run(image: np.ndarray, params: Any, axes: tuple[str, ...] = ("z",)) -> dict[tuple[int, ...], Any]:
    """Results of the planes by a run of the engine alone."""
    stack = PlaneStack(image)
    steps = segment_planes(stack, GradedModel(), params, axes=axes if image.ndim > 2 else None)
    return {step.result.index: step.result for step in steps if step.result is not None}


def assert_as_fresh(review: Any, fresh: dict[tuple[int, ...], Any]) -> None:
    """Labels and rows of the layer are those of the fresh run, bit for bit, up to the ids."""
    table = review.table.set_index("index")
    drawn: set[int] = set()
    for index, result in fresh.items():
        shown, wanted = review.plane(index), result.labels
        ids = np.zeros(int(wanted.max()) + 1, np.int32)
        ids[wanted.ravel()] = shown.ravel()  # any pixel of a label tells its id
        np.testing.assert_array_equal(shown, ids[wanted])
        assert len({*ids[np.unique(wanted)].tolist()}) == len(np.unique(wanted))
        drawn |= {*ids[1:].tolist()} - {0}
        if result.objects is None:
            rows = result.features.set_index("index")
            assert_rows(table, rows, ids)
    if review.params.link == "none":
        assert drawn == {*table.index.tolist()}


def assert_rows(table: pd.DataFrame, rows: pd.DataFrame, ids: np.ndarray) -> None:
    for id, row in rows.iterrows():
        ours = table.loc[ids[id]]
        np.testing.assert_array_equal(ours[rows.columns].to_numpy(float), row.to_numpy(float))


def assert_table_agrees(review: Any) -> None:
    """A row for every label that is drawn, and for no other."""
    drawn = {*np.unique(review.layer.data).tolist()} - {0}
    assert drawn == {*review.table["index"].tolist()}
    assert review.layer.features["index"].tolist() == list(range(len(review.layer.features)))
    if "area" in review.table:
        areas = np.bincount(review.layer.data.ravel(), minlength=len(review.layer.features))
        assert review.table["area"].tolist() == areas[review.table["index"]].tolist()
