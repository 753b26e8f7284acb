"""Sliders that have something to tell apart: a model that thinks differently well of its discs."""

from typing import Any

import pytest

from tests.plugin.graded_model import GradedModel
from tests.plugin.held_model import HeldModel


@pytest.fixture
def model_kind() -> type[HeldModel]:
    return GradedModel


@pytest.fixture
def box(plugin: Any) -> Any:
    """The sliders, in sight; a grid is asked, with thresholds between the grades."""
    plugin.docked.tabs.setCurrentWidget(plugin.docked.results_tab)
    plugin.choose(pred_iou_thresh=0.75, stability_score_thresh=0.5, point_search="grid")
    return plugin.docked.thresholds_box
