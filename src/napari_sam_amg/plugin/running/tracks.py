"""A Tracks layer beside the labels of objects that were followed through time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from napari.layers import Tracks
from numpy.typing import NDArray

from napari_sam_amg.plugin.running.source import SourceLayer


def make_tracks(sections: Sequence[pd.DataFrame], objects: pd.DataFrame, source: SourceLayer) -> Tracks:
    """Through the centres of the cross-sections, where the labels lie; daughters are joined to what divided.

    ``sections``: columns index, the stack's axes, and the centre down and to the right.
    """
    data, graph = track_data(sections, objects, source)
    return Tracks(data, graph=graph, name=f"{source.name} tracks", **source.geometry.arguments())


def section_columns(axes: int) -> list[str]:
    """Of the table of a plane, what tracks are made of; ``axes``: of the stack."""
    from napari_sam_amg.amg.table import plane_columns

    return ["index", *plane_columns(axes), "centroid_y", "centroid_x"]


def track_data(
    sections: Sequence[pd.DataFrame], objects: pd.DataFrame, source: SourceLayer
) -> tuple[NDArray[np.float64], dict[int, list[int]]]:
    """What napari's tracks layer takes, as for :func:`make_tracks`."""
    from napari_sam_amg.objects.tracks import track_graph  # needs torch, which the worker has by now

    points = np.concatenate([table.to_numpy(np.float64) for table in sections])
    return _in_layer(points, source), track_graph(objects)


def _in_layer(points: NDArray[np.float64], source: SourceLayer) -> NDArray[np.float64]:
    """(n, 1 + D) id and position along every axis of the layer, sorted by id and then by plane; 0 along channels."""
    axes = source.axes
    places = [*axes.stack, *axes.plane]
    data = np.zeros((len(points), 1 + axes.ndim))
    data[:, 0] = points[:, 0]
    data[:, 1 + np.array(places)] = points[:, 1:]
    return data[np.lexsort((*points.T[len(axes.stack) : 0 : -1], points[:, 0]))]
