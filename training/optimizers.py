"""Optimizers and the learning rate's schedule."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.recipe import Recipe

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, Muon
NEWTON_SCHULZ_STEPS = 5


def schedule(recipe: Recipe, step: int) -> float:
    """Warm up, stay constant, decay linearly: the factor on the learning rate of a step.

    Only the last ``decay`` steps depend on ``steps``, so a run can be extended, or ended early, from
    any state of the constant phase.
    """
    warm = min(1.0, (step + 1) / recipe.warmup)
    gone = max(0, step - (recipe.steps - recipe.decay)) / recipe.decay
    return warm * (1.0 - min(1.0, gone))


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest matrix, about, whose singular values are all 1 (Newton-Schulz).

    The polynomials are multiplied out on the small Gram matrix, which takes 2 products with the wide
    matrix instead of 2 a step.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    gram, identity = x @ x.T, torch.eye(len(x), device=x.device)
    product = identity
    for _ in range(NEWTON_SCHULZ_STEPS):
        factor = torch.addmm(a * identity + b * gram, gram, gram, beta=1.0, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


class Muon(torch.optim.Optimizer):
    """Momentum whose update of every matrix is orthogonalized. Kernels count as (outputs, rest) matrices."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["weight_decay"], group["momentum"])

    def _update(self, parameter: nn.Parameter, lr: float, weight_decay: float, momentum: float) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(parameter.grad, 1 - momentum)
        nesterov = parameter.grad.lerp(average, momentum).flatten(1)
        rows, columns = nesterov.shape
        update = orthogonalize(nesterov) * math.sqrt(max(1.0, rows / columns))
        parameter.mul_(1 - lr * weight_decay).add_(update.view_as(parameter), alpha=-lr)


def is_embedding(name: str) -> bool:
    """Learned vectors, which are stored as (n, C) matrices."""
    owner = name.split(".")[1]
    return owner in ("point_embeddings", "not_a_point_embed", "no_mask_embed", "iou_token", "mask_tokens")


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices, other matrices (first and last layers), and vectors with embeddings."""
    hidden, outer, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or is_embedding(name):
            vectors.append(parameter)
        elif is_outer(name):
            outer.append(parameter)
        else:
            hidden.append(parameter)
    return hidden, outer, vectors


def is_outer(name: str) -> bool:
    """Layers next to the input or to an output, and those that training never reaches."""
    parts = ("stages.0.0", "dense_head", "upscaling", "downscaling", ".layers.2.weight")
    return any(part in name for part in parts)


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the hidden matrices if the recipe says so. Each group remembers its own rate."""
    hidden, outer, vectors = split_parameters(model)
    by_muon = recipe.optimizer == "muon"
    groups = [
        {"params": outer if by_muon else hidden + outer, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), fused=True)]
    if by_muon:
        optimizers.append(Muon(hidden, recipe.muon_lr, recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
