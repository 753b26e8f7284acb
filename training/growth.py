"""Weights of a smaller model in a larger one, which computes the same until training makes use of the rest.

After Net2Net (Chen et al. 2016, arXiv 1511.05641), with blocks that start as the identity.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from training.model import EmbeddedSam

CENTER_PROJECTION = "image_encoder.center_projection.weight"
LAST_NORM_OF_BLOCK = ".second.1.weight"


def grown(weights: Mapping[str, Tensor], model: EmbeddedSam) -> dict[str, Tensor]:
    """A state dict for ``model`` that gives what ``weights`` give in their own.

    ``model`` may have more residual blocks at the end of a stage, which are switched off, and more centres
    a cell of the embedding. The mean of their encodings is taken for the encoding of the mean centre,
    which is exact inside an instance. Raises ``ValueError`` for other differences.
    """
    out = {}
    for name, fresh in model.state_dict().items():
        if name not in weights:
            out[name] = torch.zeros_like(fresh) if name.endswith(LAST_NORM_OF_BLOCK) else fresh
        elif name == CENTER_PROJECTION:
            parts = fresh.shape[1] // weights[name].shape[1]
            out[name] = weights[name].float().repeat(1, parts) / parts
        else:
            out[name] = weights[name]
        if out[name].shape != fresh.shape:
            raise ValueError(f"{name} has shape {tuple(out[name].shape)}, the model has {tuple(fresh.shape)}")
    surplus = weights.keys() - out.keys()
    if surplus:
        raise ValueError(f"the model has no place for {', '.join(sorted(surplus)[:3])}")
    return out
