"""Pixels that are open elsewhere go the way of a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam_amg.batch.existing import AlreadyThere
from napari_sam_amg.batch.image import OpenImage, Reading
from napari_sam_amg.batch.one_file import Batch
from napari_sam_amg.batch.options import Options
from napari_sam_amg.io.discover import InputFile
from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.io.raw_image import RawImage
from napari_sam_amg.params import AmgParameters
from tests.disc_model import BlobModel, disc_image

PARAMS = AmgParameters(points_per_side=8, pred_iou_thresh=0.9, stability_score_thresh=0.5)
PLANES = np.array([[disc_image([(15, 15 + 10 * column)]) for column in range(3)] for _ in range(2)])  # (2, 3, 64, 80)


class Stopped(Exception):
    pass


def image(data: np.ndarray = PLANES, axes: str = "QIYX", **more: object) -> OpenImage:
    return OpenImage(
        RawImage(data, axes, stated={"Y": Spacing(0.5, "micrometer"), "X": Spacing(0.5, "micrometer")}), **more
    )


def batch(**options: object) -> Batch:
    return Batch(BlobModel(), PARAMS, Options(quiet=True, **options))


def test_axes_of_any_name_are_kept_and_what_is_known_is_recorded(tmp_path: Path) -> None:
    file = InputFile(Path("a layer"), tmp_path, "a")
    done = batch().segment(file, image(record={"layer": "a layer"}))
    assert done.found == "6 masks, 6 labels"
    assert tifffile.imread(tmp_path / "a_labels.tif").shape == PLANES.shape
    record = json.loads((tmp_path / "a_run.json").read_text())
    assert (record["input"]["layer"], record["input"]["axes"]) == ("a layer", "QIYX")
    assert record["pixel_size_um"] == [0.5, 0.5]
    assert batch(skip_existing=True).segment(file, image()).skipped


def test_other_pixels_are_another_image(tmp_path: Path) -> None:
    other = PLANES.copy()
    other[1, 2, 0, 0] = 1
    seen = {one.hashed() for one in (image(), image(other), image(PLANES.astype(np.uint16)), image(axes="TZYX"))}
    assert len(seen) == 4
    assert image(PLANES.copy()).hashed() == image().hashed()
    file = InputFile(Path("a"), tmp_path, "a")
    batch().segment(file, image())
    with pytest.raises(AlreadyThere, match="from another image or other settings") as caught:
        batch(skip_existing=True).segment(file, image(other))
    assert caught.value.target == tmp_path / "a_labels.tif"


def test_a_look_stops_reading_and_following_stops_the_run(tmp_path: Path) -> None:
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) > 3:
            raise Stopped

    with pytest.raises(Stopped):
        image(look=look).hashed()
    followed: list[tuple[int, int]] = []

    def follow(done: int, total: int) -> None:
        followed.append((done, total))
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        batch().segment(InputFile(Path("a"), tmp_path, "a"), image(), follow)
    assert followed == sorted(followed)
    assert followed[:6] == [(0, 0)] * 6  # a look at every plane
    assert (followed[-1], (1, 6) in followed) == ((2, 6), True)
    assert not list(tmp_path.glob("a_*"))


def test_a_channel_is_chosen_as_of_a_file() -> None:
    with image(axes="CZYX").opened(Reading(channel=1), PARAMS) as source:
        assert (source.channel, source.stack_axes, source.stack.stack_shape) == (1, "Z", (3,))
    with pytest.raises(ValueError, match="channel=2"), image(axes="CZYX").opened(Reading(channel=2), PARAMS):
        pass
