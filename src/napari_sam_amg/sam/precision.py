"""In which numbers a model computes: "exact" in float32, "fast" in halves of it where the hardware has them.

Free of torch until a model is asked for.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Precision = Literal["exact", "fast"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class PrecisionWarning(UserWarning):
    """The precision that was asked for is not to be had, and another is used."""


def check_precision(precision: str) -> None:
    """Raise ``ValueError`` for a word that is no precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is not allowed: choose one of {', '.join(PRECISIONS)}")


def half_type(device: "torch.device") -> "torch.dtype | None":
    """The 16-bit floats that ``device`` is fast with; None if it has none.

    bfloat16 comes first, since it cannot overflow. A CPU needs AVX512_BF16 or AMX: others emulate
    it, slower than float32.
    """
    import torch

    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        # Ampere and later; what is older has no units for bfloat16
        return torch.bfloat16 if major >= 8 else torch.float16
    if device.type == "mps":
        return torch.float16
    if device.type == "cpu" and (_cpu_has("_is_avx512_bf16_supported") or _cpu_has("_is_amx_tile_supported")):
        return torch.bfloat16
    return None


def _cpu_has(question: str) -> bool:
    """Ask ``torch.cpu``, whose questions are private and differ between versions."""
    import torch

    ask = getattr(torch.cpu, question, None)
    return ask is not None and bool(ask())


def choose_type(precision: str, device: "torch.device") -> "torch.dtype":
    """The type to compute in; warns where "fast" is asked for and not to be had."""
    import torch

    check_precision(precision)
    half = half_type(device) if precision == "fast" else torch.float32
    if half is None:
        warnings.warn(
            f"precision='fast' needs 16-bit floats, which this {device.type} does not have: computing exactly",
            PrecisionWarning,
            stacklevel=3,  # the line that asked for a model or its precision
        )
    return half or torch.float32


@contextmanager
def float32_as_such(device: "torch.device") -> "Iterator[None]":
    """On CUDA float32 is float32 meanwhile: torch rounds what convolutions multiply to TF32, 10 bits, by itself.

    Settings of the process, restored at the end: other threads see them.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    backends: tuple[Any, ...] = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, setting in zip(backends, before, strict=True):
            backend.fp32_precision = setting


def convert(module: "nn.Module", dtype: "torch.dtype", keep: "tuple[type[nn.Module], ...]") -> None:
    """Give a module's float tensors another type, except those of submodules of the types in ``keep``."""
    for owner, name, tensor in _floats(module, keep):
        _put(owner, name, tensor.to(dtype))


def originals(module: "nn.Module", keep: "tuple[type[nn.Module], ...]") -> "list[Tensor]":
    """The float tensors that ``convert`` would change, on the host: memory of a GPU is scarce."""
    return [tensor.cpu() for _, _, tensor in _floats(module, keep)]


def restore(module: "nn.Module", exact: "list[Tensor]", keep: "tuple[type[nn.Module], ...]") -> None:
    """Undo ``convert`` with what ``originals`` gave before, bit for bit.

    A tensor that was changed meanwhile, as by ``load_state_dict``, only gets its type back.
    """
    import torch

    for (owner, name, tensor), original in zip(_floats(module, keep), exact, strict=True):
        original = original.to(tensor.device)
        # rounded once more, the original gives the same bits; what was loaded meanwhile does not
        unchanged = original.shape == tensor.shape and torch.equal(original.to(tensor.dtype), tensor)
        _put(owner, name, original if unchanged else tensor.to(original.dtype))


def _floats(module: "nn.Module", keep: "tuple[type[nn.Module], ...]") -> "Iterator[tuple[nn.Module, str, Tensor]]":
    """Float parameters and buffers, each with the module that has it and its name there; always in the same order."""
    if isinstance(module, keep):  # with all that is inside it
        return
    for name, tensor in chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
        if tensor.is_floating_point():
            yield module, name, tensor.detach()
    for child in module.children():
        yield from _floats(child, keep)


def _put(owner: "nn.Module", name: str, tensor: "Tensor") -> None:
    """A parameter stays the object that it is: optimizers and hooks know it."""
    import torch

    present = getattr(owner, name)
    if isinstance(present, torch.nn.Parameter):
        present.data = tensor
    else:  # of a buffer nobody but its module holds a reference
        setattr(owner, name, tensor)
