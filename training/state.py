"""A run's whole state: weights, their average, the optimizers and the step."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.growth import grown
from training.model import EmbeddedSam, build_model
from training.optimizers import build_optimizers
from training.recipe import ModelConfig, Recipe

STATE_NAME = "state.pt"


@dataclass(slots=True, eq=False)
class TrainingState:
    """``step`` is the number of steps taken."""

    model: EmbeddedSam
    average: EmbeddedSam
    optimizers: list[torch.optim.Optimizer]
    step: int = 0


def new_state(config: ModelConfig, recipe: Recipe, device: torch.device | str = "cpu") -> TrainingState:
    model = build_model(config, recipe.seed).to(device)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    return TrainingState(model, average, build_optimizers(model, recipe))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and batch-norm statistics; shorter in the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    old, new = average.state_dict(), model.state_dict()
    names = [name for name, value in old.items() if value.is_floating_point()]
    torch._foreach_lerp_([old[name] for name in names], [new[name] for name in names], 1 - decay)


def save_atomically(content: dict[str, Any], path: Path, finish: Callable[[Path], None] | None = None) -> None:
    """Write beside the target, then move: a reader never sees half a file. ``finish`` may change it before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    torch.save(content, temporary)
    if finish is not None:
        finish(temporary)
    temporary.replace(path)


def save_state(state: TrainingState, folder: Path, recipe: Recipe) -> None:
    content = {
        "config": asdict(state.model.config),
        "recipe": asdict(recipe),
        "step": state.step,
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in state.optimizers],
    }
    save_atomically(content, folder / STATE_NAME)


def start_from(state: TrainingState, checkpoint: Path) -> None:
    """Take the weights of an exported checkpoint (``training.export``), at step 0 with fresh optimizers.

    It may be of a smaller model, see :func:`training.growth.grown`.
    """
    weights = grown(torch.load(checkpoint, weights_only=True)["model"], state.model)
    for model in (state.model, state.average):
        model.load_state_dict(weights)


def load_state(state: TrainingState, folder: Path) -> None:
    """Put a saved run's values into a fresh state."""
    saved = torch.load(folder / STATE_NAME, weights_only=True, map_location="cpu")
    state.model.load_state_dict(saved["model"])
    state.average.load_state_dict(saved["average"])
    for optimizer, values in zip(state.optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    state.step = saved["step"]
