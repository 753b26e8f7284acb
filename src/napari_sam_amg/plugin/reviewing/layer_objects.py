"""The objects of one result layer in the window: which are chosen, which are looked for, which are shown."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary, ref

import numpy as np
import pandas as pd
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_sam_amg.plugin.reviewing.shown_alone import alone, everything
from napari_sam_amg.review.row_filter import matching_rows
from napari_sam_amg.review.rows import has_values


class LayerObjects(QObject):
    """One for each result layer, see :func:`layer_objects`. Main thread only."""

    chosen_changed = Signal(bool)  # whether it came from a table
    looked_for = Signal()  # what is looked for, or shown, has changed

    def __init__(self, layer: Labels) -> None:
        super().__init__()
        self._layer = ref(layer)
        self._chosen: tuple[int, ...] = ()  # ids, the one chosen last at the end; some may be gone, and come back
        self._label = int(layer.selected_label)
        self.text = ""  # the filter
        self.problem = ""  # what is wrong with it
        self.is_alone = False  # whether other objects are hidden
        self.is_in_table = False  # while a table tells what was chosen there
        self._is_choosing = False
        layer.events.selected_label.connect(self._follow_label)
        layer.events.colormap.connect(self._follow_colours)

    @property
    def layer(self) -> Labels | None:
        return self._layer()

    @property
    def chosen(self) -> tuple[int, ...]:
        """Ids, the one chosen last at the end."""
        there = self.ids() if self._chosen else set()
        return tuple(label for label in self._chosen if label in there)

    def choose(self, ids: Iterable[int], from_table: bool = False) -> None:
        """These are chosen; napari's own selected label is the last of them."""
        chosen, layer = tuple(dict.fromkeys(ids)), self.layer
        if layer is None or self._is_choosing:
            return
        self._is_choosing = True
        try:
            if chosen and not from_table:
                layer.selected_label = chosen[-1]
        finally:
            self._is_choosing = False
        if chosen != self._chosen or not from_table:
            self._chosen = chosen
            self.chosen_changed.emit(from_table)

    def choose_in_table(self, ids: list[int]) -> None:
        """By napari's table, which has told the layer already."""
        layer = self.layer
        if layer is not None:
            last = [label for label in ids if label == layer.selected_label]
            self.choose([*(label for label in ids if label not in last), *last], from_table=True)

    def toggle(self, label: int) -> None:
        """Choose one more, or no longer."""
        chosen = self.chosen
        rest = [one for one in chosen if one != label]
        self.choose(rest if label in chosen else [*rest, label])

    def _follow_label(self) -> None:
        """The label was chosen elsewhere: picked, typed, or by a key."""
        layer = self.layer
        if layer is None:
            return
        before, self._label = self._label, int(layer.selected_label)
        is_new = self._label != before  # napari tells it of other colours, too
        if is_new and not self._is_choosing and not self.is_in_table:
            self.choose([self._label] if self._label in self.ids() else [])

    def ids(self) -> set[int]:
        """All objects that there are."""
        layer = self.layer
        if layer is None:
            return set()
        table = layer.features
        return set(table["index"].to_numpy(np.int64)[has_values(table)].tolist()) if "index" in table else set()

    def look_for(self, text: str) -> None:
        """Filter the rows; ``problem`` says what is wrong with the text, and then all rows are shown."""
        self.text = text.strip()
        self._tell()

    def show_alone(self, is_alone: bool) -> None:
        """Hide what does not match."""
        self.is_alone = is_alone
        self._tell()

    def look_again(self) -> None:
        """The table has changed."""
        if self.text:
            self._tell()

    def _tell(self) -> None:
        layer = self.layer
        if layer is not None:
            self.matching()
            self._colour(layer)
            self.looked_for.emit()

    def matching(self) -> NDArray[np.bool_] | None:
        """(rows of the layer's table,) which match; None while nothing is looked for, or the filter is wrong."""
        layer = self.layer
        if layer is None or not self.text:
            self.problem = ""
            return None
        return self._matching(layer.features)

    def _matching(self, table: pd.DataFrame) -> NDArray[np.bool_] | None:
        try:
            found = matching_rows(table, self.text) & has_values(table)
        except ValueError as error:
            self.problem = str(error)
            return None
        self.problem = ""
        return found

    def rows_shown(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows napari's table shows of ``table``, the layer's own or about to become it."""
        found = self._matching(table) if self.text else None
        return has_values(table) if found is None else found

    def _colour(self, layer: Labels) -> None:
        found = self.matching()
        plain = everything(layer.colormap)
        wanted = plain if found is None or not self.is_alone else alone(plain, found)
        if wanted is not layer.colormap:
            self._is_choosing = True  # napari says that the label was chosen, whenever colours change
            try:
                layer.colormap = wanted
            finally:
                self._is_choosing = False

    def _follow_colours(self) -> None:
        """Other colours, as by napari's shuffling: what is hidden stays so."""
        layer = self.layer
        if (
            layer is not None
            and not self._is_choosing
            and self.is_alone
            and everything(layer.colormap) is layer.colormap
        ):
            self._colour(layer)


_objects: "WeakKeyDictionary[Labels, LayerObjects]" = WeakKeyDictionary()


def layer_objects(layer: Labels) -> LayerObjects:
    """Those of a layer; made when they are first asked for."""
    if layer not in _objects:
        _objects[layer] = LayerObjects(layer)
    return _objects[layer]
