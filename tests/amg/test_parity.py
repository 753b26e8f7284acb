"""Automatic mask generation against ``segment_anything.SamAutomaticMaskGenerator`` itself.

Their class, with their prompt encoder and mask decoder holding our weights, drives our encoder; ours
runs the same embedded model on the same image.
"""

from functools import cache

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from segment_anything import SamAutomaticMaskGenerator

from benchmarks.agreement import agreement
from napari_sam_amg import AmgParameters, generate_masks, load_model
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import percentile_range, to_rgb
from tests.reference.sam import REFERENCE_PARAMETERS, reference_sam
from tests.samples import sample

BASE = {"points_per_side": 8, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.3}


@cache
def embedded():
    return load_model("embedded", "cpu")


def fluorescence():
    image = sample("nuclei.tif")[:300, :400]
    return to_rgb(image, percentile_range(PlaneStack(image)))


def tissue():
    return np.ascontiguousarray(sample("tissue.tif")[:, :300])


def slice_of_volume():
    image = sample("electron_microscopy_stack.tif")[3]
    return to_rgb(image, percentile_range(PlaneStack(image)))


def tall():
    image = sample("nuclei.tif")[:, 100:260]
    return to_rgb(image, percentile_range(PlaneStack(image)))


CASES = [
    ("grey, dense grid", fluorescence, {**BASE, "points_per_side": 14}),
    ("small regions", tissue, {**BASE, "min_mask_region_area": 50}),
    ("one crop layer", tissue, {**BASE, "points_per_side": 6, "crop_n_layers": 1}),
    ("one crop layer, cleaned", fluorescence, {**BASE, "points_per_side": 6, "crop_n_layers": 1,
                                               "min_mask_region_area": 50, "crop_n_points_downscale_factor": 2}),
    ("two crop layers", fluorescence, {**BASE, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}),
    ("tall", tall, BASE),
    ("volume, loose duplicates", slice_of_volume, {**BASE, "box_nms_thresh": 0.95}),
    ("everything passes", tissue, {**BASE, "pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1}),
    ("a last batch of one", tissue, {**BASE, "points_per_side": 5, "points_per_batch": 8}),
]  # fmt: skip


def both(image, **parameters):
    params = AmgParameters(**parameters)
    generator = SamAutomaticMaskGenerator(
        reference_sam(embedded()),
        **{name: getattr(params, name) for name in REFERENCE_PARAMETERS},
        output_mode="coco_rle",
    )
    return generator.generate(image), generate_masks(image, embedded(), params).to_coco()


def decode(record):
    return coco_mask.decode(record["segmentation"])


@pytest.mark.parametrize(("image", "parameters"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_same_masks_as_the_reference(image, parameters):
    theirs, ours = both(image(), **parameters)
    assert len(theirs) > 3
    assert len(ours) == len(theirs)
    assert agreement(theirs, ours).box_error <= 1
    # a pixel whose logit is the threshold but for rounding may fall on either side: an IoU below .999 in a small mask
    flipped = [np.count_nonzero(decode(one) != decode(other)) for one, other in zip(ours, theirs, strict=True)]
    assert all(pixels <= max(1, 1e-3 * one["area"]) for pixels, one in zip(flipped, ours, strict=True))
    assert np.count_nonzero(flipped) <= 0.02 * len(ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-4)
        assert abs(one["stability_score"] - other["stability_score"]) * one["area"] <= 1.5
    assert [set(record) for record in ours] == [set(record) for record in theirs]


def test_thresholds_that_let_one_mask_or_none_through():
    image = fluorescence()
    grid = {**BASE, "points_per_side": 4, "box_nms_thresh": 1.0}
    scores = sorted(
        record["predicted_iou"] for record in generate_masks(image, embedded(), AmgParameters(**grid)).to_coco()
    )
    for threshold, expected in ((float(np.mean(scores[-2:])), 1), (float(scores[-1]) + 1e-3, 0)):
        theirs, ours = both(image, **{**grid, "pred_iou_thresh": threshold})
        assert len(theirs) == len(ours) == expected
        if expected:
            assert agreement(theirs, ours).matched == 1


def test_everything_passes_means_hundreds():
    params = AmgParameters(points_per_side=12, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)
    assert len(generate_masks(tissue(), embedded(), params)) == 3 * 12**2


def test_one_point_alone():
    everything = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1}
    theirs, ours = both(tissue(), points_per_side=1, **everything)
    assert len(theirs) == len(ours) == 3
    assert agreement(theirs, ours).matched == 1
