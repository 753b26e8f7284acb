"""The prompt encoder against ``segment_anything``'s, in SAM's and the embedded model's sizes."""

from typing import Any

import pytest
import segment_anything.modeling
import torch
from torch import Tensor

from napari_sam_amg.sam.prompt_encoder import PromptEncoder

SIZES = [(256, (6, 4), (96, 64)), (128, (4, 8), (32, 64))]
POINTS = torch.tensor([[[0.0, 0.0], [31.5, 12.25]], [[40.0, 3.0], [7.0, 30.0]], [[1.0, 2.0], [3.0, 4.0]]])
LABELS = torch.tensor([[1, 0], [1, -1], [0, 0]])
BOXES = torch.tensor([[0.0, 0.0, 5.0, 7.0], [3.5, 4.0, 30.0, 31.0], [1.0, 1.0, 2.0, 2.0]])
PROMPTS: dict[str, tuple[str, ...]] = {
    "points": ("points",),
    "boxes": ("boxes",),
    "masks": ("masks",),
    "points and boxes": ("points", "boxes"),
    "everything": ("points", "boxes", "masks"),
}


def prompt(kind: str, rows: int, columns: int) -> Any:
    return {"points": (POINTS, LABELS), "boxes": BOXES, "masks": torch.randn(3, 1, 4 * rows, 4 * columns)}[kind]


@pytest.mark.parametrize(("dim", "grid", "image_size"), SIZES)
@pytest.mark.parametrize("kinds", PROMPTS.values(), ids=PROMPTS)
def test_equals_reference(
    randomize: Any, dim: int, grid: tuple[int, int], image_size: tuple[int, int], kinds: tuple[str, ...]
) -> None:
    ours = randomize(PromptEncoder(dim, grid, image_size, 16))
    theirs = segment_anything.modeling.PromptEncoder(dim, grid, image_size, 16).eval()
    theirs.load_state_dict(ours.state_dict())
    prompts: dict[str, Any] = dict.fromkeys(("points", "boxes", "masks")) | {k: prompt(k, *grid) for k in kinds}
    expected: tuple[Tensor, Tensor] = theirs(**prompts)
    for found, wanted in zip(ours(**prompts), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.get_dense_pe(), theirs.get_dense_pe(), rtol=1e-4, atol=1e-5)


def test_no_prompt_is_an_error() -> None:
    with pytest.raises(ValueError, match="no prompt given: pass points, boxes or masks"):
        PromptEncoder(8, (2, 2), (32, 32), 4)()
