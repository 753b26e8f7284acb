"""micro-sam's segmentation decoder against torch-em's own."""

from typing import Any

import pytest
import torch

from napari_sam_amg.sam import unetr
from napari_sam_amg.sam.unetr import SegmentationDecoder
from tests.reference.torch_em import reference_unetr

SIDE = 6  # image tokens


def pair(randomize: Any, transposed: bool) -> tuple[Any, SegmentationDecoder]:
    theirs = randomize(reference_unetr(transposed, 16 * SIDE))
    ours = SegmentationDecoder(transposed=transposed)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours.requires_grad_(False).eval()


def embedding(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 256, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("transposed", [False, True])
@torch.inference_mode()
def test_maps_equal_torch_ems(randomize: Any, transposed: bool) -> None:
    theirs, ours = pair(randomize, transposed)
    given, size = embedding(2), (16 * SIDE, 16 * SIDE)
    expected = theirs.decode((given.clone(), None, None), size, size)
    found = ours(given)
    assert expected.std() > 0.05  # not everywhere the same
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert torch.equal(given, embedding(2))  # the embedding is read by the mask decoder, too


@pytest.mark.parametrize("transposed", [False, True])
def test_keys_and_shapes_are_torch_ems(transposed: bool) -> None:
    theirs = reference_unetr(transposed, 1024).state_dict()
    ours = SegmentationDecoder(transposed=transposed).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize("rows", [1, 3, 5, 1000])
@pytest.mark.parametrize(
    ("layer", "row_work"),
    [
        (unetr.ConvBlock(8, 4), 2 * 7 * 8 * 4 * 9),
        (unetr.Enlarge(8, 4, unetr.Interpolated), 2 * 14 * 4 * 4 * 9),
        (unetr.Enlarge(8, 4, unetr.Transposed), 2 * 14 * 4 * 4 * 9),
    ],
    ids=["block", "interpolated", "transposed"],
)
@torch.inference_mode()
def test_strips_change_nothing(
    randomize: Any, monkeypatch: pytest.MonkeyPatch, layer: Any, row_work: int, rows: int
) -> None:
    layer = randomize(layer)
    image = torch.randn(2, 8, 11, 7)
    monkeypatch.setattr(unetr, "calls_are_cheap", lambda _: False)  # as on a GPU
    whole = layer(image.clone())
    monkeypatch.setattr(unetr, "calls_are_cheap", lambda _: True)
    monkeypatch.setattr(unetr, "STRIP_WORK", rows * row_work)
    monkeypatch.setattr(unetr, "CHANNELS", 1 + rows % 3)
    torch.testing.assert_close(layer(image.clone()), whole, rtol=1e-5, atol=1e-6)


def test_a_run_can_be_cancelled_often(randomize: Any) -> None:
    """No call of a module in it has more to do than a strip, at full size; counted, not timed."""
    decoder, work = randomize(SegmentationDecoder(transposed=True)), []

    def count(layer: torch.nn.Conv2d, given: tuple[torch.Tensor]) -> None:
        work.append(layer.weight.numel() * given[0].shape[2] * given[0].shape[3])

    for layer in decoder.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_pre_hook(count)
    with torch.inference_mode():
        decoder(torch.randn(1, 256, 32, 32))
    assert max(work) < 1.5 * unetr.STRIP_WORK  # with the rows above and below
    assert len(work) > 30


@torch.inference_mode()
def test_16_bit_floats_give_nearly_the_same(randomize: Any) -> None:
    decoder = randomize(SegmentationDecoder())
    exact = decoder(embedding())
    fast = decoder(embedding().bfloat16())
    assert fast.dtype == torch.bfloat16
    assert (fast.float() - exact).abs().mean() < 0.02
