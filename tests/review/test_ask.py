"""One point more: where it is asked, what comes of it, and that nobody loses a pixel."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam_amg.amg.crops import layer_boxes
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.review.ask import added, ask_point, crop_around, in_image
from tests.disc_model import BLOB_IOU, BlobModel, blobs

SIZE = (96, 128)
LAST = AmgParameters(crop_layers="last", crop_n_layers=1)
DISCS = ((20, 20, 8), (60, 30, 12), (100, 70, 15))


def rgb(image=None):
    return np.repeat((blobs() if image is None else image)[..., None], 3, axis=2)


@pytest.mark.parametrize("params", [AmgParameters(), LAST, replace(LAST, crop_layers="all")], ids=["0", "1", "all"])
@pytest.mark.parametrize("disc", DISCS)
def test_the_best_mask_of_a_point_in_the_frame_of_the_image(params, disc):
    x, y, _ = disc
    model = BlobModel()
    masks = ask_point(rgb(), model, y, x, params)
    assert (len(masks), masks.size, model.decoded) == (1, SIZE, 1)
    assert masks.predicted_iou[0] == np.float32(max(BLOB_IOU))
    assert masks.points.tolist() == [[x + 0.5, y + 0.5]]
    expected = blobs(SIZE, (disc,)) > 127
    assert (masks.frame(0) & expected).sum() / (masks.frame(0) | expected).sum() > 0.9
    (embedded,) = model.embedded
    is_crop = params.crop_layers == "last"
    assert (embedded.shape[:2] != SIZE) == is_crop
    x0, y0, x1, y1 = masks.crop_boxes[0]
    np.testing.assert_array_equal(rgb()[y0:y1, x0:x1], embedded)


def test_nothing_is_drawn_where_there_is_nothing():
    assert len(ask_point(rgb(), BlobModel(), 90, 5, AmgParameters())) == 0


def test_a_point_is_asked_in_the_crop_that_has_most_room_around_it():
    crops = layer_boxes(SIZE, 1, LAST.crop_overlap_ratio)
    for y, x, corner in ((0, 0, (0, 0)), (95, 127, (1, 1)), (30, 127, (1, 0)), (60, 3, (0, 1))):
        crop = crop_around(SIZE, y, x, LAST)
        assert crop in crops
        assert (crop.x0 > 0, crop.y0 > 0) == corner
        assert crop.y0 <= y < crop.y1
        assert crop.x0 <= x < crop.x1
    assert crop_around(SIZE, 5, 5, AmgParameters()).size == SIZE


def test_masks_of_a_part_in_the_frame_of_the_whole():
    masks = ask_point(rgb(), BlobModel(), 20, 20, AmgParameters())
    moved = in_image(masks, (7, 9), (200, 300))
    np.testing.assert_array_equal(moved.frame(0)[9 : 9 + 96, 7 : 7 + 128], masks.frame(0))
    assert moved.frame(0).sum() == masks.areas[0]
    assert moved.points.tolist() == [[27.5, 29.5]]


@pytest.fixture
def masks():
    return ask_point(rgb(), BlobModel(), 30, 60, AmgParameters())


def test_it_takes_free_pixels_and_no_others(masks):
    before = np.zeros(SIZE, np.int32)
    before[:, :56] = 3  # over a third of the disc
    more = added(before, masks, 17, AmgParameters(), (2, 1), Units((0.5, 0.5), None, "area_um2"))
    np.testing.assert_array_equal(more.labels == 17, masks.frame(0) & (before == 0))
    np.testing.assert_array_equal(more.labels[before > 0], before[before > 0])
    assert not (before == 17).any()
    shown = int((more.labels == 17).sum())
    row = more.row.iloc[0]
    assert (row["index"], row["plane_0"], row["plane_1"]) == (17, 2, 1)
    assert (row["area"], row["area_um2"], row["mask_area"]) == (shown, shown / 4, masks.areas[0])
    assert row["visible_fraction"] == pytest.approx(more.free) == pytest.approx(shown / masks.areas[0])
    assert (row["point_x"], row["point_y"]) == (60.5, 30.5)
    assert row["predicted_iou"] == masks.predicted_iou[0]
    rows, columns = np.nonzero(more.labels == 17)
    assert (row["bbox_y0"], row["bbox_x1"]) == (rows.min(), columns.max() + 1)


def test_it_keeps_its_largest_piece(masks):
    before = np.zeros(SIZE, np.int32)
    before[:, 62:65] = 5  # in the middle of its right half
    params = AmgParameters(min_visible_fraction=0.3)
    labels = added(before, masks, 17, params).labels
    assert labels[30, 60] == 17
    assert labels[30, 67] == 0
    assert added(before, masks, 17, replace(params, label_pieces="all")).labels[30, 67] == 17


@pytest.mark.parametrize(("edge", "fraction"), [(64, 0.5), (80, 0.0)])
def test_what_others_have_is_left_to_them_and_said(masks, edge, fraction):
    before = np.zeros(SIZE, np.int32)
    before[:, :edge] = 3
    before[0] = 9
    with pytest.raises(ValueError, match=r"what the model draws here is label 3 already: \d+% of it is free"):
        added(before, masks, 17, AmgParameters(min_visible_fraction=fraction))


@pytest.mark.parametrize(("link", "columns"), [("z", {"planes", "volume"}), ("t", {"planes", "parent"})])
def test_among_objects_through_planes_it_is_one_in_one_plane(masks, link, columns):
    more = added(np.zeros(SIZE, np.int32), masks, 17, AmgParameters(link=link), (4,), axis=0)
    assert columns < set(more.row)
    assert (len(more.row), *more.row[["index", "planes", "first_plane", "last_plane"]].iloc[0]) == (1, 17, 1, 4, 4)
    assert more.row["predicted_iou"][0] == masks.predicted_iou[0]
