"""Tracks as napari and the Cell Tracking Challenge have them."""

import io

import numpy as np
import pandas as pd
from napari.layers import Tracks

from napari_sam_amg.objects.tracks import challenge_tracks, track_graph, track_points
from tests.objects.discs import T, linked, plane

FRAMES = [[(60, 50, 16), (20, 20, 7)]] * 3 + [[(50, 50, 9), (70, 50, 9), (20, 22, 7)]] * 3 + [[(100, 20, 8)]]


def tracks():
    return linked([plane(at, discs) for at, discs in enumerate(FRAMES)], T)


def test_napari_takes_the_tracks_as_they_are():
    labels, sections, objects = tracks()
    points, graph = track_points(sections), track_graph(objects)
    layer = Tracks(points, graph=graph)
    assert sorted(np.unique(layer.data[:, 0]).astype(int)) == objects["index"].tolist()
    assert {int(k): [int(v) for v in vs] for k, vs in layer.graph.items()} == graph
    mother = labels[0, 50, 60]
    assert graph == {int(labels[4, 50, x]): [int(mother)] for x in (50, 70)}
    for id, t, y, x in points:
        assert labels[int(t), round(y), round(x)] == id
    assert len(points) == len(sections)


def test_planes_of_other_axes_are_among_the_coordinates():
    _, sections, _ = linked([plane((t, z), [(30, 30, 9)]) for z in range(2) for t in range(3)], T, axis=0)
    points = track_points(sections, 2)
    assert points[:, :3].astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [1, 2, 0], [2, 0, 1], [2, 1, 1], [2, 2, 1]]


def test_tracks_of_the_challenge_are_read_back():
    labels, _, objects = tracks()
    rows = pd.read_csv(io.StringIO(challenge_tracks(objects)), sep=" ", header=None, names=list("LBEP"))
    assert rows["L"].tolist() == list(range(1, 1 + len(rows)))
    for id, begin, end, parent in rows.to_numpy():
        assert np.flatnonzero((labels == id).any(axis=(1, 2))).tolist() == list(range(begin, end + 1))
        assert parent == 0 or rows.loc[parent - 1, "E"] == begin - 1
    assert rows["P"].tolist().count(labels[0, 50, 60]) == 2
    assert challenge_tracks(objects).endswith("\n")
    assert challenge_tracks(objects.iloc[:0]) == ""
