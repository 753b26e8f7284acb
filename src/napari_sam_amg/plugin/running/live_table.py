"""The table of the layer that a run fills, as it grows."""

from typing import TYPE_CHECKING

import pandas as pd
from napari.layers import Tracks

from napari_sam_amg.plugin.reviewing.layer_table import beside
from napari_sam_amg.plugin.running.landed import Landed
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.plugin.running.tracks import make_tracks, section_columns

if TYPE_CHECKING:
    from napari_sam_amg.run import PlaneResult


class LiveTable:
    """``landed``: with the rows of earlier results that stay, if there are such."""

    def __init__(self, source: SourceLayer, landed: Landed) -> None:
        self._source, self._landed = source, landed
        self._tables: list[pd.DataFrame] = []  # the joined table of some planes, and those of the rest
        self._sections: list[pd.DataFrame] = []  # where objects through time are in each plane
        self._highest = 0  # label
        self._is_linked = False

    @property
    def is_empty(self) -> bool:
        return not self._tables

    @property
    def has_tracks(self) -> bool:
        return bool(self._sections)

    def take(self, result: "PlaneResult") -> None:
        """Rows of labels: of cross-sections, or of the objects that are complete."""
        from napari_sam_amg.amg.table import of_plane_axes  # needs torch, which the worker has by now

        table = result.features
        self._highest = max(self._highest, int(table["index"].max()) if len(table) else 0)
        if result.objects is not None:
            self._is_linked = True
            columns = section_columns(len(result.index))
            self._sections += [table[columns]] if result.params.link == "t" else []
            table = result.objects
        through = self._source.through(result.params)
        self._tables.append(of_plane_axes(table, self._source.plane_axes, through))

    def features(self) -> pd.DataFrame:
        """Features of all finished planes, as napari wants them.

        Floats are 64-bit, since napari's status bar takes no other NaN, the background's, for one.
        """
        from napari_sam_amg.amg.table import (  # needs torch, which the worker has by now
            joined,
            rows_up_to,
            with_background,
        )

        # what was joined stays joined, so that a long stack is not joined from its start each time
        self._tables = [joined(self._tables)]
        table = self._tables[0]
        if self._landed.into is not None:
            return beside(self._landed.rest, table)
        # an object that may go on has labels, and no row yet
        table = rows_up_to(self._highest, table) if self._is_linked else with_background(table)
        return table.astype(dict.fromkeys(table.select_dtypes("float32").columns, "float64"))

    def tracks(self) -> Tracks:
        """Of objects through time, when all rows are joined."""
        return make_tracks(self._sections, self._tables[0], self._source)
