"""Views, points and targets agree with the instances they come from."""

import numpy as np
import pytest

from tests.training.cases import run_case
from training.batches import collate, make_batch, pool_by_2
from training.dataset import Example, is_held_out, without_held_out
from training.recipe import Recipe
from training.targets import background_points, center_offsets, dense_target, object_points
from training.views import consecutive, cut_view


def make_example(dataset: str = "one", channels: int = 0) -> Example:
    labels = np.zeros((60, 80), np.uint16)
    labels[5:25, 10:30] = 3
    labels[30:55, 40:75] = 7
    image = (20 * labels).astype(np.uint8)
    if channels:
        image = np.repeat(image[..., None], channels, axis=2)
    return Example(dataset, "000", image, labels, (0.0, 1.0), (139.0, 140.0), 22.0)


def test_view_keeps_image_and_labels_together() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        view = cut_view(rng, make_example(), 64)
        inner = view.inside & (view.image[..., 0] == 140)  # away from interpolated edges
        assert (view.labels[inner] > 0).all()
        assert (view.labels[~view.inside] == 0).all()


def test_consecutive_keeps_instances() -> None:
    np.testing.assert_array_equal(consecutive(np.array([[5, 9], [5, 0]])), [[1, 2], [1, 0]])
    np.testing.assert_array_equal(consecutive(np.array([[5, 9]])), [[1, 2]])


def test_points_lie_on_their_instance_or_on_none() -> None:
    rng = np.random.default_rng(1)
    labels = make_example().labels.astype(np.int32)
    inside = np.ones(labels.shape, bool)
    inside[:, :5] = False
    for _ in range(20):
        on, ids = object_points(rng, labels, 6)
        np.testing.assert_array_equal(labels[on[:, 1], on[:, 0]], ids)
        off = background_points(rng, labels, inside, 4)
        assert len(off) == 4
        assert (labels[off[:, 1], off[:, 0]] == 0).all()
        assert (off[:, 0] >= 5).all()


def test_no_background_gives_no_background_points() -> None:
    labels = np.ones((8, 8), np.int32)
    assert background_points(np.random.default_rng(0), labels, labels > 0, 3).shape == (0, 2)


def test_dense_target_points_to_the_centre() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[10:21, 4:9] = 1
    offsets = center_offsets(labels)
    rows, columns = np.nonzero(labels)
    np.testing.assert_allclose(rows + offsets[0][labels == 1], 15)
    np.testing.assert_allclose(columns + offsets[1][labels == 1], 6)
    target = dense_target(labels)
    assert target.shape == (4, 20, 20)
    np.testing.assert_array_equal(target[0] > 0, labels[::2, ::2] > 0)


@pytest.mark.parametrize("channels", [0, 3])
def test_batch_is_a_function_of_seed_and_step(channels: int) -> None:
    recipe = Recipe(batch=2, crop=64, points=5)
    examples = [make_example(channels=channels)]
    first, again, other = (make_batch(examples, recipe, 128, step) for step in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        assert (a.image == b.image).all()
        assert (a.points == b.points).all()
    assert any((a.image != b.image).any() for a, b in zip(first, other, strict=True))


def test_sample_fits_the_frame() -> None:
    recipe = Recipe(batch=8, crop=64, points=5)
    for sample in make_batch([make_example()], recipe, 128, 0):
        assert sample.image.shape == (3, 64, 64)
        assert sample.masks.shape[1:] == (32, 32)
        assert len(sample.points) == 5
        assert 1 <= len(sample.masks) <= 5
        assert (sample.origin >= 0).all()
        assert (sample.origin <= 8).all()


def test_partly_labelled_data_gives_no_background() -> None:
    recipe = Recipe(batch=4, crop=64, points=5, synthetic=0.0)
    for sample in make_batch([make_example("coco_natural")], recipe, 128, 0):
        assert len(sample.masks) == 5
        assert not sample.labelled


def test_without_points_there_are_only_dense_targets() -> None:
    recipe = Recipe(batch=2, crop=64, points=0)
    for sample in make_batch([make_example("one")], recipe, 128, 0):
        assert sample.points.shape == (0, 2)
        assert sample.masks.shape == (0, 32, 32)
        assert sample.dense.shape == (4, 32, 32)


def test_masks_are_pooled_by_their_mean() -> None:
    masks = np.random.default_rng(0).random((3, 8, 10)) < 0.5
    means = masks.reshape(3, 4, 2, 5, 2).mean(axis=(2, 4), dtype=np.float32)
    np.testing.assert_array_equal(pool_by_2(masks), means)


def test_a_batch_holds_its_samples() -> None:
    samples = make_batch([make_example()], Recipe(batch=3, crop=64, points=5), 128, 0)
    batch = collate(samples)
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.on.sum(1).tolist() == [len(sample.masks) for sample in samples]
    for row, masks in enumerate(batch.masks.split(batch.on.sum(1).tolist())):
        assert batch.on[row].tolist() == [True] * len(masks) + [False] * (5 - len(masks))
        np.testing.assert_array_equal(masks, samples[row].masks)  # quarters, which float16 holds
        np.testing.assert_array_equal(batch.points[row], samples[row].points)
        np.testing.assert_array_equal(batch.origins[row], samples[row].origin)


def test_processes_make_the_batches_that_a_thread_makes() -> None:
    run_case("batches")


def test_of_every_six_images_of_a_data_set_the_fourth_is_held_out() -> None:
    examples = [make_example(dataset) for dataset in ("one", "two", "one", "one", "one", "two", "two")]
    assert [index for index in range(16) if is_held_out(index, 6)] == [3, 9, 15]
    kept = without_held_out(examples, 6)
    assert kept == [*examples[:4], *examples[5:]]
    assert without_held_out(examples, 0) == examples
