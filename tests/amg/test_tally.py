"""What a run came to, counted region by region."""

from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import survey
from napari_sam_amg.amg.region import whole_plane
from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.amg.work import CountingWork, ModelWork
from napari_sam_amg.params import AmgParameters
from tests.disc_model import BlobModel, disc_image

PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5)


def test_a_region_that_is_done_again_counts_once() -> None:
    """A run that goes on does a plane again that was not finished."""
    stack = PlaneStack(disc_image([(20, 20), (40, 60)])[None].repeat(2, axis=0))
    images, tally = PlaneImages(stack, survey(stack), None), Tally()
    first, second = (whole_plane(index, stack.plane_size) for index in stack.indices)
    for regions, counted in (([first], 1), ([first, second], 2)):
        list(CountingWork(ModelWork(BlobModel()), tally).propose(regions, images, PARAMS))
        assert (tally.regions, tally.points) == (counted, counted * 256)
    assert tally.candidates > 0
