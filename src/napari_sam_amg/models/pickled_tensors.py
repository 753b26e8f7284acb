"""The tensors that a pickle of ``torch.save`` describes, and what else is in it, in words. Free of torch."""

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.models.pickled import Made, Name, Stored

#: Bytes of a number in a storage.
SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16,
}  # fmt: skip
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QInt8Storage": "int8", "QUInt8Storage": "uint8", "QInt32Storage": "int32",
}  # fmt: skip
_REBUILD = "torch._utils._rebuild_"
_TENSORS = tuple(_REBUILD + name for name in ("tensor", "tensor_v2"))
_WRAPPED = tuple(_REBUILD + name for name in ("parameter", "parameter_with_state", "device_tensor_from_cpu_tensor"))
_MAX_SIZE = 1 << 40  # of a side of a tensor; a limit for numbers that are shown
_MAX_SIDES = 8  # of a tensor; SAM's have 4 at most
_MAX_WRAPS = 4  # of a parameter in a tensor with attributes and the like


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor of a file, its numbers still there."""

    dtype: str  # "float32"
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    storage: str  # key of its storage
    first: int  # index of its first number in the storage

    @property
    def extent(self) -> int:
        """Numbers of the storage from its first to its last."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the numbers of tensors lie."""

    dtype: str
    key: str


def storage_of(stored: Any) -> Storage | None:
    """The storage that a persistent id names; None for a type of number that no checkpoint of a SAM has."""
    match stored:
        case Stored(pid=("storage", Name(path=path), str(key), _, _, *view)) if not any(view):
            dtype = _STORAGES.get(path.rpartition(".")[2])
            return None if dtype is None else Storage(dtype, key)
    return None


def as_tensor(value: Any) -> TensorEntry | None:
    """The tensor that ``value`` of a pickle stands for; None if it is none, or of a kind that cannot be used.

    Parameters, and tensors with attributes of their own, are tensors; sparse and quantized ones are none.
    """
    for _ in range(_MAX_WRAPS):
        if not isinstance(value, Made) or not value.arguments:
            break
        if value.path in _WRAPPED:
            value = value.arguments[0]
        elif value.path != "torch._tensor._rebuild_from_type_v2":
            return _plain_tensor(value)
        else:
            function, arguments = value.arguments[0], value.arguments[2:3]
            # a tensor with attributes: the function that makes it, its type, the arguments, the attributes
            value = Made(function.path, *arguments) if isinstance(function, Name) and arguments else None
    return None


def _plain_tensor(made: Made) -> TensorEntry | None:
    match made.arguments:
        case (stored, int(first), tuple(shape), tuple(stride), *others) if made.path in _TENSORS:
            storage = storage_of(stored)
            if storage is None or len(shape) != len(stride) or len(shape) > _MAX_SIDES:
                return None
            if any(others[2:]):  # of a negative or conjugate view
                return None
            if all(type(step) is int and 0 <= step < _MAX_SIZE for step in (first, *shape, *stride)):
                return TensorEntry(storage.dtype, shape, stride, storage.key, first)
    return None


def in_words(value: Any) -> str:
    """A value of a pickle for a message, however long it is."""
    return reprlib.repr(value) if isinstance(value, str | int | float | None) else f"a {kind_of(value)}"


def in_line(name: Any) -> str:
    """A name of a pickle for a message: short, in one line, and without codes that a terminal obeys."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(name)[:100])


def some(names: Iterable[Any]) -> str:
    """The first few of many names."""
    listed = [in_line(name) for name in names]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (", ".join(listed[:3]) + more) if listed else "none"


def kind_of(value: Any) -> str:
    """What ``value`` of a pickle is, for people: "int", "torch.nn.modules.linear.Linear"."""
    if as_tensor(value) is not None:
        return "tensor"
    if isinstance(value, Made):
        return in_line(value.path.removeprefix(_REBUILD))
    return "storage" if isinstance(value, Stored) else type(value).__name__
