"""A look at all planes, kept with the work: what it says in the journal, the pixels that it keeps in a file beside."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.preprocess import IntensityRange, Survey

PARTS = "parts.npz"


def survey_record(survey: Survey) -> dict[str, Any]:
    """As JSON has it, without pixels."""
    low, high = survey.intensities.low, survey.intensities.high
    return {
        "intensities": [low, high],
        "shown": survey.shown,
        "planes": survey.planes,
        "step": survey.step,
        "fullest": survey.fullest,
        "problems": list(survey.problems.items()),
        "margins": list(survey.margins.items()),
        "parts": len(survey.parts),
        "without_data": list(survey.without_data.items()),
    }


def survey_of(record: Mapping[str, Any], folder: Path) -> Survey | None:
    """What the journal of this folder says of a look at all planes; None if nobody had to look."""
    if not record:
        return None
    return Survey(
        IntensityRange(*record["intensities"]),
        tuple(tuple(index) for index in record["shown"]),
        record["planes"],
        record["step"],
        None if record["fullest"] is None else tuple(record["fullest"]),
        None,
        {tuple(index): reason for index, reason in record["problems"]},
        parts=_parts(record, folder) or (),
        margins={tuple(index): margin for index, margin in record["margins"]},
        without_data={tuple(index): count for index, count in record.get("without_data", ())},
    )


def parts_are_kept(record: Mapping[str, Any], folder: Path) -> bool:
    """Whether all is there that a look has kept of the pixels of large planes."""
    return not record or _parts(record, folder) is not None


def _parts(record: Mapping[str, Any], folder: Path) -> tuple[NDArray[Any], ...] | None:
    """None if they are not as they were."""
    if not record["parts"]:
        return ()
    try:
        with np.load(folder / PARTS, allow_pickle=False) as file:
            return tuple(file[f"arr_{number}"] for number in range(record["parts"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_parts(parts: Sequence[NDArray[Any]], folder: Path) -> None:
    """What is to be seen where most is: by that the tiles are chosen, here or by another process."""
    draft = folder / f"draft-{PARTS}"
    np.savez(draft, *parts)
    draft.replace(folder / PARTS)
