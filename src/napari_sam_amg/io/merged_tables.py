"""The tables of many files as one, with a column that names the file. Rows are copied one by one, as they stand."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FILE_COLUMN = "file"


def merge_tables(tables: Sequence[tuple[str, Path]], target: Path) -> None:
    """Write one CSV file of several, each given with the name of what it is about.

    Columns are those of all tables, in the order in which they come; where a table lacks one, nothing is written.
    Raises ``OSError`` for a table that cannot be read.
    """
    columns = list(dict.fromkeys(column for _, path in tables for column in _header(path)))
    with target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator=os.linesep)
        writer.writerow([FILE_COLUMN, *columns])
        for name, path in tables:
            with _rows(path) as rows:
                places = {column: place for place, column in enumerate(next(rows, []))}
                writer.writerows([name, *_picked(row, places, columns)] for row in rows)


def is_merged(path: Path) -> bool:
    """Whether a file is one of these."""
    return _header(path)[:1] == [FILE_COLUMN]


def _picked(row: list[str], places: dict[str, int], columns: Iterable[str]) -> list[str]:
    return [row[places[column]] if column in places else "" for column in columns]


def _header(path: Path) -> list[str]:
    with _rows(path) as rows:
        return next(rows, [])


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[list[str]]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield csv.reader(file)
