"""The record of one file: what was read, what decided about the result, and what came of it."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import torch

from napari_sam_amg.amg.planes import plane_number
from napari_sam_amg.amg.preprocess import IntensityRange, Survey
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.batch.options import Options
from napari_sam_amg.batch.outcome import Outcome
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import describe_run, versions


def run_settings(model: Model, params: AmgParameters, options: Options) -> dict[str, Any]:
    """All that decides about the result, besides the input."""
    intensities = options.intensities
    settings = {
        "channel": options.channel,
        "series": options.series,
        "intensities": None if intensities is None else [intensities.low, intensities.high],
    } | options.geometry.record()
    if "zarr" in options.formats:
        settings["ngff_version"] = options.ngff_version
    return describe_run(model, params) | settings


def file_record(
    source: SourceImage, surveyed: Survey | None, model: Model, options: Options, outcome: Outcome
) -> dict[str, Any]:
    """All but the settings, and which outputs there are."""
    data = source.raw.data
    return {
        "input": {
            "shape": list(data.shape),
            "axes": source.raw.axes,
            "dtype": str(data.dtype),
        },
        "planes": len(source.stack.indices),
        "plane_size": list(source.stack.plane_size),
        "channel": source.channel,
        "note": source.note,
        "intensities": _intensities(options.intensities, surveyed),
        "crop_layer_chosen_on": _chosen_on(surveyed, outcome.asked),
        "empty_planes": [plane_number(index) for index in outcome.empty],
        "problems": [{"plane": plane_number(index), "reason": reason} for index, reason in outcome.problems.items()],
        "stack_axes": source.stack_axes,
        "plane_axes": source.plane_axes,
        "pixel_size_um": source.sizes(source.plane_axes),
        "z_spacing_um": source.raw.micrometres("Z"),
        "spacings": {
            letter: dataclasses.asdict(known)
            for letter in source.axes
            if (known := source.raw.spacing(letter)) is not None
        },
        "device": str(getattr(model, "device", "unknown")),
        "threads": getattr(model, "threads", torch.get_num_threads()),
        "parameters_used": dataclasses.asdict(outcome.params),
        "point_search_note": outcome.asked.note_on(outcome.params),
        "parts_done_before": outcome.continued,
        "masks": outcome.masks,
        "labels": outcome.labels,
        "objects": outcome.objects,
        "labels_cut_by_crops": outcome.cut,
        "objects_too_large_for_crops": outcome.too_large,
        "seconds": round(outcome.seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def _chosen_on(surveyed: Survey | None, params: AmgParameters) -> int | list[int] | None:
    """The plane of a stack by which ``crop_layers="auto"`` chose."""
    if params.crop_layers != "auto" or surveyed is None or not surveyed.fullest:
        return None
    return plane_number(surveyed.fullest)


def _intensities(given: IntensityRange | None, surveyed: Survey | None) -> dict[str, Any]:
    """What is black and white, and what was looked at to find that."""
    if given is not None:
        return {"from": "given", "low": given.low, "high": given.high}
    assert surveyed is not None
    return {"from": "percentiles"} | surveyed.record()
