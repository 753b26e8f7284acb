"""napari's own features table: where it belongs, as fast as it can be, with a row for each object and no others.

A click on a row goes to the object, and what is chosen in the table is chosen in the image.
"""

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import (
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QSignalBlocker,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QHeaderView, QMainWindow, QTableView, QToolTip, QWidget

from napari_sam_amg.plugin.reviewing.column_help import column_help
from napari_sam_amg.plugin.reviewing.layer_objects import layer_objects
from napari_sam_amg.plugin.reviewing.results import cursor_aside, go_to, is_result
from napari_sam_amg.plugin.reviewing.rows_of_objects import LAYER_COLUMN, RowsOfObjects
from napari_sam_amg.plugin.window import without_proxy

PLUGIN, WIDGET = "napari", "Features table widget"
HEIGHT, ROW = 260, 22  # px: of the table, of a row
FITTED = 12  # rows that columns are fitted to: those in sight of a table of this height
MOST_MARKED = 200  # rows: each of their cells is looked up whenever the table changes


def open_table(viewer: Viewer, layer: Labels | None) -> None:
    """That of a layer, below the image, since it has a dozen columns. napari's table shows the active layer."""
    with cursor_aside(viewer):
        viewer.layers.selection.active = layer
    dock, _ = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    window = dock.parent()
    if isinstance(window, QMainWindow) and window.dockWidgetArea(dock) != Qt.DockWidgetArea.BottomDockWidgetArea:
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
        window.resizeDocks([dock], [HEIGHT], Qt.Orientation.Vertical)
    dock.show()
    prepare_tables(viewer)


def prepare_tables(viewer: Viewer) -> None:
    """Let open tables fit their columns to some rows, and let their rows lead to the objects.

    By default Qt looks at a thousand rows, each of whose cells napari looks up in Python, whenever
    the features or the selected layer change: 0.3 s for 300 rows, 1 s from 1000 rows on. With 0, those in sight,
    it looks at all of a table that is hidden, as napari's is while an image is selected: 31 s for twice 12,100 rows.
    """
    for table in tables(viewer):
        if (header := table.horizontalHeader()) is not None:
            header.setResizeContentsPrecision(FITTED)
        if (rows := table.verticalHeader()) is not None:
            rows.setDefaultSectionSize(ROW)
        if table.findChild(ObjectRows) is None:
            ObjectRows(table, without_proxy(viewer))


def tables(viewer: Viewer) -> list[QTableView]:
    """All that are open."""
    widgets = [widget for name, widget in viewer.window.dock_widgets.items() if name.startswith(WIDGET)]
    return [table for widget in widgets if isinstance(widget, QWidget) for table in widget.findChildren(QTableView)]


def row_tables(viewer: Viewer) -> "list[ObjectRows]":
    """What was added to those that are open."""
    found = [table.findChild(ObjectRows) for table in tables(viewer)]
    return [rows for rows in found if isinstance(rows, ObjectRows)]


class ObjectRows(QObject):
    """Belongs to a table: its rows are the objects', a click on one of them, or an arrow key, goes to the object.

    napari moves the selection, too, when a label is picked in the image; the view must stay then. What
    it never moves is the current row.
    """

    def __init__(self, table: QTableView, viewer: Viewer) -> None:
        super().__init__(table)
        self._table, self._viewer = table, viewer
        self._proxy = self._put_proxy()
        self._hide_index()
        table.clicked.connect(self._go)
        if (rows := table.selectionModel()) is not None:
            # for the arrow keys; a click on the current row again is clicked alone
            rows.currentRowChanged.connect(self._go)
            if self._proxy is None:
                rows.selectionChanged.connect(self._choose)
        if isinstance(header := table.horizontalHeader(), QHeaderView) and (port := header.viewport()) is not None:
            port.installEventFilter(self)

    def _put_proxy(self) -> RowsOfObjects | None:
        """None where napari's table is built otherwise than those that are known: then it stays as it is."""
        widget, old = self._table.parent(), self._table.model()
        listener = getattr(widget, "_on_table_selection_changed", None)
        if listener is None or not isinstance(old, QSortFilterProxyModel) or not hasattr(old.sourceModel(), "df"):
            return None
        proxy = RowsOfObjects(self._table, self._rule)
        proxy.setSourceModel(old.sourceModel())
        self._table.setModel(proxy)
        rows = self._table.selectionModel()
        if rows is not None:
            # napari makes the last row's label the selected one, which must not look as if it alone were chosen
            rows.selectionChanged.connect(self._choose)
            rows.selectionChanged.connect(listener)
            rows.selectionChanged.connect(self._chosen)
        proxy.layoutChanged.connect(self._hide_index)
        proxy.layoutChanged.connect(self._mark_again)
        return proxy

    @property
    def layer(self) -> Labels | None:
        """The result layer whose rows these are; None if they are others, or those of several layers."""
        selected = [layer for layer in self._viewer.layers.selection if hasattr(layer, "features")]
        return selected[0] if len(selected) == 1 and is_result(selected[0]) else None

    def _rule(self, table: pd.DataFrame) -> NDArray[np.bool_] | None:
        """Which rows are shown of the table that has just come."""
        layer = self.layer
        return None if layer is None else layer_objects(layer).rows_shown(table)

    def filter_rows(self, layer: Labels) -> None:
        """What is looked for in a layer has changed."""
        if layer is self.layer and self._proxy is not None:
            self._proxy.forget()

    def _hide_index(self) -> None:
        """napari has a column of row numbers, which are the labels; ours says the same."""
        if self._proxy is None or (model := self._table.model()) is None:
            return
        is_ours = self.layer is not None
        for column in range(model.columnCount()):
            name = model.headerData(column, Qt.Orientation.Horizontal)
            self._table.setColumnHidden(column, is_ours and column > 0 and name == "index")

    def eventFilter(self, header: QObject | None, event: QEvent | None) -> bool:
        """What a column means, on the mouse's rest on its name."""
        if isinstance(event, QHelpEvent) and (head := self._table.horizontalHeader()) is not None:
            model, layer = self._table.model(), self.layer
            name = model.headerData(head.logicalIndexAt(event.pos()), Qt.Orientation.Horizontal) if model else None
            text = column_help(str(name)) if layer is not None and name is not None else ""
            QToolTip.showText(event.globalPos(), text, self._table)
            return bool(text)
        return False

    def _go(self, cell: QModelIndex, _: Any = None) -> None:
        found = self._object(cell) if cell.isValid() else None
        if found is not None:
            go_to(self._viewer, *found)

    def _choose(self, *_: Any) -> None:
        layer, rows = self.layer, self._table.selectionModel()
        if layer is not None and getattr(self._table.parent(), "_selection_blocked", False):
            # napari itself has selected the row of one label, as it does whenever the table changes: nobody has chosen
            self._mark_again()
            return
        if layer is not None and rows is not None and (model := self._table.model()) is not None:
            # by ranges: a row has two dozen cells
            selection = rows.selection()
            parts = [selection[number] for number in range(len(selection))]
            places = {row for part in parts for row in range(part.top(), part.bottom() + 1)}
            ids = [self._label(model.index(row, 0), 0) for row in sorted(places)]
            layer_objects(layer).choose_in_table(sorted(label for label in ids if label is not None))
            layer_objects(layer).is_in_table = self._proxy is not None

    def _chosen(self, *_: Any) -> None:
        if (layer := self.layer) is not None:
            layer_objects(layer).is_in_table = False

    def _mark_again(self) -> None:
        """Rows may have come back."""
        if (layer := self.layer) is not None:
            self.mark(layer, list(layer_objects(layer).chosen))

    def mark(self, layer: Labels, ids: list[int]) -> None:
        """Select the rows of objects that were chosen in the image; of so many that Qt would be slow, none."""
        model, rows = self._table.model(), self._table.selectionModel()
        if layer is not self.layer or model is None or rows is None or self._proxy is None:
            return
        selection, source = QItemSelection(), self._proxy.sourceModel()
        for label in ids if len(ids) <= MOST_MARKED else []:
            if source is None:
                return
            cell = self._proxy.mapFromSource(source.index(label, 0))
            if cell.isValid():
                selection.select(cell, cell.siblingAtColumn(model.columnCount() - 1))
        with QSignalBlocker(rows):  # the layer knows
            rows.select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if (port := self._table.viewport()) is not None:
            port.update()

    def show_row(self, layer: Labels, label: int) -> None:
        """Scroll to the row of an object, up or down alone."""
        source = None if self._proxy is None else self._proxy.sourceModel()
        bar = self._table.horizontalScrollBar()
        if layer is self.layer and self._proxy is not None and source is not None and bar is not None:
            at = bar.value()
            self._table.scrollTo(self._proxy.mapFromSource(source.index(label, 0)))
            bar.setValue(at)

    def _object(self, cell: QModelIndex) -> tuple[Labels, int] | None:
        """Layer and label of a row, by what the row says, since the table may be sorted."""
        layers = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        layers = [layer for layer in layers if hasattr(layer, "features")]
        model = cell.model()
        if model is None:
            return None
        several = model.headerData(0, Qt.Orientation.Horizontal) == LAYER_COLUMN
        if several:
            layers = [layer for layer in layers if layer.name == cell.sibling(cell.row(), 0).data()]
        label = self._label(cell, int(several))
        if len(layers) != 1 or not is_result(layers[0]) or label is None:
            return None
        return layers[0], label

    def _label(self, cell: QModelIndex, column: int) -> int | None:
        label = cell.sibling(cell.row(), column).data()
        return label if isinstance(label, int) else None
