"""What a run is known by."""

from dataclasses import replace

import pytest

from napari_sam_amg.jobs.identity import made_by
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import describe_run
from tests.disc_model import BlobModel


def with_own(**own):
    model = BlobModel()
    model.info = replace(model.info, amg_defaults=own)
    return model


def test_a_model_whose_own_thresholds_are_others_is_another_one():
    assert made_by(with_own(pred_iou_thresh=0.5)) == made_by(with_own(pred_iou_thresh=0.5))
    assert made_by(with_own(pred_iou_thresh=0.5)) != made_by(with_own(pred_iou_thresh=0.6))
    assert made_by(with_own(stability_score_thresh=0.5)) != made_by(with_own())


@pytest.mark.parametrize("search", ["guided", "hierarchical"])
def test_the_record_of_an_approximate_run_names_the_thresholds_that_its_points_depend_on(search):
    params = AmgParameters(point_search=search, pred_iou_thresh=0.1)
    record = describe_run(with_own(pred_iou_thresh=0.5), params)
    assert record["search_thresholds"] == {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.95}
    assert "search_thresholds" not in describe_run(with_own(), replace(params, point_search="grid"))
