import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from segment_anything.utils.amg import coco_encode_rle, mask_to_rle_pytorch, rle_to_mask

from napari_sam_amg import AmgParameters, PlaneStack, segment_planes
from napari_sam_amg.amg import coco
from napari_sam_amg.amg.coco import as_json
from tests.amg.frames import masks_from_frames
from tests.disc_model import BlobModel, blobs


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([0.0, 0.2, 0.9, 1.0]), min_size=1, max_size=5),
    st.sampled_from([1, 50, coco.PIXELS_AT_ONCE]),
)
def test_run_lengths_from_the_cutouts_are_the_reference_s(seed, shares, at_once):
    random = np.random.default_rng(seed)
    frames = [random.random((7, 11)) < share for share in shares]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco, "PIXELS_AT_ONCE", at_once)
        ours = coco.uncompressed_rles(masks_from_frames(frames))
    assert ours == mask_to_rle_pytorch(torch.as_tensor(np.stack(frames)))
    for rle, frame in zip(ours, frames, strict=True):
        np.testing.assert_array_equal(rle_to_mask(rle), frame)


def test_records_have_the_reference_s_keys_and_conventions():
    frame = np.zeros((20, 30), bool)
    frame[4:9, 10:13] = True
    masks = masks_from_frames([frame])
    (record,) = masks.to_coco("coco_rle")
    assert set(record) == {
        "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box",
    }  # fmt: skip
    assert record["area"] == 15
    assert record["bbox"] == [10, 4, 2, 4]  # the reference subtracts inclusive corners
    assert record["crop_box"] == [0, 0, 30, 20]
    assert record["point_coords"] == [[0.0, 0.0]]
    np.testing.assert_array_equal(coco_mask.decode(record["segmentation"]), frame)
    assert record["segmentation"] == coco_encode_rle(coco.uncompressed_rles(masks)[0])
    np.testing.assert_array_equal(masks.to_coco("binary_mask")[0]["segmentation"], frame)


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_masks_without_a_pixel_are_json_and_no_labels():
    """Everything passes, so that points on background bring masks without a pixel, as in the reference."""
    params = AmgParameters(
        points_per_side=8, pred_iou_thresh=0, stability_score_thresh=0, stability_score_offset=0, box_nms_thresh=1
    )
    *_, last = segment_planes(PlaneStack(blobs()), BlobModel(), params)
    records = last.result.masks.to_coco()
    empty = [record["area"] == 0 for record in records]
    assert 0 < sum(empty) < len(empty)
    assert [math.isnan(record["stability_score"]) for record in records] == empty  # as the reference has it
    read = [json.loads(as_json(record), parse_constant=refuse) for record in records]
    assert [record["stability_score"] is None for record in read] == empty
    assert [{**record, "stability_score": 0} for record in read] == [{**r, "stability_score": 0} for r in records]
    features = last.result.features
    assert features.notna().all(axis=None)
    assert (features["area"] > 0).all()
    assert np.unique(last.result.labels).tolist() == [0, *features["index"]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_null(value):
    assert as_json({"predicted_iou": value, "area": 3}) == '{"predicted_iou": null, "area": 3}'


def test_unknown_mode():
    with pytest.raises(ValueError, match="output_mode='png' is not allowed: choose one of binary_mask"):
        masks_from_frames([np.ones((9, 9), bool)]).to_coco("png")
