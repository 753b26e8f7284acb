import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.amg import generate_crop_boxes

from napari_sam_amg.amg.crops import CropBox, crop_boxes, layer_boxes, own_part
from napari_sam_amg.amg.propose import count_batches
from napari_sam_amg.params import AmgParameters
from tests.amg.frames import mask_steps
from tests.disc_model import BlobModel, blobs


@given(
    height=st.integers(64, 3000),
    width=st.integers(64, 3000),
    layers=st.integers(0, 3),
    ratio=st.floats(0, 1, allow_nan=False),
)
def test_same_boxes_as_the_reference(height, width, layers, ratio):
    params = AmgParameters(crop_n_layers=layers, crop_overlap_ratio=ratio)
    ours = crop_boxes((height, width), params)
    boxes, layer_of = generate_crop_boxes((height, width), layers, ratio)
    assert [list(crop.xyxy) for crop in ours] == boxes
    assert [crop.layer for crop in ours] == layer_of


@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    layers=st.integers(0, 5),
    ratio=st.floats(0, 1, allow_nan=False),
)
def test_crops_of_small_images_are_those_of_the_reference_that_hold_pixels_and_cover_the_image(
    height, width, layers, ratio
):
    params = AmgParameters(crop_n_layers=layers, crop_overlap_ratio=ratio)
    ours = crop_boxes((height, width), params)
    boxes = zip(*generate_crop_boxes((height, width), layers, ratio), strict=True)
    assert [(*crop.xyxy, crop.layer) for crop in ours] == [
        (x0, y0, x1, y1, layer) for (x0, y0, x1, y1), layer in boxes if x0 < x1 and y0 < y1
    ]
    for layer in range(layers + 1):
        covered = np.zeros((height, width), bool)
        for crop in ours:
            covered[crop.y0 : crop.y1, crop.x0 : crop.x1] |= crop.layer == layer
        assert covered.all()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_crops_of_a_layer_cover_the_image(layers):
    crops = crop_boxes((101, 257), AmgParameters(crop_n_layers=layers))
    for layer in range(layers + 1):
        covered = {(x, y) for c in crops if c.layer == layer for x in range(c.x0, c.x1) for y in range(c.y0, c.y1)}
        assert len(covered) == 101 * 257


def test_size_is_height_then_width():
    assert CropBox(10, 20, 15, 50, 0).size == (30, 5)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_last_layer_alone(layer):
    every = crop_boxes((101, 257), AmgParameters(crop_n_layers=layer))
    last = crop_boxes((101, 257), AmgParameters(crop_n_layers=layer, crop_layers="last"))
    assert last == [crop for crop in every if crop.layer == layer]
    assert len(last) == 4**layer


@pytest.mark.parametrize("crop_layers", ["all", "last"])
@pytest.mark.parametrize("layers", [3, 5])
@pytest.mark.parametrize("size", [(8, 8), (9, 31), (8, 40)])
def test_small_images_have_masks_with_any_number_of_crop_layers(size, layers, crop_layers):
    image = np.repeat(blobs(size, ((size[1] // 2, 4, 2),))[..., None], 3, axis=2)
    params = AmgParameters(
        points_per_side=3, pred_iou_thresh=0.5, stability_score_thresh=0, crop_n_layers=layers, crop_layers=crop_layers
    )
    *steps, masks = mask_steps(image, BlobModel(low_res=32), params)
    assert len(steps) == count_batches(size, params) == len(crop_boxes(size, params))
    assert len(masks) >= (crop_layers == "all")
    x0, y0, x1, y1 = masks.boxes.T
    assert min(x0.min(initial=0), y0.min(initial=0)) >= 0
    assert max(x1.max(initial=0) - size[1], y1.max(initial=0) - size[0]) < 0


def test_a_crop_too_thin_for_the_model_is_named():
    """Layer 2 of 10 x 3000 pixels ends with crops of 1 x 753."""
    image = np.zeros((10, 3000, 3), np.uint8)
    params = AmgParameters(points_per_side=4, crop_n_layers=2)
    with pytest.raises(
        ValueError, match=r"in crop layer 2 an image of 1 x \d+ pixels is too .*; choose a smaller crop_n_"
    ):
        list(mask_steps(image, BlobModel(), params))
    with pytest.raises(ValueError, match=r"^an image of 10 x 30000 pixels is too elongated"):
        list(mask_steps(np.zeros((10, 30000, 3), np.uint8), BlobModel(), params))


@given(
    height=st.integers(1, 90), width=st.integers(1, 90), layer=st.integers(0, 3), ratio=st.floats(0, 1, allow_nan=False)
)
def test_every_point_of_an_image_is_the_own_of_one_crop_of_a_layer(height, width, layer, ratio):
    crops = layer_boxes((height, width), layer, ratio)
    x, y = np.meshgrid(np.arange(width) + 0.49, np.arange(height) + 0.49)
    owners = np.zeros((height, width), int)
    for crop in crops:
        x0, y0, x1, y1 = own_part(crop, crops, 0.0)
        assert crop.x0 <= x0 <= x1 <= crop.x1
        assert crop.y0 <= y0 <= y1 <= crop.y1
        owners += (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
    assert (owners == 1).all()


def test_neighbours_share_a_margin_of_what_they_have_in_common():
    above = CropBox(0, 0, 160, 100, 0)  # of another layer, and nobody's neighbour
    crops = [above, CropBox(0, 0, 100, 100, 1), CropBox(60, 0, 160, 100, 1)]  # 40 in common, their middle at 80
    assert [own_part(crop, crops, 0.0) for crop in crops] == [(0, 0, 160, 100), (0, 0, 80, 100), (80, 0, 160, 100)]
    assert [own_part(crop, crops, 0.25)[::2] for crop in crops[1:]] == [(0, 90), (70, 160)]
    assert [own_part(crop, crops, 0.5) for crop in crops] == [crop.xyxy for crop in crops]
