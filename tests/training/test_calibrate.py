"""Teaching the predicted IoU once more."""

from pathlib import Path

import numpy as np
import torch
from skimage import io

from napari_sam_amg.sam.layers import MLP
from training.calibrate import Asked, Plan, ask, best_ious, examples_to_ask, mean_error, train_as_long, train_head
from training.dataset import Example


def test_the_truth_is_the_object_that_fits_best():
    labels = np.zeros((4, 6), np.int32)
    labels[:2, :2], labels[2:, 3:] = 3, 9
    masks = torch.zeros(4, 4, 6, dtype=torch.bool)
    masks[0, :2, :2] = True  # the first object
    masks[1, 2:, 2:] = True  # the second, and 2 px more
    masks[2, :2, 3:] = True  # none
    found = best_ious(masks, labels)  # the last mask is empty
    torch.testing.assert_close(found, torch.tensor([1.0, 6 / 8, 0.0, 0.0]))
    assert best_ious(masks, np.zeros_like(labels)).tolist() == [0.0] * 4


def test_a_head_learns_and_the_given_one_stays():
    torch.manual_seed(0)
    head = MLP(8, 16, 4, 3).requires_grad_(False)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    tokens = torch.randn(600, 8)
    ious = tokens[:, :3].sigmoid()
    asked, test = Asked(tokens[:500], ious[:500]), Asked(tokens[500:], ious[500:])
    steps, trained = train_head(head, asked, test, seed=0)
    assert mean_error(trained, test) < 0.5 * mean_error(head, test)
    torch.testing.assert_close(head.state_dict(), before, rtol=0, atol=0)
    again = train_as_long(head, asked, steps, seed=0)
    torch.testing.assert_close(again.state_dict(), trained.state_dict(), rtol=0, atol=0)
    assert train_as_long(head, asked, 0, seed=0) is head


def test_of_photographs_only_points_on_objects_are_asked():
    """What is beside their labels may be an object that nobody labelled: a good mask of it is not a bad one."""
    labels = np.zeros((96, 128), np.int32)
    labels[20:60, 30:90] = 1
    image = np.where(labels[..., None] > 0, 200, 30).astype(np.uint8).repeat(3, axis=2)
    counts = {}
    for dataset in ("dsb2018_fluo", "coco_natural"):
        example = Example(dataset, "a", image, labels, (0.0, 0.0), (255.0, 255.0), 50.0)
        asked = ask("embedded", [example], Plan(frames=2, side=4, centres=0, seed=0))
        assert len(asked.tokens) == len(asked.ious)
        counts[dataset] = len(asked.tokens)
    assert counts["dsb2018_fluo"] == 2 * 4 * 4
    assert 0 < counts["coco_natural"] < counts["dsb2018_fluo"]


def test_what_a_run_left_to_choose_by_is_not_asked(tmp_path: Path):
    folder = tmp_path / "train" / "dsb2018_fluo"
    folder.mkdir(parents=True)
    for index in range(12):
        io.imsave(folder / f"{index:03d}_image.png", np.full((8, 8), 9 * index, np.uint8), check_contrast=False)
        io.imsave(folder / f"{index:03d}_labels.png", np.ones((8, 8), np.uint16), check_contrast=False)
    seen, unseen = examples_to_ask(tmp_path, 6)
    names = [example.name for example in unseen]
    assert names == ["000", "006"]
    names += [example.name for example in seen]
    assert sorted(names) == [f"{index:03d}" for index in range(12) if index not in (3, 9)]
    assert sum(len(some) for some in examples_to_ask(tmp_path, 0)) == 12
