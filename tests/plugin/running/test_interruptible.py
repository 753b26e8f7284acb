"""A model on reins computes the same and stops in the middle."""

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from napari_sam_amg import AmgParameters, generate_masks, load_model
from napari_sam_amg.models.registry import embedded_path
from napari_sam_amg.plugin.running.interruptible import Interrupted, InterruptibleModel, Reins
from napari_sam_amg.sam.distance_maps import DistanceMaps
from napari_sam_amg.sam.model import Sam
from tests.disc_model import BlobModel, blobs, keep_all
from tests.finetune_model import tiny_finetune

pytestmark = pytest.mark.skipif(not embedded_path().exists(), reason="the embedded weights are not there")

IMAGE = np.repeat(blobs()[..., None], 3, axis=2)
POINTS = np.array([[20.0, 20.0]])


@pytest.fixture(scope="module")
def sam() -> Sam:
    return load_model(device="cpu")


def test_the_masks_are_the_models_own(sam: Sam) -> None:
    params = AmgParameters(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    free, reined = (generate_masks(IMAGE, model, params) for model in (sam, InterruptibleModel(sam, Reins())))
    assert len(free.boxes) > 0
    np.testing.assert_array_equal(reined.boxes, free.boxes)
    # one run in 55 differed by 3e-6: the order of sums in a matrix product depends on where its memory lies
    np.testing.assert_allclose(reined.predicted_iou, free.predicted_iou, rtol=1e-5)


def test_the_image_encoder_stops_between_its_layers(sam: Sam) -> None:
    reins, entered = Reins(), []

    def stop(layer: torch.nn.Module, _: Any) -> None:
        entered.append(layer)
        reins.stop()

    leaves = [layer for layer in sam.image_encoder.modules() if not list(layer.children())]
    hooks = [layer.register_forward_pre_hook(stop) for layer in leaves]
    with pytest.raises(Interrupted):
        InterruptibleModel(sam, reins).embed(IMAGE)
    for hook in hooks:
        hook.remove()
    assert len(entered) <= 2
    assert not any(layer._forward_pre_hooks for layer in sam.image_encoder.modules())
    sam.embed(IMAGE)  # it is as good as before


def test_the_segmentation_decoder_stops_between_its_steps() -> None:
    model, reins = tiny_finetune(), Reins()
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    maps = InterruptibleModel(model, reins).embed(image).maps
    assert isinstance(maps, DistanceMaps)
    np.testing.assert_array_equal(maps.planes().foreground, model.embed(image).maps.planes().foreground)
    model.segmentation_decoder.deconv2.register_forward_pre_hook(lambda *_: reins.stop())
    entered = []
    model.segmentation_decoder.deconv3.register_forward_pre_hook(lambda *_: entered.append(1))
    with pytest.raises(Interrupted):
        maps.planes()
    assert not entered


def test_decoding_stops_where_scores_are_looked_at() -> None:
    model, reins = BlobModel(), Reins()
    reined = InterruptibleModel(model, reins)
    embedding = reined.embed(IMAGE)

    def stop_and_keep(iou: torch.Tensor) -> torch.Tensor:
        reins.stop()
        return keep_all(iou)

    batches = reined.decode_batches(embedding, [POINTS, POINTS], stop_and_keep)
    assert next(batches)[0] is POINTS
    with pytest.raises(Interrupted):
        next(batches)
    with pytest.raises(Interrupted):
        reined.decode_batches(embedding, [POINTS], keep_all)
    assert model.decoded == 2 * len(POINTS)  # the second was asked, and not drawn


def test_a_held_worker_waits_until_it_is_let_go() -> None:
    reins, passed = Reins(), threading.Event()
    reins.hold()

    def look() -> None:
        reins.look()
        passed.set()

    worker = threading.Thread(target=look)
    worker.start()
    time.sleep(0.1)
    assert not passed.is_set()
    reins.let_go()
    worker.join(timeout=10)
    assert passed.is_set()


def test_a_held_worker_can_be_stopped() -> None:
    reins = Reins()
    reins.hold()
    reins.stop()
    with pytest.raises(Interrupted):
        reins.look()


def test_the_worker_stands_only_once_it_has_stopped_computing() -> None:
    """Asked while it computes, it goes on to its next look; from there on it computes nothing until it is let go."""
    reins, go, done = Reins(), threading.Event(), []

    def work() -> None:
        with reins.computing():
            assert go.wait(timeout=10)
            reins.look()
            done.append("after the look")

    worker = threading.Thread(target=work)
    worker.start()
    _wait_until(lambda: reins._computing)
    reins.hold()
    time.sleep(0.05)
    assert not reins.stands
    go.set()
    _wait_until(lambda: reins.stands)
    time.sleep(0.1)
    assert (reins.stands, done) == (True, [])
    reins.let_go()
    worker.join(timeout=10)
    assert done


def test_a_worker_that_computes_nothing_stands_and_does_not_begin() -> None:
    reins, begun = Reins(), threading.Event()

    def work() -> None:
        with reins.computing():
            begun.set()

    assert not reins.stands  # nobody asked
    reins.hold()
    assert reins.stands
    worker = threading.Thread(target=work)
    worker.start()
    assert not begun.wait(timeout=0.2)
    assert reins.stands
    reins.let_go()
    assert begun.wait(timeout=10)
    worker.join(timeout=10)


@pytest.mark.parametrize("is_held", [False, True])
def test_a_worker_that_nobody_wants_stops_by_itself(is_held: bool) -> None:
    """As when napari quits, and the main thread waits for the worker and never lets go."""
    reins = Reins()
    reins.stop_if(lambda: True)
    if is_held:
        reins.hold()
    with pytest.raises(Interrupted), reins.computing():
        raise AssertionError("it computed")
    assert not reins._computing


def test_reins_are_for_their_own_thread(sam: Sam) -> None:
    """A run is stopped in the encoder while its hooks are there; another thread that passes them goes on."""
    reins, ends = Reins(), []

    def embed() -> None:
        try:
            ends.append(sam.embed(IMAGE))
        except Interrupted:
            ends.append(None)

    def stop_and_embed(*_: Any) -> None:
        hook.remove()
        reins.stop()
        other = threading.Thread(target=embed)
        other.start()
        other.join(timeout=60)

    hook = sam.image_encoder.register_forward_pre_hook(stop_and_embed)
    with pytest.raises(Interrupted):
        InterruptibleModel(sam, reins).embed(IMAGE)
    assert len(ends) == 1
    assert ends[0] is not None


def _wait_until(is_so: Any) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)
