"""Which rows of a table: ``area > 50 and solidity < .8``. A small language, of which nothing else can be said.

Numbers, words in quotes, names of columns (in backticks if they are no plain words), comparisons, ``in``, arithmetic,
``and``, ``or``, ``not`` and brackets. The text is read by Python's parser and worked out here, node by node: there
are no calls, no attributes and no other names, so that a filter that came with a file can do no harm.
"""

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from napari_sam_amg.review.measures import SHAPES

LONGEST = 2000  # characters
EXAMPLE = "area > 50 and solidity < 0.8"

_COMPARISONS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_SIGNS: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_BITS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Invert)
_NUMBER, _TEXT, _TRUTH = "a number", "text", "a condition"


def matching_rows(table: pd.DataFrame, text: str) -> NDArray[np.bool_]:
    """(n,) whether each row is as ``text`` says. Nothing is compared with a value that is missing: such rows are not.

    Raises ``ValueError`` in words for people who know no Python.
    """
    readable, names = _plain_names(_with_points(text.strip()), table)
    value, kind = _Rows(table, names).value(_parsed(readable))
    if kind != _TRUTH:
        raise ValueError(f"the filter {text!r} compares nothing: write a condition such as {EXAMPLE}")
    return np.broadcast_to(np.asarray(value, bool), len(table)).copy()


def _with_points(text: str) -> str:
    """Decimal commas as points. In quotes, in backticks and in the brackets after ``in`` a comma stays one."""
    written: list[str] = []
    lists: list[bool] = []  # of each bracket that is open, whether it holds a list
    for part in re.finditer(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\bin\s*[(\[{]|.", text, re.DOTALL):
        word = part[0]
        if word[-1] in "([{":
            lists.append(len(word) > 1)
        elif word in ")]}" and lists:
            lists.pop()
        is_mark = word == "," and text[part.end() : part.end() + 1].isdigit() and not any(lists)
        written.append("." if is_mark else word)
    return "".join(written)


def _plain_names(text: str, table: pd.DataFrame) -> tuple[str, dict[str, str]]:
    """Names in backticks replaced by such as Python reads, and what each of those means."""
    names = {str(column): str(column) for column in table.columns}

    def plain(found: re.Match[str]) -> str:
        stand_in = f"column_{len(names)}_in_backticks"
        names[stand_in] = found[1]
        return stand_in

    return re.sub(r"`([^`]*)`", plain, text), names


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"the filter has {len(text)} characters: at most {LONGEST} are allowed")
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        if re.search(r"(?<![=<>!])=(?!=)", text):
            raise ValueError("write == to ask whether two things are equal") from error
        there = text[max(0, (error.offset or 1) - 1) :][:20]
        where = f"at {there!r}" if there else "to its end"
        raise ValueError(f"the filter cannot be read {where}: write a condition such as {EXAMPLE}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"the filter cannot be read: write a condition such as {EXAMPLE}") from error


class _Rows:
    """Works out an expression for all rows at once: its values, and what kind of thing they are."""

    def __init__(self, table: pd.DataFrame, names: Mapping[str, str]) -> None:
        self._table, self._names = table, names

    def value(self, node: ast.expr) -> tuple[Any, str]:
        with np.errstate(all="ignore"):
            try:
                return self._value(node)
            except RecursionError as error:
                raise ValueError("the filter has too many brackets") from error

    def _value(self, node: ast.expr) -> tuple[Any, str]:
        match node:
            case ast.Name(id=name):
                return self._column(name)
            case ast.Constant(value=constant):
                return _constant(constant)
            case ast.Compare():
                return self._compared(node), _TRUTH
            case ast.BoolOp(op=op, values=parts):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return reduce(join, [self._as(_TRUTH, part) for part in parts]), _TRUTH
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return ~self._as(_TRUTH, part), _TRUTH
            case ast.UnaryOp(op=op, operand=part) if type(op) in _SIGNS:
                return _SIGNS[type(op)](self._as(_NUMBER, part)), _NUMBER
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _ARITHMETIC[type(op)](self._as(_NUMBER, left), self._as(_NUMBER, right)), _NUMBER
        raise ValueError(_refused(node))

    def _column(self, name: str) -> tuple[Any, str]:
        column = self._names.get(name, name)
        if column not in self._table:
            raise ValueError(_no_column(column, [str(name) for name in self._table.columns]))
        values = self._table[column]
        if is_bool_dtype(values):
            return values.to_numpy(bool), _TRUTH
        if is_numeric_dtype(values):
            return values.to_numpy(np.float64, na_value=np.nan), _NUMBER
        return values.astype(object).to_numpy(), _TEXT

    def _as(self, kind: str, node: ast.expr) -> Any:
        value, found = self._value(node)
        if found != kind:
            raise ValueError(f"{_source(node, self._names)} is {found}, and {kind} is needed there")
        return value

    def _compared(self, node: ast.Compare) -> NDArray[np.bool_]:
        """``a < b < c`` as in mathematics."""
        result: Any = np.True_
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            result = result & self._pair(left, op, right)
            left = right
        return np.asarray(result, bool)

    def _pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> NDArray[np.bool_]:
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                raise ValueError("after 'in' write what to look for in brackets, as in index in (3, 5, 8)")
            nothing: Any = np.False_
            same = reduce(operator.or_, [self._pair(left, ast.Eq(), one) for one in right.elts], nothing)
            return np.asarray(same if isinstance(op, ast.In) else ~same, bool)
        if type(op) not in _COMPARISONS:
            raise ValueError("'is' is not allowed in a filter: write ==")
        (first, kind), (second, other) = self._value(left), self._value(right)
        if kind != other or (kind == _TEXT and not isinstance(op, ast.Eq | ast.NotEq)):
            words = f"{_source(left, self._names)} is {kind} and {_source(right, self._names)} is {other}"
            more = "text can be compared by == and != alone" if kind == other else "they cannot be compared"
            raise ValueError(f"{words}: {more}")
        return np.asarray(_COMPARISONS[type(op)](first, second), bool)


def _constant(constant: Any) -> tuple[Any, str]:
    if isinstance(constant, bool):
        return np.bool_(constant), _TRUTH
    if isinstance(constant, str):
        return constant, _TEXT
    if isinstance(constant, int | float):
        try:
            # NumPy's floats overflow to infinity, where Python's whole numbers would be worked out for hours
            return np.float64(constant), _NUMBER
        except OverflowError as error:
            raise ValueError("a number in the filter is too large") from error
    raise ValueError(f"{constant!r} is not allowed in a filter")


def _refused(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp | ast.UnaryOp) and isinstance(node.op, _BITS):
        return "write 'and', 'or' and 'not' in place of &, | and ~"
    text = ast.unparse(node)[:40]
    return f"{text!r} is not allowed in a filter: write a condition such as {EXAMPLE}"


def _no_column(name: str, columns: list[str]) -> str:
    if name in SHAPES:
        return f"there is no column {name!r} yet: tick it under More columns"
    close = difflib.get_close_matches(name, columns, n=1)
    guess = f" Did you mean {close[0]}?" if close else ""
    return f"there is no column {name!r}.{guess} The columns are {', '.join(columns)}"


def _source(node: ast.expr, names: Mapping[str, str]) -> str:
    text = ast.unparse(node)
    return names.get(text, text)[:40]
