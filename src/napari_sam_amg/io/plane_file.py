"""Labels of planes on the disk until all are there, given back as the pages of an image whose axes lie otherwise."""

import zlib
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 256 * 2**20  # of pages that are put together at once, where planes lie across them

Span = tuple[int, int]


class PlaneFile:
    """Planes come in any order, whole or some rows at a time; one that never comes has no labels, and one that comes
    again replaces the first.

    ``shape`` is that of the planes' stack and then of a plane; ``order`` says for each axis of the image which of
    these it is. The file is written and read, not mapped into memory, where a full disk would end the process without
    a word.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], order: tuple[int, ...]) -> None:
        self.path, self._own_shape, self._order = path, shape, order
        self._stack = len(shape) - 2
        self._last: tuple[tuple[tuple[int, ...], Span], NDArray[np.int32]] | None = None
        self._places: dict[tuple[int, ...], dict[Span, Span]] = {}  # of rows of each plane: offset and bytes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return tuple(self._own_shape[axis] for axis in self._order)

    def add(self, index: tuple[int, ...], labels: NDArray[np.int32], rows: Span | None = None) -> None:
        """``rows``: the first of those that ``labels`` has, and the first one behind; None: it is the plane."""
        with self.path.open("ab") as file:
            # The fastest level: what is packed here is unpacked once, and repeated background shrinks at any.
            packed = zlib.compress(labels.astype(np.int32).tobytes(), 1)
            place = {rows or (0, len(labels)): (file.tell(), len(packed))}
            self._places[index] = place if rows is None else self._places.get(index, {}) | place
            file.write(packed)

    def pages(self) -> Iterator[NDArray[np.int32]]:
        """The last two axes of the image, for all positions of the others in C order."""
        for box in self._boxes():
            yield from self._block(box).reshape(-1, *self.shape[-2:])

    def tiles(self, side: int) -> Iterator[NDArray[np.int32]]:
        """All pages in squares of ``side`` px, row by row, filled up with zeros: a row of them in memory at a time.

        Planes must be the image's pages.
        """
        height, width = self.shape[-2:]
        for index in np.ndindex(self.shape[:-2]):
            for top in range(0, height, side):
                band = np.zeros((side, -(-width // side) * side), np.int32)
                rows = self._rows(index, top, min(top + side, height))
                band[: len(rows), :width] = rows
                yield from (band[:, left : left + side] for left in range(0, width, side))

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def _boxes(self) -> Iterator[list[Span]]:
        """Pages that follow each other, as a span of each axis before theirs: one, or many where planes cross them."""
        lengths, rooms = self.shape[:-2], []
        room = max(1, BLOCK_BYTES // (4 * prod(self.shape[-2:])))
        if set(self._order[-2:]) == {self._stack, self._stack + 1}:
            room = 1
        for length in reversed(lengths):
            rooms.append(min(length, room))
            room = room // length
            room = max(1, room)
        steps = [range(0, length, step) for length, step in zip(lengths, reversed(rooms), strict=True)]
        for starts in product(*steps):
            yield [
                (start, min(start + span.step, length))
                for start, span, length in zip(starts, steps, lengths, strict=True)
            ]

    def _block(self, box: list[Span]) -> NDArray[np.int32]:
        spans = [*box, *((0, length) for length in self.shape[-2:])]
        block = np.zeros([stop - start for start, stop in spans], np.int32)
        of_own = dict(zip(self._order, spans, strict=True))
        down, right = (slice(*of_own[self._stack + axis]) for axis in range(2))
        turned = self._order.index(self._stack) > self._order.index(self._stack + 1)
        for index in product(*(range(*of_own[axis]) for axis in range(self._stack))):
            if index in self._places:
                part = self._plane(index)[down, right]
                where: list[int | slice] = [
                    index[axis] - of_own[axis][0] if axis < self._stack else slice(None) for axis in self._order
                ]
                block[tuple(where)] = part.T if turned else part
        return block

    def _plane(self, index: tuple[int, ...]) -> NDArray[np.int32]:
        return self._rows(index, 0, self._own_shape[-2])

    def _rows(self, index: tuple[int, ...], start: int, stop: int) -> NDArray[np.int32]:
        """Some rows of a plane."""
        width = self._own_shape[-1]
        rows = np.zeros((stop - start, width), np.int32)
        for first, behind in self._places.get(index, {}):
            if first < stop and behind > start:
                part = self._stored(index, (first, behind))
                rows[max(first - start, 0) : behind - start] = part[max(start - first, 0) : stop - first]
        return rows

    def _stored(self, index: tuple[int, ...], rows: Span) -> NDArray[np.int32]:
        """What came together; the last is kept, since rows are asked for one after another."""
        if self._last is None or self._last[0] != (index, rows):
            offset, size = self._places[index][rows]
            with self.path.open("rb") as file:
                file.seek(offset)
                part = np.frombuffer(zlib.decompress(file.read(size)), np.int32).reshape(-1, self._own_shape[-1])
            self._last = (index, rows), part
        return self._last[1]
