"""``napari-sam-amg segment``: images, folders and stacks to labels, tables and masks."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.batch.merge import check_merged, merge
from napari_sam_amg.cli.flags import given_parameters
from napari_sam_amg.cli.from_settings import check_model, part_of, take_settings
from napari_sam_amg.cli.messages import DONE, FAILED, print_error, printable, report, say
from napari_sam_amg.io.discover import InputFile, find_inputs
from napari_sam_amg.io.point_grids import read_point_grids
from napari_sam_amg.io.staging import make_folder, remove_empty
from napari_sam_amg.models.defaults import suited
from napari_sam_amg.models.registry import EMBEDDED, CheckpointError, known_models
from napari_sam_amg.settings import Settings

if TYPE_CHECKING:
    from napari_sam_amg.amg.propose import Model
    from napari_sam_amg.batch.one_file import Batch
    from napari_sam_amg.batch.options import Options
    from napari_sam_amg.batch.outcome import Done
    from napari_sam_amg.jobs.dask_engine import Workers

_LESS_MEMORY = ": try a smaller --points-per-batch, or --device cpu"


def run(arguments: argparse.Namespace) -> int:
    settings = take_settings(arguments)
    given = given_parameters(arguments)
    if "point_grids" in given:
        given["point_grids"] = read_point_grids(given["point_grids"])
    settings.params({}, given)  # what is not allowed is said before anything is loaded
    files, bad_inputs = find_inputs(arguments.inputs, arguments.output, arguments.recursive)
    for bad in bad_inputs:
        print_error(bad.path, bad.reason)
    for file in files:
        for again in file.also:
            print_error(again, f"is the same file as {file.path}, which is segmented once", "note")
    if not files:
        return FAILED
    if part := part_of(settings.source):
        whole = "all planes are segmented whole; --range chooses planes, segment_again in Python does the part"
        print_error(arguments.settings, f"is of a part of its image, {part}: {whole}", "note")
    made = make_folder(arguments.output)
    try:
        with _workers(arguments) as workers:
            batch = _batch(arguments, settings, given, workers)
            failed = segment_all(batch, files, arguments.debug, arguments.output if arguments.merge_tables else None)
    finally:
        remove_empty(made)
    return FAILED if failed or bad_inputs else DONE


def _workers(arguments: argparse.Namespace) -> "AbstractContextManager[Workers | None]":
    """Other processes, if they are asked for."""
    if arguments.workers is None and arguments.scheduler is None:
        return nullcontext()
    if arguments.workers is not None and arguments.workers < 1:
        raise ValueError(f"workers={arguments.workers} is not allowed: it must be a whole number from 1")
    from napari_sam_amg.cli.spread import workers_for
    from napari_sam_amg.jobs.remote import ModelSpec

    name = arguments.model or EMBEDDED
    if arguments.checkpoint is not None:
        name = str(arguments.checkpoint.absolute())
    _check_name(arguments.model)
    spec = ModelSpec(name, arguments.device, arguments.precision, arguments.offline)
    return workers_for(spec, arguments.scheduler, arguments.workers)


def _batch(
    arguments: argparse.Namespace, settings: Settings, given: dict[str, Any], workers: "Workers | None"
) -> "Batch":
    """The model, once for all inputs, and the parameters that suit it."""
    from napari_sam_amg.amg.ais import check_mode
    from napari_sam_amg.amg.guided import can_guide
    from napari_sam_amg.amg.prompts import layer_grids
    from napari_sam_amg.batch.one_file import Batch

    options = _options(arguments)
    model: Model = _load_model(arguments) if workers is None else workers.model
    _check_architecture(arguments, model)
    check_model(settings, model)
    params = settings.params(model.info.amg_defaults or suited(arguments.model or ""), given)
    # what does not fit each other, or the model, fails here, not at every image
    layer_grids(params)
    check_mode(model, params)
    if params.point_search == "guided" and not can_guide(model):  # each summary says that the grid was asked
        print_error("napari-sam-amg", f"no segmentation decoder guides the search: {model.info.no_decoder}", "note")
    return Batch(model, params, options, workers)


def _load_model(arguments: argparse.Namespace) -> "Model":
    """The checkpoint if there is one, else the model that is named."""
    from napari_sam_amg.models.checkpoint import load_model

    _check_name(arguments.model)
    if arguments.checkpoint is not None:
        return load_model(arguments.checkpoint, arguments.device, precision=arguments.precision)
    return load_model(
        arguments.model or EMBEDDED,
        arguments.device,
        precision=arguments.precision,
        offline=arguments.offline,
        quiet=arguments.quiet,
    )


def _check_name(name: str | None) -> None:
    if name is not None and name not in known_models():
        raise CheckpointError(f"model={name!r} is unknown: choose one of {', '.join(known_models())}")


def _check_architecture(arguments: argparse.Namespace, model: "Model") -> None:
    """A model that is named beside a checkpoint, as the reference wants it, must be of its kind."""
    architecture, name = model.info.architecture, arguments.model
    if arguments.checkpoint is not None and name is not None and not f"{name}_".startswith(f"{architecture}_"):
        raise CheckpointError(f"{arguments.checkpoint} is a {architecture} checkpoint, not {name}: leave out --model")


def _options(arguments: argparse.Namespace) -> "Options":
    from napari_sam_amg.amg.preprocess import IntensityRange
    from napari_sam_amg.batch.options import Options
    from napari_sam_amg.io.raw_image import Geometry

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


def segment_all(batch: "Batch", files: Sequence[InputFile], debug: bool, tables_in: Path | None = None) -> int:
    """Segment one file after another; returns how many failed, if only in part.

    ``tables_in``: a folder for the tables of all files as one, if that is wanted.
    """
    if tables_in is not None:
        check_merged(files, tables_in, batch.options, batch.params.link)
    failed, there = 0, []
    for file, done in segmented(batch, files):
        if isinstance(done, Exception):  # of any kind: the other images of a night's batch are not concerned
            failed += 1
            report(file.path, done, debug, _LESS_MEMORY)
            continue
        there.append(file)
        if not batch.options.quiet:
            say(printable(done.summary))
        if done.failed:
            failed += 1
            print_error(file.path, done.failed)
    if tables_in is not None:
        there.sort(key=files.index)  # other processes may have done them in another order
        tables = merge(there, tables_in, batch.options, batch.params.link)
        if not batch.options.quiet:
            where = f"-> {', '.join(map(str, tables))}" if tables else "to merge: none is written"
            say(printable(f"tables of {len(there)} of {len(files)} files {where}"))
    return failed


def segmented(batch: "Batch", files: Sequence[InputFile]) -> "Iterator[tuple[InputFile, Done | Exception]]":
    """What became of each file."""
    if batch.workers is not None:
        from napari_sam_amg.cli.spread import spread

        yield from spread(batch, files)
        return
    for file in files:
        try:
            yield file, batch.segment(file)
        except Exception as error:
            yield file, error
