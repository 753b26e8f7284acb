"""``napari-sam-amg segment``: images, folders and stacks to labels, tables and masks."""

import argparse
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.flags import given_parameters
from napari_sam_amg.cli.messages import DONE, FAILED, print_error, printable, report, say
from napari_sam_amg.io.discover import InputFile, find_inputs
from napari_sam_amg.io.point_grids import read_point_grids
from napari_sam_amg.io.staging import make_folder, remove_empty
from napari_sam_amg.models.defaults import suited
from napari_sam_amg.models.registry import EMBEDDED, known_models
from napari_sam_amg.params import merged

if TYPE_CHECKING:
    from napari_sam_amg.cli.batch import Batch, Options
    from napari_sam_amg.sam.model import Sam

_LESS_MEMORY = ": try a smaller --points-per-batch, or --device cpu"


def run(arguments: argparse.Namespace) -> int:
    given = given_parameters(arguments)
    if "point_grids" in given:
        given["point_grids"] = read_point_grids(given["point_grids"])
    merged({}, given)  # what is not allowed is said before anything is loaded
    files, bad_inputs = find_inputs(arguments.inputs, arguments.output, arguments.recursive)
    for bad in bad_inputs:
        print_error(bad.path, bad.reason)
    for file in files:
        for again in file.also:
            print_error(again, f"is the same file as {file.path}, which is segmented once", "note")
    if not files:
        return FAILED
    made = make_folder(arguments.output)
    try:
        failed = segment_all(_load(arguments, given), files, arguments.debug)
    finally:
        remove_empty(made)
    return FAILED if failed or bad_inputs else DONE


def _load(arguments: argparse.Namespace, given: dict[str, Any]) -> "Batch":
    """The model, once for all inputs, and the parameters that suit it."""
    from napari_sam_amg.amg.ais import check_mode
    from napari_sam_amg.amg.guided import can_guide
    from napari_sam_amg.amg.prompts import layer_grids
    from napari_sam_amg.cli.batch import Batch

    options = _options(arguments)
    model = _load_model(arguments)
    params = merged(model.info.amg_defaults or suited(arguments.model or ""), given)
    # what does not fit each other, or the model, fails here, not at every image
    layer_grids(params)
    check_mode(model, params)
    if params.point_search == "guided" and not can_guide(model):  # each summary says that the grid was asked
        print_error("napari-sam-amg", f"no segmentation decoder guides the search: {model.info.no_decoder}", "note")
    return Batch(model, params, options)


def _load_model(arguments: argparse.Namespace) -> "Sam":
    """The checkpoint if there is one; a model named beside it, as the reference wants it, must be of its kind."""
    from napari_sam_amg.models.checkpoint import CheckpointError, load_model

    name, checkpoint = arguments.model, arguments.checkpoint
    if name is not None and name not in known_models():
        raise CheckpointError(f"model={name!r} is unknown: choose one of {', '.join(known_models())}")
    if checkpoint is None:
        return load_model(
            name or EMBEDDED,
            arguments.device,
            precision=arguments.precision,
            offline=arguments.offline,
            quiet=arguments.quiet,
        )
    model = load_model(checkpoint, arguments.device, precision=arguments.precision)
    architecture = model.info.architecture
    if name is not None and not f"{name}_".startswith(f"{architecture}_"):
        raise CheckpointError(f"{checkpoint} is a {architecture} checkpoint, not {name}: leave out --model")
    return model


def _options(arguments: argparse.Namespace) -> "Options":
    from napari_sam_amg.amg.preprocess import IntensityRange
    from napari_sam_amg.cli.batch import Options
    from napari_sam_amg.io.raw_image import Geometry

    for name in ("pixel_size", "z_spacing"):
        given = getattr(arguments, name)
        if given is not None and not 0 < given < float("inf"):
            raise ValueError(f"{name}={given} is not allowed: it must be a positive number")
    ranges = dict(arguments.ranges or ())
    if len(ranges) < len(arguments.ranges or ()):
        raise ValueError("--range is given twice for an axis: give each axis one range")
    geometry = Geometry(
        arguments.axes or "", arguments.plane or "", tuple(ranges.items()), arguments.pixel_size, arguments.z_spacing
    )
    return Options(
        formats=frozenset(chain.from_iterable(arguments.formats or [("labels",)])),
        overlay=arguments.overlay,
        channel=arguments.channel,
        series=arguments.series,
        intensities=IntensityRange(*arguments.intensities) if arguments.intensities else None,
        geometry=geometry,
        ngff_version=arguments.ngff_version,
        overwrite=arguments.overwrite,
        skip_existing=arguments.skip_existing,
        resume=not arguments.no_resume,
        quiet=arguments.quiet,
    )


def segment_all(batch: "Batch", files: Sequence[InputFile], debug: bool) -> int:
    """Segment one file after another; returns how many failed, if only in part."""
    failed = 0
    for file in files:
        try:
            done = batch.segment(file)
        except Exception as error:  # of any kind: the other images of a night's batch are not concerned
            failed += 1
            report(file.path, error, debug, _LESS_MEMORY)
            continue
        if not batch.options.quiet:
            say(printable(done.summary))
        if done.failed:
            failed += 1
            print_error(file.path, done.failed)
    return failed
