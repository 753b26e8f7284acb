"""A GPU that is not there: which tensors would be its, and what PyTorch would refuse of them.

Everything runs on the host. Tensors are told apart by where they came from: the device's are a model's, what is made
with ``device=``, what passed ``to_device``, and what was computed with one that is; all others are the host's.
"""

import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

from napari_sam_amg.sam.gpu_way import StandIn

#: What leaves the device by itself, and makes the host wait for all that the device was told before.
WAITS = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero"}
#: What NumPy sees of a tensor, which must lie on the host.
HOST_ONLY = {"numpy", "__array__", "pin_memory"}


class MixedError(AssertionError):
    """What PyTorch refuses on a machine with a GPU."""


class TwoDevices(StandIn, TorchFunctionMode):
    """Stands in for a GPU and keeps to which of the two a tensor belongs; ``waits`` counts who waits for the device."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._device: dict[int, list[weakref.ref[Tensor]]] = {}  # by where values lie: who sees them
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                self._belongs(tensor, host=False)

    def to_device(self, tensor: Tensor) -> Tensor:
        self._refuse(self.is_device(tensor), "to_device of a tensor that is there already")
        return self._belongs(_clone(tensor), host=False)

    def to_host(self, tensor: Tensor) -> Tensor:
        self._refuse(self.is_host(tensor), "to_host of a tensor of the host")
        return self._belongs(_clone(tensor), host=True)

    def is_device(self, tensor: Tensor) -> bool:
        return any(owner() is not None for owner in self._device.get(_place(tensor), ()))

    def is_host(self, tensor: Tensor) -> bool:
        """What holds nothing is of neither."""
        return _place(tensor) != 0 and not self.is_device(tensor)

    def _belongs(self, found: Any, host: bool) -> Any:
        for tensor in _tensors(found):
            place = _place(tensor)
            owners = [owner for owner in self._device.pop(place, ()) if owner() is not None]
            if place and not host:
                self._device[place] = [*owners, weakref.ref(tensor)]
        return found

    @staticmethod
    def _refuse(wrong: bool, why: str) -> None:
        if wrong:
            raise MixedError(why)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "") or str(resolve_name(func))
        given = list(_tensors((args, kwargs)))
        device = [tensor for tensor in given if self.is_device(tensor)]
        host = [tensor for tensor in given if self.is_host(tensor)]
        if name in HOST_ONLY:
            self._refuse(bool(device), f"{name} of a tensor of the device")
        if name in WAITS and device:
            self.waits[name] += 1
        moved = name in ("to", "cpu", "cuda")
        # single numbers of the host may meet tensors of the device
        strangers = [tensor for tensor in host if tensor.dim()]
        self._refuse(bool(device and strangers) and name != "copy_", f"{name} of tensors of the device and of the host")
        with torch._C.DisableTorchFunction():
            found = func(*args, **kwargs)
            if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(found)):
                return found
            if name == "copy_":
                return found
            if moved and (named := _device_named(name, args, kwargs)) is not None:
                return self._belongs(found.clone(), host=named == "host")
            if given:
                return self._belongs(found, host=not device)
            return self._belongs(found, host=kwargs.get("device") is None)


def _clone(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return tensor.clone()


def _place(tensor: Tensor) -> int:
    """Where its values lie; 0 if it has none."""
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage().data_ptr()


def _device_named(name: str, args: Any, kwargs: Any) -> str | None:
    """Where a tensor is to go; a device that is a word is meant as such, a ``torch.device`` was the model's."""
    if name != "to":
        return "host" if name == "cpu" else "device"
    for value in (*args[1:], *kwargs.values()):
        if isinstance(value, torch.device):
            return "device"
        if isinstance(value, str):
            return "host" if value == "cpu" else "device"
    return None


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
