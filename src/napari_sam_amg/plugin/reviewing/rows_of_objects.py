"""Which rows of napari's features table are shown, and in which order: worked out by whole columns.

In place of napari's own model between table and view, which needs a row for every number up to the highest label, since
it takes the row's number for the label, and sorts by comparing cells in Python: 12,000 rows in seconds, here in .01 s.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractItemModel, QAbstractProxyModel, QModelIndex, QObject, Qt

LAYER_COLUMN = "Layer"  # the table's first one where several layers are selected; the next is the label
NOWHERE = QModelIndex()


class RowsOfObjects(QAbstractProxyModel):
    """``rule``: which rows of the table are shown, (n,); None: all."""

    def __init__(self, parent: QObject, rule: Callable[[pd.DataFrame], NDArray[np.bool_] | None]) -> None:
        super().__init__(parent)
        self._rule = rule
        self._sorted_by: tuple[int, Qt.SortOrder] = (-1, Qt.SortOrder.AscendingOrder)
        self._rows = np.empty(0, np.int64)  # of the table, as they are shown
        self._places = np.empty(0, np.int64)  # of the table's rows among those that are shown; -1: nowhere
        self._held: list[tuple[QModelIndex, int]] = []  # cells that the view holds on to, and their rows of the table

    @property
    def table(self) -> pd.DataFrame:
        """What napari's model shows."""
        table: pd.DataFrame = self.sourceModel().df  # type: ignore[union-attr]
        return table

    def setSourceModel(self, model: QAbstractItemModel | None) -> None:
        super().setSourceModel(model)
        if model is not None:
            model.layoutAboutToBeChanged.connect(self._hold)
            model.layoutChanged.connect(self._lay_out)
            model.dataChanged.connect(self._tell_changed)
            self._hold()
            self._lay_out()

    def forget(self) -> None:
        """The rule may have changed."""
        if not np.array_equal(self._wanted(), self._rows):
            self._hold()
            self._lay_out()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted_by = column, order
        self.forget()

    def _wanted(self) -> NDArray[np.int64]:
        table, (column, order) = self.table, self._sorted_by
        accepted = self._rule(table)
        is_known = accepted is not None and len(accepted) == len(table)
        rows = np.flatnonzero(accepted) if is_known else np.arange(len(table))  # type: ignore[arg-type]
        if not 0 <= column <= table.shape[1] or not len(rows):
            return rows
        ranks = _ranks(self._cells(column))[rows]
        return rows[np.argsort(ranks if order == Qt.SortOrder.AscendingOrder else -ranks, kind="stable")]

    def _cells(self, column: int) -> "pd.Series[Any]":
        """Those of a column of the view: the label comes first, or after the layer."""
        table = self.table
        labels = 1 if table.columns[:1].tolist() == [LAYER_COLUMN] else 0
        if column == labels:
            return pd.Series(table.index)
        return table.iloc[:, column - (column > labels)]

    def _hold(self, *_: Any) -> None:
        self.layoutAboutToBeChanged.emit()
        rows = self._rows.tolist()
        self._held = [(cell, rows[cell.row()]) for cell in self.persistentIndexList() if cell.row() < len(rows)]

    def _lay_out(self, *_: Any) -> None:
        self._rows = self._wanted()
        self._places = np.full(len(self.table), -1)
        self._places[self._rows] = np.arange(len(self._rows))
        cells = [cell for cell, _ in self._held]
        self.changePersistentIndexList(cells, [self._place(row, cell.column()) for cell, row in self._held])
        self._held = []
        self.layoutChanged.emit()

    def _place(self, row: int, column: int) -> QModelIndex:
        """Of a cell of the table."""
        place = int(self._places[row]) if row < len(self._places) else -1
        return self.createIndex(place, column) if place >= 0 and column < self.columnCount() else QModelIndex()

    def _tell_changed(self, first: QModelIndex, last: QModelIndex, roles: Any = ()) -> None:
        """Cells were edited in the table."""
        if len(self._rows):
            end = self.createIndex(len(self._rows) - 1, last.column())
            self.dataChanged.emit(self.createIndex(0, first.column()), end, list(roles))

    def rowCount(self, parent: QModelIndex = NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = NOWHERE) -> int:
        source = self.sourceModel()
        return 0 if parent.isValid() or source is None else source.columnCount()

    def index(self, row: int, column: int, parent: QModelIndex = NOWHERE) -> QModelIndex:
        is_there = 0 <= row < self.rowCount(parent) and 0 <= column < self.columnCount(parent)
        return self.createIndex(row, column) if is_there else QModelIndex()

    def parent(self, child: QModelIndex | None = None) -> Any:
        return super().parent() if child is None else QModelIndex()

    def mapToSource(self, proxy: QModelIndex) -> QModelIndex:
        source = self.sourceModel()
        if source is None or not proxy.isValid() or proxy.row() >= len(self._rows):
            return QModelIndex()
        return source.index(int(self._rows[proxy.row()]), proxy.column())

    def mapFromSource(self, source: QModelIndex) -> QModelIndex:
        return self._place(source.row(), source.column()) if source.isValid() else QModelIndex()

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        source = self.sourceModel()
        if source is None or (orientation == Qt.Orientation.Vertical and section >= len(self._rows)):
            return None
        is_row = orientation == Qt.Orientation.Vertical
        return source.headerData(int(self._rows[section]) if is_row else section, orientation, role)


def _ranks(cells: "pd.Series[Any]") -> NDArray[np.int64]:
    """Of each row, the place of its cell in order; text in whatever case, and what is missing last."""
    if not isinstance(cells.dtype, np.dtype) or cells.dtype == object:
        cells = cells.astype(object).where(cells.isna(), cells.astype(str).str.lower())
    return np.asarray(cells.rank(method="dense", na_option="bottom"), np.int64)
