import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.amg import generate_crop_boxes

from napari_sam_amg.amg.crops import CropBox, crop_boxes
from napari_sam_amg.params import AmgParameters


@given(
    height=st.integers(8, 3000),
    width=st.integers(8, 3000),
    layers=st.integers(0, 3),
    ratio=st.floats(0, 1, allow_nan=False),
)
def test_same_boxes_as_the_reference(height, width, layers, ratio):
    params = AmgParameters(crop_n_layers=layers, crop_overlap_ratio=ratio)
    ours = crop_boxes((height, width), params)
    boxes, layer_of = generate_crop_boxes((height, width), layers, ratio)
    assert [list(crop.xyxy) for crop in ours] == boxes
    assert [crop.layer for crop in ours] == layer_of


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
