"""The table with the rows of some objects measured again, and where each object comes from: the model, or hands."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.review.edits import HandEdits
from napari_sam_amg.review.rows import placed

ORIGIN = "origin"
MODEL, EDITED, MERGED, DRAWN = "model", "edited by hand", "merged by hand", "drawn by hand"
#: What is known of a mask that the model gave, and of no other.
SCORES = (
    "predicted_iou", "stability_score", "least_predicted_iou", "least_stability_score", "weakest_link", "mask_area",
    "visible_fraction", "cut_by_crop", "point_y", "point_x", "parent", "filled_planes",
)  # fmt: skip

#: Beginnings of names, by how often they are looked at; columns that are measured on demand come after the scores.
_USE = (
    ("index",), ("parent",), ("plane", "first_plane", "last_plane"), ("area", "volume", "surface"),
    ("predicted_iou", "stability_score", "least_", "weakest_link"), (ORIGIN,), (), ("centroid_",), ("bbox_",),
    ("filled_planes", "visible_fraction", "mask_area", "cut_by_crop"), ("point_",),
)  # fmt: skip


def in_order_of_use(columns: Iterable[str]) -> list[str]:
    """Names of columns, those that are read most first, and the prompt last."""
    on_demand = _USE.index(())

    def rank(name: str) -> int:
        return next((at for at, starts in enumerate(_USE) if starts and name.startswith(starts)), on_demand)

    return sorted(columns, key=rank)


def origins(ids: Iterable[int], edits: HandEdits, unknown: Mapping[int, str] | None = None) -> list[str]:
    """Where each object comes from. ``unknown``: of objects that somebody changed without any step."""
    drawn, merged, touched = edits.drawn, edits.merged, edits.touched
    if unknown:
        drawn |= {label for label, origin in unknown.items() if origin == DRAWN}
        touched |= set(unknown)
    return [DRAWN if i in drawn else MERGED if i in merged else EDITED if i in touched else MODEL for i in ids]


def mended(
    table: pd.DataFrame,
    found: Mapping[int, Mapping[str, float] | None],
    known: pd.DataFrame,
    edits: HandEdits,
    stale: Iterable[str] = (),
    unknown: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """The table with the rows of some objects measured again; in order of id.

    ``found``: by id what was measured of it, None if it is gone. ``known``: the rows that the model's own masks had
    (column "index"), from which an object that is as it was has its scores again. A column "origin" tells model and
    hands apart. ``stale``: columns that are NaN for these objects, until they are measured again. ``unknown``: as
    in :func:`origins`.
    """
    ids = np.array([label for label, row in found.items() if row is not None], np.int64)
    measured_rows = pd.DataFrame([found[label] for label in ids.tolist()])
    if table.shape[1] == 1:  # labels that came without a table
        table = table.reindex(columns=["index", *measured_rows.columns])
    names = [name for name in table.columns if name not in ("index", ORIGIN)]
    own = known[known["index"].isin(ids)]
    order = np.argsort(ids)
    at = order[np.searchsorted(ids, own["index"], sorter=order)]
    own = own.drop(columns=[*stale, *measured_rows.columns], errors="ignore")
    new = pd.DataFrame(placed([(own, at), (measured_rows, np.arange(len(ids)))], len(ids), names))
    new[ORIGIN] = origins(ids.tolist(), edits, unknown)
    _without_scores(new)
    return _replaced(table[~table["index"].isin(list(found))], new, ids)


def _replaced(rest: pd.DataFrame, new: pd.DataFrame, ids: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of both, ``ids`` those of the new ones."""
    rest = rest.assign(**{ORIGIN: rest[ORIGIN].fillna(MODEL) if ORIGIN in rest else MODEL})
    others = rest["index"].to_numpy(np.int64)
    order = np.sort(np.concatenate([others, ids]))
    names = [str(name) for name in rest.columns if name != "index"]
    parts = [(rest, np.searchsorted(order, others)), (new, np.searchsorted(order, ids))]
    columns = {"index": order} | placed(parts, len(order), names)
    return pd.DataFrame({name: columns[name] for name in in_order_of_use(columns)})


def _without_scores(rows: pd.DataFrame) -> None:
    """Nothing is predicted of what the model did not propose; an edited object keeps the scores of its mask."""
    no_mask = rows[ORIGIN].isin([DRAWN, MERGED])
    for name in (name for name in SCORES if name in rows):
        rows[name] = rows[name].where(~no_mask)
    if "visible_fraction" in rows:
        rows["visible_fraction"] = rows["visible_fraction"].where(rows[ORIGIN] == MODEL)
