"""What the shipped model and settings find in a real stack, measured against its truth; see docs/stacks.md."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam_amg import PlaneStack, segment_planes
from napari_sam_amg.evaluation.scores import Score, evaluate_labels
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.params import merged

IMAGE = Path(__file__).parents[1] / "src" / "napari_sam_amg" / "plugin" / "data" / "nuclei_stack.tif"
TRUTH = Path(__file__).with_name("data") / "nuclei_stack_truth.tif"
PLANES = slice(9, 21)  # 25 nuclei, or parts of them; all 51 would take three times as long


def before_in_its_plane(labels: np.ndarray) -> np.ndarray:
    """The same cross-sections, none of them linked."""
    planes = [np.unique(plane, return_inverse=True)[1].reshape(plane.shape) for plane in labels]
    firsts = np.cumsum([0] + [plane.max() for plane in planes[:-1]])
    return np.stack([np.where(plane > 0, plane + first, 0) for plane, first in zip(planes, firsts, strict=True)])


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    model = load_model()
    params = merged(model.info.amg_defaults, {"link": "z"})
    steps = segment_planes(PlaneStack(tifffile.imread(IMAGE)[PLANES]), model, params)
    return np.stack([step.result.labels for step in steps if step.result is not None])


def score(labels: np.ndarray) -> Score:
    return evaluate_labels(tifffile.imread(TRUTH)[PLANES].astype(np.int32), labels)


def test_nuclei_are_objects_through_z_with_the_shipped_defaults(labels: np.ndarray) -> None:
    found = score(labels)
    assert found.true_objects == 25
    assert found.ap() > 0.6  # measured: .692, 18 of 25, with 1 too many
    assert found.seg > 0.47  # measured: .540


def test_links_are_what_makes_them_so(labels: np.ndarray) -> None:
    assert score(before_in_its_plane(labels)).ap() < 0.1
