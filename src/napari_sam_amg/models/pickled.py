"""What a pickle says, without doing any of it. Free of torch.

A pickle is a program: its opcodes build plain values, look up names of Python and call them. Here the plain
values are built, and every call is only noted (:class:`Made`). So nothing in a file is run, objects of libraries
that are not installed (an ``argparse.Namespace``, a NumPy scalar beside a state dict) do no harm, and memory is
bounded by the number of steps: ``torch.load(weights_only=True)`` allows calls like ``bytearray(10**11)``.
"""

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

#: The pickle of a vit_h with the state of its optimiser has 0.1 million steps. A step makes 0.2 kB at most.
MAX_STEPS = 400_000
MAX_BYTES = 8_000_000
_MAX_DIGITS = 128  # bits of a whole number; the longest that torch writes has 77
#: Made and not noted, since a state dict may be one of them; the others are Python's and NumPy's to misuse.
_PLAIN_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict")


class PickleError(ValueError):
    """A pickle that is damaged, or longer than any checkpoint's."""


@dataclass(frozen=True, slots=True)
class Name:
    """A global name of Python that the pickle refers to: "torch.FloatStorage"."""

    path: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What the pickle leaves to the file around it: a tensor's numbers."""

    pid: Any


class Made(dict[str | int, Any]):
    """An object that the pickle would have made by a call; as a dict, what would have been put into it."""

    __slots__ = ("arguments", "path")

    def __init__(self, path: str, arguments: Any) -> None:
        super().__init__()
        self.path = path
        self.arguments: tuple[Any, ...] = arguments if isinstance(arguments, tuple) else ()


class _Limited:
    """A file of which only so many bytes can be read, and no more at once than are left of them."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left = MAX_BYTES

    def read(self, size: int) -> bytes:
        return self._counted(self.file.read(min(size, self.left + 1)))

    def readline(self) -> bytes:
        return self._counted(self.file.readline(self.left + 1))

    def _counted(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise PickleError(f"the description of its content has more than {MAX_BYTES // 1_000_000} MB")
        return data


def read_pickle(file: BinaryIO, stored: list[Any] | None = None) -> Any:
    """The value that one pickle describes; ``file`` is left behind it. Raises ``PickleError``.

    ``stored`` is given every :class:`Stored` of it.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(cast(BinaryIO, _Limited(file))):
            machine.do(opcode.name, argument)
    except PickleError:
        raise
    # what damaged opcodes come to; struct's and Unicode's errors are ValueErrors, a text for a number is a TypeError
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PickleError(f"its pickle is damaged ({str(error)[:80]})") from error
    if stored is not None:
        stored += machine.stored
    return machine.result


class _Machine:
    """A stack, a memo, and what each opcode does to them. Source: ``pickletools.opcodes``."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.stored: list[Stored] = []
        self.steps = 0
        self.result: Any = None

    def do(self, opcode: str, argument: Any) -> None:
        self._count(1)
        if opcode in _PUSHED:
            if type(argument) is int and argument.bit_length() > _MAX_DIGITS:
                raise PickleError("its pickle holds an absurdly long number")
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode not in ("PROTO", "FRAME"):
            raise PickleError(f"its pickle has the unknown step {opcode}")

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise PickleError(f"the description of its content has more than {MAX_STEPS} steps")

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def taken(self, count: int) -> list[Any]:
        """The last so many values, off the stack."""
        if len(self.stack) < count:
            raise PickleError("its pickle is damaged (too few values)")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def put_items(self, keys_and_values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):  # a class that is derived from dict is filled by this step, too
            fill(target, zip(keys_and_values[::2], keys_and_values[1::2], strict=True))

    def extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is list:  # APPENDS to an object would be a call of its method: not noted, not done
            self.stack[-1].extend(values)

    def call(self, function: Any, arguments: Any) -> None:
        """Note a call; only a plain mapping is made, of pairs that count as steps, since they are copied."""
        path = function.path if isinstance(function, Name) else "an unknown class"
        if path not in _PLAIN_MAPPINGS:
            self.stack.append(Made(path, arguments))
            return
        self.stack.append({})
        if isinstance(arguments, tuple) and arguments and isinstance(arguments[0], list | dict):
            pairs = arguments[0]
            self._count(len(pairs))
            fill(self.stack[-1], pairs.items() if isinstance(pairs, dict) else pairs)

    def store(self, pid: Any) -> None:
        self.stored.append(Stored(pid))
        self.stack.append(self.stored[-1])

    def set_state(self, state: Any) -> None:
        """What a Python object would have as attributes; the metadata of a state dict is not needed."""
        if isinstance(self.stack[-1], Made) and isinstance(state, dict):
            self._count(len(state))
            fill(self.stack[-1], state.items())


def fill(target: dict[Any, Any], pairs: Iterable[Any]) -> None:
    """Put pairs in whose keys are texts or whole numbers: no other is needed, and to hash a tuple can take years."""
    target.update((key, value) for key, value in pairs if type(key) in (str, int))


def _get(machine: _Machine, index: Any) -> None:
    machine.stack.append(machine.memo[int(index)])


def _put(machine: _Machine, index: Any) -> None:
    # MEMOIZE has no index: it counts. A dict and not a list, since PUT may name any index, 2**31 - 1 too.
    machine.memo[len(machine.memo) if index is None else int(index)] = machine.stack[-1]


def _stop(machine: _Machine, _: Any) -> None:
    (machine.result,) = machine.taken(1)


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.taken(2)
    machine.stack.append(Name(f"{module:.200}.{name:.200}"))  # cut: joining is the one step that makes texts longer


def _dict(machine: _Machine, _: Any) -> None:
    items = machine.since_mark()
    machine.stack.append({})
    machine.put_items(items)


def _make(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.call(*machine.taken(count)[:2])  # NEWOBJ_EX has keyword arguments, too


def _make_marked(machine: _Machine, _: Any) -> None:
    function, *arguments = machine.since_mark()
    machine.call(function, tuple(arguments))


_PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,  # nothing that is needed is a set, and a list need not hash
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "STOP": _stop,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.taken(1).clear(),
    "POP_MARK": lambda machine, _: machine.since_mark().clear(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "GLOBAL": lambda machine, argument: machine.stack.append(Name(argument.replace(" ", ".", 1))),
    "STACK_GLOBAL": _stack_global,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.taken(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.taken(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.taken(3))),
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "FROZENSET": lambda machine, _: machine.stack.append(machine.since_mark()),
    "DICT": _dict,
    "APPEND": lambda machine, _: machine.extend(machine.taken(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.put_items(machine.taken(2)),
    "SETITEMS": lambda machine, _: machine.put_items(machine.since_mark()),
    "REDUCE": _make(2),
    "NEWOBJ": _make(2),
    "NEWOBJ_EX": _make(3),
    "OBJ": _make_marked,
    "INST": lambda machine, name: machine.call(Name(name.replace(" ", ".", 1)), tuple(machine.since_mark())),
    "BUILD": lambda machine, _: machine.set_state(machine.taken(1)[0]),
    "PERSID": lambda machine, argument: machine.store(argument),
    "BINPERSID": lambda machine, _: machine.store(machine.taken(1)[0]),
}
