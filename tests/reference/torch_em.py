"""torch-em's own segmentation decoder and watershed, which micro-sam uses.

The package needs some forty others (tensorboard, numba, grpc, ...) of which nothing here has any use, and imports them
with its first line. So it is installed without them, ``pip install --no-deps torch-em==0.10.9``, and its two modules
are imported alone: the packages around them are entered by their folders, without running their ``__init__``.
``elf``, of which the watershed's module imports names for other functions, is stood in for by empty modules.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch import nn

_FOREIGN = {
    "elf": (),
    "elf.segmentation": (),
    "elf.segmentation.utils": ("normalize_input",),
    "elf.segmentation.mutex_watershed": ("mutex_watershed",),
}
_PACKAGES = ("torch_em", "torch_em.model", "torch_em.util")


def reference_unetr(transposed: bool, img_size: int, embed_dim: int = 256) -> nn.Module:
    """As micro-sam builds it around an image encoder; here the encoder is left out, and ``decode`` is called."""
    encoder = nn.Module()
    encoder.img_size, encoder.embed_dim, encoder.in_chans = img_size, embed_dim, 3  # type: ignore[assignment]
    return _module("torch_em.model.unetr").UNETR(
        backbone="sam", encoder=encoder, out_channels=3, use_sam_stats=True, final_activation="Sigmoid",
        use_skip_connection=False, resize_input=True, use_conv_transpose=transposed,
    )  # fmt: skip


def reference_watershed() -> Callable[..., np.ndarray]:
    """``watershed_from_center_and_boundary_distances``."""
    found: Callable[..., np.ndarray] = _module(
        "torch_em.util.segmentation"
    ).watershed_from_center_and_boundary_distances
    return found


def reference_gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """With which micro-sam smoothes the foreground."""
    from bioimage_cpp.filters import gaussian_smoothing

    return gaussian_smoothing(values, sigma)


def _module(name: str) -> Any:
    """One module of torch-em; the test is skipped if that is not installed."""
    spec = importlib.util.find_spec("torch_em")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs pip install --no-deps torch-em==0.10.9")
    with _stand_ins(Path(next(iter(spec.submodule_search_locations)))), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@contextmanager
def _stand_ins(folder: Path) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in (*_PACKAGES, *_FOREIGN)}
    for name in before:
        module = ModuleType(name)
        module.__path__ = [str(folder.joinpath(*name.split(".")[1:]))] if name in _PACKAGES else []
        vars(module).update(dict.fromkeys(_FOREIGN.get(name, ())))
        sys.modules[name] = module
    for name in _FOREIGN:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
