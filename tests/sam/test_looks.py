"""Long work looks often enough whether it is still wanted, in the thread that is watched and in no other."""

import threading
import time

import numpy as np
import pytest
import torch

from napari_sam_amg.amg.ais import watershed_labels
from napari_sam_amg.sam.distance_maps import DistancePlanes
from napari_sam_amg.sam.image_encoder import ImageEncoderViT
from napari_sam_amg.sam.looks import look, watched_by, while_looking
from napari_sam_amg.sam.unet_encoder import UnetEncoder

LONGEST = 0.2  # s of one core between two looks, the processor's time


class Stop(Exception):
    pass


def stop() -> None:
    raise Stop


def test_a_look_calls_who_watches_this_thread() -> None:
    seen: list[str] = []
    look()
    with watched_by(lambda: seen.append("outer")):
        with watched_by(lambda: seen.append("inner")):
            look()
        look()
        other = threading.Thread(target=look)
        other.start()
        other.join()
    look()
    assert seen == ["inner", "outer"]


def test_what_cannot_look_is_waited_for_and_left_at_once() -> None:
    released = threading.Event()
    assert while_looking(lambda: 3) == 3
    with watched_by(lambda: None):
        assert while_looking(lambda: 3) == 3
        with pytest.raises(TimeoutError, match="its own"):
            while_looking(lambda: (_ for _ in ()).throw(TimeoutError("its own")))
    with watched_by(stop):
        began = time.perf_counter()
        with pytest.raises(Stop):
            while_looking(lambda: released.wait(20))
    assert time.perf_counter() - began < 10
    released.set()


def disc(size: int) -> DistancePlanes:
    away = np.hypot(*(np.mgrid[:size, :size] - size / 2)).astype(np.float32) / size
    return DistancePlanes(np.ones((size, size), np.float32), away, away)


def test_a_watershed_is_left_and_else_the_same() -> None:
    expected = watershed_labels(disc(64))
    with watched_by(lambda: None):
        np.testing.assert_array_equal(watershed_labels(disc(64)), expected)
    assert expected.all()
    with watched_by(stop), pytest.raises(Stop):  # before it ends: half a second of a core
        watershed_labels(disc(1400))


@pytest.mark.parametrize("encoder", ["vit_b, one layer of either kind", "embedded"])
def test_encoders_look_often(encoder: str) -> None:
    """What no module's beginning parts, either: the longest stretch of the processor's time on one thread."""
    model = UnetEncoder() if encoder == "embedded" else ImageEncoderViT(depth=2, global_attn_indexes=(1,))
    model.eval().requires_grad_(False)
    for module in model.modules():
        module.register_forward_pre_hook(lambda *_: look())
    threads, gaps = torch.get_num_threads(), [time.thread_time()]
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), watched_by(lambda: gaps.append(time.thread_time())):
            model(torch.zeros(1, 3, model.img_size, model.img_size))
    finally:
        torch.set_num_threads(threads)
    assert len(gaps) > 20
    assert max(np.diff([*gaps, time.thread_time()])) < LONGEST
