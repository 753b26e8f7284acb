import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from segment_anything.utils.amg import coco_encode_rle, mask_to_rle_pytorch, rle_to_mask

from napari_sam_amg.amg.coco import uncompressed_rle
from tests.amg.frames import masks_from_frames


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.9, 1.0]))
def test_run_lengths_from_the_cutout_are_the_reference_s(seed, share):
    frame = np.random.default_rng(seed).random((7, 11)) < share
    ours = uncompressed_rle(masks_from_frames([frame]), 0)
    (expected,) = mask_to_rle_pytorch(torch.as_tensor(frame)[None])
    assert ours == expected
    np.testing.assert_array_equal(rle_to_mask(ours), frame)


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
    assert record["segmentation"] == coco_encode_rle(uncompressed_rle(masks, 0))
    np.testing.assert_array_equal(masks.to_coco("binary_mask")[0]["segmentation"], frame)


def test_unknown_mode():
    with pytest.raises(ValueError, match="output_mode='png' is not allowed: choose one of binary_mask"):
        masks_from_frames([np.ones((9, 9), bool)]).to_coco("png")
