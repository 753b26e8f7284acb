"""All image tokens at once, in the layout of a GPU, beside the pieces of a CPU."""

import pytest
import torch

from napari_sam_amg.sam import at_once
from napari_sam_amg.sam.gpu_way import StandIn, standing_in
from napari_sam_amg.sam.mask_decoder import MaskDecoder
from napari_sam_amg.sam.transformer import TwoWayTransformer


@pytest.mark.parametrize(("depth", "heads"), [(2, 4), (3, 2), (1, 8)])
def test_both_ways_read_and_draw_the_same(randomize, depth, heads):
    decoder = randomize(MaskDecoder(64, TwoWayTransformer(depth, 64, heads, 128)))
    image, pe, dense, sparse = (
        torch.randn(64, 5, 7),
        torch.randn(64, 5, 7),
        torch.randn(64, 1, 1),
        torch.randn(3, 2, 64),
    )
    index = torch.tensor([0, 0, 2]), torch.tensor([0, 2, 1])

    def reading():
        return decoder.read(decoder.prepare(image, pe, dense), sparse, masks=range(1, 4))

    with torch.inference_mode():
        expected = reading()
        drawn = decoder.draw(expected, *index)
        with standing_in(StandIn()):
            assert at_once.suits(image)
            found = reading()
            ours = decoder.draw(found, *index)
    torch.testing.assert_close(found.predicted_iou, expected.predicted_iou, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.mask_tokens, expected.mask_tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours, drawn, rtol=1e-4, atol=1e-4)


def test_gradients_take_the_other_way(randomize):
    with standing_in(StandIn()):
        assert not at_once.suits(torch.ones(1))
        with torch.no_grad():
            assert at_once.suits(torch.ones(1))
    with torch.no_grad():
        assert not at_once.suits(torch.ones(1))


def test_products_lie_by_prompts_and_need_no_copy():
    rows, matrices = torch.randn(2, 3 * 4, 5), torch.randn(2, 5, 6)
    found = at_once.products(rows, matrices, 3)
    expected = torch.stack([row @ matrix for row, matrix in zip(rows, matrices, strict=True)])  # (h, P*T, n)
    assert found.is_contiguous()
    torch.testing.assert_close(found.view(3, 4, 2, 6), expected.view(2, 3, 4, 6).permute(1, 2, 0, 3))
