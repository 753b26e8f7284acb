"""The maps of micro-sam's segmentation decoder at the image's size, and the points that they give."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries
from torch import nn

from napari_sam_amg.sam.distance_maps import DistanceMaps, DistancePlanes, find_seeds, outlines
from napari_sam_amg.sam.unetr import SegmentationDecoder
from tests.distance_planes import discs, smooth_planes
from tests.finetune_model import tiny_finetune
from tests.reference.torch_em import reference_unetr


@pytest.mark.parametrize(("shape", "inside"), [((30, 50), (58, 96)), ((50, 30), (96, 58)), ((200, 200), (96, 96))])
@torch.inference_mode()
def test_planes_have_the_size_of_the_image_as_torch_ems(
    randomize: Any, shape: tuple[int, int], inside: tuple[int, int]
) -> None:
    theirs = randomize(reference_unetr(False, 96))
    decoder = SegmentationDecoder()
    decoder.load_state_dict(theirs.state_dict())
    embedding = torch.randn(1, 256, 6, 6, generator=torch.Generator().manual_seed(1))
    expected = theirs.decode((embedding, None, None), inside, shape)[0].numpy()
    found = DistanceMaps(decoder.eval(), embedding, inside, shape).planes()
    for plane, other in zip((found.foreground, found.centre_distance, found.boundary_distance), expected, strict=True):
        np.testing.assert_allclose(plane, other, rtol=1e-4)


@torch.inference_mode()
def test_a_model_sees_maps_of_what_it_embeds(randomize: Any) -> None:
    model = tiny_finetune()
    assert model.segmentation_decoder is not None
    theirs = randomize(reference_unetr(False, 64))
    theirs.load_state_dict(model.segmentation_decoder.state_dict())
    image = np.random.default_rng(1).integers(0, 255, (30, 50, 3), np.uint8)
    pixels, size = model.preprocess(image)
    expected = theirs.decode((model.image_encoder(pixels), None, None), size, (30, 50))[0, 0].numpy()
    maps = model.embed(image).maps
    assert isinstance(maps, DistanceMaps)
    np.testing.assert_allclose(maps.planes().foreground, expected, rtol=1e-4)
    assert expected.std() > 0.02


def micro_sams_points(planes: DistancePlanes) -> NDArray[np.float64]:
    """``_derive_point_prompts`` of micro-sam 1.8, (x, y) sorted; of images that its blocks of 512 px do not cut."""
    near = (planes.centre_distance < 0.5) & (planes.boundary_distance < 0.5)
    near[planes.foreground < 0.5] = False
    labels, count = ndimage.label(near)
    inside = find_boundaries(labels, mode="outer") == 0
    inside[0], inside[-1], inside[:, 0], inside[:, -1] = False, False, False, False
    distances = ndimage.distance_transform_edt(inside)
    points = []
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        depth = np.where(labels[box] == index, distances[box], 0)
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        points.append((column + box[1].start, row + box[0].start))
    assert len(points) == count
    return np.array(sorted(points), np.float64).reshape(-1, 2)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
@pytest.mark.parametrize("seed", range(6))
def test_points_equal_micro_sams_on_random_maps(sigma: float, seed: int) -> None:
    planes = smooth_planes((90, 130), sigma, seed)
    expected = micro_sams_points(planes)
    assert len(expected) > 2
    points, _ = find_seeds(planes)
    np.testing.assert_array_equal(np.array(sorted(points.tolist())), expected)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 60])
@pytest.mark.parametrize("shape", [(1, 9), (20, 31)])
def test_outlines_equal_scikit_images(shape: tuple[int, int], count: int, scale: int) -> None:
    labels = np.random.default_rng(count).integers(0, count, shape).astype(np.int32)
    labels = np.kron(labels, np.ones((scale, scale), np.int32))
    expected = find_boundaries(labels, mode="outer")
    assert expected.any()
    np.testing.assert_array_equal(outlines(labels), expected)


@pytest.mark.parametrize("middles", [[(20, 20, 12), (20, 45, 12), (60, 30, 15)], [(0, 0, 12), (79, 99, 12)]])
def test_every_disc_has_a_point_near_its_middle_and_its_pixels(middles: list[tuple[int, int, int]]) -> None:
    planes, labels = discs((80, 100), middles)
    points, owners = find_seeds(planes)
    assert [labels[int(y), int(x)] for x, y in points] == list(range(1, len(middles) + 1))
    np.testing.assert_array_equal(sorted(map(tuple, points.tolist())), micro_sams_points(planes))
    assert (owners != labels).sum() < 0.05 * (labels > 0).sum()  # between discs that touch some go to the other
    for (row, column, radius), (x, y) in zip(middles, points, strict=True):
        assert np.hypot(x - column, y - row) < radius / 2


def test_thresholds_are_micro_sams_and_each_counts() -> None:
    ones = np.ones((20, 20), np.float32)
    seed = np.zeros((20, 20), bool)
    seed[5:12, 5:12] = True
    for foreground, centre, boundary, count in (
        (0.5, 0.49, 0.49, 1), (0.49, 0.49, 0.49, 0), (0.5, 0.5, 0.49, 0), (0.5, 0.49, 0.5, 0),
    ):  # fmt: skip
        maps = (np.where(seed, value, other) for value, other in ((foreground, 0), (centre, 1), (boundary, 1)))
        assert len(find_seeds(DistancePlanes(*(ones * one for one in maps)))[0]) == count


def test_nothing_is_seen_in_nothing() -> None:
    ones = np.ones((20, 20), np.float32)
    points, owners = find_seeds(DistancePlanes(0 * ones, ones, ones))
    assert points.shape == (0, 2)
    np.testing.assert_array_equal(owners, np.zeros((20, 20)))
    points, owners = find_seeds(DistancePlanes(ones, ones, ones))  # foreground without a seed belongs to nobody
    assert len(points) == 0
    assert not owners.any()


def test_objects_have_the_sizes_of_their_pixels() -> None:
    planes, labels = discs((80, 100), [(20, 20, 12), (60, 60, 6)])
    maps = np.stack([planes.foreground, planes.centre_distance, planes.boundary_distance])[None]
    seen = DistanceMaps(nn.Identity(), torch.from_numpy(maps), (80, 100), (80, 100)).objects()
    np.testing.assert_array_equal(seen.areas, np.bincount(labels.ravel())[1:])
    np.testing.assert_allclose(seen.thickness, [24, 12], atol=2)


def test_objects_know_the_sure_background(randomize: Any) -> None:
    decoder = randomize(SegmentationDecoder())
    maps = DistanceMaps(decoder, torch.randn(1, 256, 4, 4), (64, 64), (40, 40))
    median = float(np.median(maps.planes().foreground))
    with torch.no_grad():  # half of the pixels are surely background then
        decoder.out_conv.bias[0] += np.log(0.05 / 0.95) - np.log(median / (1 - median))
    foreground, seen = maps.planes().foreground, maps.objects()
    np.testing.assert_array_equal(seen.background, foreground < 0.05)
    assert 0.3 < seen.background.mean() < 0.7


def test_who_reads_other_maps_meanwhile_is_not_looked_after(randomize: Any) -> None:
    decoder = randomize(SegmentationDecoder())
    embedding, threads = torch.randn(1, 256, 2, 2), []

    def look() -> None:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            other = threading.Thread(target=DistanceMaps(decoder, embedding, (32, 32), (32, 32)).planes)
            other.start()
            other.join(timeout=60)

    DistanceMaps(decoder, embedding, (32, 32), (32, 32), look).planes()
    assert set(threads) == {threading.get_ident()}
    assert len(threads) > 20


def test_reading_stops_where_somebody_says_so(randomize: Any) -> None:
    decoder = randomize(SegmentationDecoder())
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 9:
            raise InterruptedError

    maps = DistanceMaps(decoder, torch.randn(1, 256, 4, 4), (64, 64), (40, 40), look)
    with pytest.raises(InterruptedError):
        maps.planes()
    assert len(looks) == 9
    DistanceMaps(decoder, torch.randn(1, 256, 4, 4), (64, 64), (40, 40)).planes()  # the hooks are gone
    assert len(looks) == 9
