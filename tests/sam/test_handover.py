"""Work on the next batch before the last one is awaited, as on a GPU, gives what one batch after another gives."""

import numpy as np
import pytest
import torch

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.handover import Handover, one_ahead, to_device
from napari_sam_amg.sam.mask_decoder import MaskDecoder
from napari_sam_amg.sam.memory import MemoryWarning
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


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_ahead_decodes_the_same_points_at_once_or_in_parts(sam: Sam, monkeypatch, at_once: int) -> None:
    embedding = sam.embed(IMAGE)
    monkeypatch.setattr(sam, "_micro_batch", at_once)
    plain = sam.decode(embedding, POINTS, confident)
    parts = list(sam._decode_ahead(embedding, BATCHES, confident))
    assert [len(points) for points, _ in parts] == [min(at_once, 5 - start) for start in range(0, 5, at_once)]
    starts = np.cumsum([0, *(len(points) for points, _ in parts)])
    np.testing.assert_array_equal(np.concatenate([points for points, _ in parts]), POINTS)
    index = torch.cat([one.prompt_index + start for (_, one), start in zip(parts, starts, strict=False)])
    torch.testing.assert_close(index, plain.prompt_index)
    assert len(index)
    torch.testing.assert_close(torch.cat([one.predicted_iou for _, one in parts]), plain.predicted_iou)
    logits = torch.cat([one.low_res_logits for _, one in parts])
    torch.testing.assert_close(logits, plain.low_res_logits[:, : logits.shape[1]], rtol=1e-4, atol=1e-4)


def test_ahead_reads_a_batch_before_it_draws_the_one_before(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    for name in ("read", "draw"):
        monkeypatch.setattr(MaskDecoder, name, logged(getattr(MaskDecoder, name), name, log))
    monkeypatch.setattr(sam, "_micro_batch", 2)
    list(sam._decode_ahead(sam.embed(IMAGE), [POINTS[:2], POINTS[2:3], POINTS[3:]], confident))
    assert log == ["read", "read", "draw", "read", "draw", "draw"]


@pytest.mark.parametrize("name", ["read", "draw"])
@pytest.mark.parametrize("room", [1, 2, 4])
def test_what_is_too_much_for_the_memory_is_decoded_in_parts(
    sam: Sam, monkeypatch: pytest.MonkeyPatch, name: str, room: int
) -> None:
    """As if a GPU had memory for so many points."""
    embedding = sam.embed(IMAGE)
    plain = sam.decode(embedding, POINTS, confident)
    inner = getattr(MaskDecoder, name)

    def within(self, first, *others):
        points = len(others[0]) if name == "read" else len(first.mask_tokens)
        if points > room:
            raise torch.OutOfMemoryError("no memory")
        return inner(self, first, *others)

    monkeypatch.setattr(MaskDecoder, name, within)
    with pytest.warns(MemoryWarning, match="memory is nearly full"):
        ((points, found),) = sam._decode_ahead(embedding, BATCHES, confident)
    np.testing.assert_array_equal(points, POINTS)
    torch.testing.assert_close(found.prompt_index, plain.prompt_index)
    rows = found.low_res_logits.shape[1]
    torch.testing.assert_close(found.low_res_logits, plain.low_res_logits[:, :rows], rtol=1e-4, atol=1e-4)


def test_a_point_that_does_not_fit_alone_is_told(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(MaskDecoder, "read", none)
    with pytest.warns(MemoryWarning), pytest.raises(torch.OutOfMemoryError):
        list(sam._decode_ahead(sam.embed(IMAGE), BATCHES, confident))


def logged(method, name: str, log: list[str]):
    def call(*args):
        log.append(name)
        return method(*args)

    return call


def test_on_the_host_all_has_arrived() -> None:
    tensor = torch.arange(3)
    assert Handover(tensor).wait() is tensor
    assert to_device(tensor, torch.device("cpu")) is tensor
