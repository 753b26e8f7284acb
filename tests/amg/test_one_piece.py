"""Masks in several pieces, of which the largest competes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_sam_amg.amg.bits import pack, unpack
from napari_sam_amg.amg.masks import Candidates, no_candidates
from napari_sam_amg.amg.one_piece import in_one_piece
from napari_sam_amg.amg.propose import propose
from napari_sam_amg.params import AmgParameters
from tests.disc_model import BlobModel, blobs


def candidates_of(frames: list[np.ndarray], corner: tuple[int, int] = (0, 0)) -> Candidates:
    """Of masks of a whole crop whose first column and row are ``corner``."""
    boxes, bits = [], []
    for frame in frames:
        rows, columns = np.nonzero(frame)
        y0, x0, y1, x1 = rows.min(), columns.min(), rows.max(), columns.max()
        boxes.append([x0 + corner[0], y0 + corner[1], x1 + corner[0], y1 + corner[1]])
        bits.append(pack(frame[y0 : y1 + 1, x0 : x1 + 1], x0))
    count, (height, width) = len(frames), frames[0].shape
    crop = [*corner, corner[0] + width, corner[1] + height]
    scores = np.linspace(0.5, 0.9, count).astype(np.float32)
    return Candidates(np.array(boxes), scores, scores, np.zeros((count, 2)), np.array([crop] * count), bits)


@pytest.mark.parametrize("first", range(9))
@pytest.mark.parametrize("width", [1, 7, 8, 20])
def test_bits_are_the_pixels_that_were_packed(first: int, width: int) -> None:
    pixels = np.random.default_rng(first).random((5, width)) > 0.5
    bits = pack(pixels, first)
    assert bits.shape[1] == (first + width - 1) // 8 - first // 8 + 1
    np.testing.assert_array_equal(unpack(bits, first, width), pixels)


@pytest.mark.parametrize("seed", range(6))
def test_the_largest_piece_stays_where_it_is_with_its_own_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [ndimage.gaussian_filter(rng.normal(size=(41, 53)), 2) > 0.08 for _ in range(5)]
    before = candidates_of(frames, (13, 6))
    after = in_one_piece(before)
    assert (before.areas > after.areas).all()
    for row, frame in enumerate(frames):
        pieces, count = ndimage.label(frame)
        sizes = ndimage.sum_labels(frame, pieces, np.arange(1, count + 1))
        largest = pieces == 1 + sizes.argmax()
        x0, y0, x1, y1 = (after.boxes[row] - [13, 6, 13, 6]).tolist()
        drawn = np.zeros(frame.shape, bool)
        drawn[y0 : y1 + 1, x0 : x1 + 1] = after.cutout(row)
        np.testing.assert_array_equal(drawn, largest)
        assert after.cutout(row).any(axis=0)[[0, -1]].all()
        assert after.cutout(row).any(axis=1)[[0, -1]].all()
    np.testing.assert_array_equal(after.predicted_iou, before.predicted_iou)


def test_pieces_that_touch_by_a_corner_are_two_and_masks_of_one_piece_stay() -> None:
    frame = np.zeros((12, 12), bool)
    frame[1:4, 1:4] = frame[4:9, 4:9] = True
    whole = np.zeros((12, 12), bool)
    whole[2:9, 3:5] = True
    after = in_one_piece(candidates_of([frame, whole]))
    assert after.boxes.tolist() == [[4, 4, 8, 8], [3, 2, 4, 8]]
    assert after.areas.tolist() == [25, 14]


def test_of_nothing_nothing_is_made() -> None:
    assert len(in_one_piece(no_candidates())) == 0
    empty = replace(candidates_of([np.ones((2, 2), bool)]), boxes=np.zeros((1, 4), np.int64))
    empty = replace(empty, bits=[np.zeros((1, 1), np.uint8)])
    assert in_one_piece(empty).boxes.tolist() == [[0, 0, 0, 0]]


class PairModel(BlobModel):
    """Answers for the first two blobs together, wherever one of them is asked, and is sure of that."""

    sees_objects = True

    def _logits(self, embedding, region, mask):
        alone = super()._logits(embedding, region, mask)
        return np.maximum(alone, super()._logits(embedding, 3 - region, mask)) if 0 < region < 3 else alone


@pytest.mark.parametrize(("search", "pieces"), [("guided", 1), ("grid", 2), ("hierarchical", 2)])
def test_guided_masks_are_in_one_piece_and_those_of_the_reference_as_they_are(search: str, pieces: int) -> None:
    image = np.repeat(blobs(discs=((20, 20, 9), (90, 70, 14)))[..., None], 3, axis=2)
    params = AmgParameters(points_per_side=8, pred_iou_thresh=0.9, stability_score_thresh=0.4, point_search=search)
    found = [part.candidates for part in propose(image, PairModel(), params)]
    counts = {ndimage.label(some.cutout(row))[1] for some in found for row in range(len(some))}
    assert counts == {pieces}
