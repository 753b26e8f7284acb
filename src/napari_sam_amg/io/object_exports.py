"""The files of objects through a stack: their table, and through time their tracks."""

from pathlib import Path

import pandas as pd

from napari_sam_amg.amg.table import joined, plane_columns
from napari_sam_amg.objects.tracks import challenge_tracks
from napari_sam_amg.run import PlaneResult


class ObjectsCsv:
    """A row for each object, in order of id. They are few beside their cross-sections, and kept until the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: list[pd.DataFrame] = []

    def add(self, result: PlaneResult) -> None:
        assert result.objects is not None
        if len(result.objects) or not self._tables:
            self._tables.append(result.objects)

    @property
    def table(self) -> pd.DataFrame:
        return joined(self._tables).sort_values("index", ignore_index=True)

    def finish(self) -> None:
        self.table.to_csv(self.path, index=False)


class ChallengeTracks(ObjectsCsv):
    """``res_track.txt`` as the Cell Tracking Challenge has it."""

    def finish(self) -> None:
        self.path.write_text(challenge_tracks(self.table), "ascii")


class TracksCsv:
    """The points of napari's Tracks layer as they come: id, the stack's axes, and the centre of the cross-section.

    The columns are named by letters of axes, in the order of the layer's data.
    """

    def __init__(self, path: Path, axes: str) -> None:
        self.path, self._letters = path, axes.lower()
        pd.DataFrame(columns=["id", *self._letters]).to_csv(path, index=False)

    def add(self, result: PlaneResult) -> None:
        centre = [f"centroid_{letter}" for letter in self._letters[-2:]]
        columns = ["index", *plane_columns(len(result.index)), *centre]
        result.features[columns].to_csv(self.path, index=False, header=False, mode="a")

    def finish(self) -> None:
        pass
