"""Work on the next batch before the last one is awaited, as on a GPU, gives what one batch after another gives."""

import numpy as np
import pytest
import torch

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.handover import Handover, one_ahead, to_device
from napari_sam_amg.sam.mask_decoder import MaskDecoder
from napari_sam_amg.sam.model import Sam
from tests.disc_model import blobs

IMAGE = np.repeat(blobs()[..., None], 3, axis=2)
POINTS = np.array([[20.0, 20.0], [60.0, 30.0], [100.0, 70.0], [5.0, 5.0], [61.0, 31.0]])
BATCHES = [POINTS[:2], POINTS[2:3], POINTS[3:]]


@pytest.fixture(scope="module")
def sam() -> Sam:
    return load_model(device="cpu")


def confident(iou: torch.Tensor) -> torch.Tensor:
    return iou > 0.02


def test_the_next_is_begun_before_one_is_given() -> None:
    log: list[str] = []
    for item, begun in one_ahead("abc", lambda item: log.append(f"begin {item}")):
        assert begun is None
        log.append(f"finish {item}")
    assert log == ["begin a", "begin b", "finish a", "begin c", "finish b", "finish c"]


@pytest.mark.parametrize("count", [0, 1])
def test_few_items(count: int) -> None:
    assert list(one_ahead(range(count), str)) == [(0, "0")][:count]


def test_ahead_decodes_the_same(sam: Sam) -> None:
    embedding = sam.embed(IMAGE)
    plain = sam.decode_batches(embedding, BATCHES, confident)  # each batch's logits go with the next
    ahead = list(sam._decode_ahead(embedding, BATCHES, confident))
    masks = 0
    for (points, one), (same_points, other) in zip(plain, ahead, strict=True):
        assert points is same_points
        masks += len(one.prompt_index)
        torch.testing.assert_close(other.prompt_index, one.prompt_index)
        torch.testing.assert_close(other.predicted_iou, one.predicted_iou)
        torch.testing.assert_close(other.low_res_logits, one.low_res_logits, rtol=1e-4, atol=1e-4)
    assert masks > 0


def test_ahead_reads_a_batch_before_it_draws_the_one_before(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    for name in ("read", "draw"):
        monkeypatch.setattr(MaskDecoder, name, logged(getattr(MaskDecoder, name), name, log))
    list(sam._decode_ahead(sam.embed(IMAGE), [POINTS[:2], POINTS[2:3], POINTS[3:]], confident))
    assert log == ["read", "read", "draw", "read", "draw", "draw"]


def logged(method, name: str, log: list[str]):
    def call(*args):
        log.append(name)
        return method(*args)

    return call


def test_on_the_host_all_has_arrived() -> None:
    tensor = torch.arange(3)
    assert Handover(tensor).wait() is tensor
    assert to_device(tensor, torch.device("cpu")) is tensor
