"""A run of a tiny model on made-up images: the same when interrupted, and readable by the reference."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io

from training.batches import Source, stream_batches
from training.dataset import Example, read_split
from training.recipe import ModelConfig, Recipe
from training.state import TrainingState, load_state, new_state, save_state
from training.train import train, train_step

CONFIG = ModelConfig(
    img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), blocks=(0, 1, 1, 1, 1), mlp_dim=32, iou_head_hidden_dim=16
)


def draw_discs(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    labels = np.zeros(size, np.uint16)
    for label_id in range(1, 9):
        row, column, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(5, 9)
        labels[np.hypot(rows - row, columns - column) < radius] = label_id
    image = rng.normal(40, 5, size) + 120 * (labels > 0)
    return image.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for dataset, seed in (("one", 0), ("one", 1), ("coco_natural", 2)):
        folder = root / "train" / dataset
        folder.mkdir(parents=True, exist_ok=True)
        image, labels = draw_discs(seed, (70, 90))
        io.imsave(folder / f"{seed:03d}_image.png", image)
        io.imsave(folder / f"{seed:03d}_labels.png", labels, check_contrast=False)
    return root


@pytest.fixture(scope="module")
def examples(data: Path) -> list[Example]:
    return read_split(data, "train")


def make_recipe(optimizer: str, steps: int = 4) -> Recipe:
    return Recipe(steps=steps, warmup=2, decay=1, batch=2, crop=64, points=4, optimizer=optimizer)


def run(state: TrainingState, examples: list[Example], recipe: Recipe, steps: int) -> None:
    state.model.train()
    for _, batch in zip(
        range(steps), stream_batches(Source(examples, recipe, CONFIG.img_size), state.step), strict=False
    ):
        train_step(state, batch, recipe)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_interrupted_run_ends_with_the_same_weights(optimizer: str, examples: list[Example], tmp_path: Path) -> None:
    recipe = make_recipe(optimizer)
    whole = new_state(CONFIG, recipe)
    run(whole, examples, recipe, 4)

    first = new_state(CONFIG, recipe)
    run(first, examples, recipe, 2)
    save_state(first, tmp_path, recipe)
    second = new_state(CONFIG, recipe)
    load_state(second, tmp_path)
    assert second.step == 2
    run(second, examples, recipe, 2)

    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=0, atol=0)
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(second.average.state_dict()[name], value, rtol=0, atol=0)


def test_training_lowers_the_loss_of_a_batch(examples: list[Example]) -> None:
    recipe = Recipe(steps=12, warmup=1, decay=1, batch=2, crop=64, points=4, lr=3e-3, partly_labelled=())
    state = new_state(CONFIG, recipe)
    state.model.train()
    batch = next(stream_batches(Source(examples, recipe, CONFIG.img_size), 0))
    figures = [train_step(state, batch, recipe) for _ in range(12)]
    for name in ("mask", "dense"):
        assert figures[-1][name] < 0.9 * figures[0][name]


def test_train_saves_the_last_step(examples: list[Example], tmp_path: Path) -> None:
    recipe = make_recipe("adamw", steps=1)
    batches = stream_batches(Source(examples, recipe, CONFIG.img_size), 0)
    train(new_state(CONFIG, recipe), batches, recipe, tmp_path, threading.Event())
    restored = new_state(CONFIG, recipe)
    load_state(restored, tmp_path)
    assert restored.step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
