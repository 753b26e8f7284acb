"""Objects through time as others have them: napari's Tracks, and the table of tracks of the Cell Tracking Challenge."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.table import plane_columns


def track_points(sections: pd.DataFrame, axes: int = 1) -> NDArray[np.float64]:
    """(n, 1 + axes + 2) data of a napari Tracks layer: id, the plane's index along ``axes`` axes, y, x; by id and time.

    ``sections``: the features of all planes, with one id an object.
    """
    columns = ["index", *plane_columns(axes), "centroid_y", "centroid_x"]
    return sections.sort_values(columns[:-2], kind="stable")[columns].to_numpy(np.float64)


def track_graph(objects: pd.DataFrame) -> dict[int, list[int]]:
    """The graph of a napari Tracks layer: of each daughter the object that divided."""
    born = objects[objects["parent"] > 0]
    return {int(id): [int(parent)] for id, parent in zip(born["index"], born["parent"], strict=True)}


def challenge_tracks(objects: pd.DataFrame) -> str:
    """The text of ``res_track.txt``: a line L B E P for each object, its id, first and last plane, and parent or 0."""
    columns = ["index", "first_plane", "last_plane", "parent"]
    rows: Sequence[Sequence[int]] = objects.sort_values("index")[columns].to_numpy(np.int64).tolist()
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)
