"""The command ``napari-sam-amg``: no traceback, one line for each failure, exit status 0, 1, 2 or 130."""

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from io import TextIOWrapper
from itertools import chain
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from napari_sam_amg.flags import COMMANDS, given_parameters, parse
from napari_sam_amg.io.discover import OVERLAY_ENDING, Job, find_jobs
from napari_sam_amg.io.point_grids import read_point_grids
from napari_sam_amg.io.staging import make_folder, remove_empty
from napari_sam_amg.messages import DONE, FAILED, INTERRUPTED, print_error, report, stop_printing
from napari_sam_amg.params import merged
from napari_sam_amg.sam.precision import PrecisionWarning
from napari_sam_amg.sam.registry import EMBEDDED, find_known, known_models, own_models

if TYPE_CHECKING:
    from napari_sam_amg.batch import Batch, Options
    from napari_sam_amg.sam.model import Sam

DEMO_IMAGE = "nuclei.tif"
_LESS_MEMORY = ": try a smaller --points-per-batch, or --device cpu"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status. Wrong usage and --help exit by themselves, as in argparse."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    commands = {"segment": _segment, "demo": _demo} | {name: module.run for name, module in COMMANDS.items()}
    command = commands[arguments.command]
    for problem in own_models().problems:  # the other models are not concerned
        print_error("napari-sam-amg", problem, "warning")
    with _quiet_libraries(), _terminated_as_interrupted():
        try:
            status = command(arguments)
            if sys.stdout is not None:  # which it is where the shell closed it
                sys.stdout.flush()
            return status
        except BrokenPipeError:  # who read the output, "head" for one, has seen enough
            stop_printing()
            return DONE
        except KeyboardInterrupt:
            kept = "; images that were finished are kept" if arguments.command == "segment" else ""
            print(f"napari-sam-amg: interrupted{kept}", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            return report("napari-sam-amg", error, arguments.debug)


def _segment(arguments: argparse.Namespace) -> int:
    given = given_parameters(arguments)
    if "point_grids" in given:
        given["point_grids"] = read_point_grids(given["point_grids"])
    merged({}, given)  # what is not allowed is said before anything is loaded
    jobs, failures = find_jobs(arguments.inputs, arguments.output, arguments.recursive)
    for failure in failures:
        print_error(failure.path, failure.reason)
    if not jobs:
        return FAILED
    made = make_folder(arguments.output)
    try:
        failed = _run(_load(arguments, given), jobs, arguments.debug)
    finally:
        remove_empty(made)
    return FAILED if failed or failures else DONE


def _demo(arguments: argparse.Namespace) -> int:
    """The main job on a sample image, whose results may be replaced: they lie in a folder of their own."""
    from napari_sam_amg.batch import Batch, Options
    from napari_sam_amg.sam.checkpoint import load_model

    make_folder(arguments.output)
    model = load_model()
    params = merged(model.info.amg_defaults, {})
    batch = Batch(model, params, Options(overlay=True, overwrite=True, quiet=arguments.quiet))
    with as_file(files("napari_sam_amg") / "plugin" / "data" / DEMO_IMAGE) as image:
        jobs, _ = find_jobs([image], arguments.output)
        failed = _run(batch, jobs, arguments.debug)
    if not (failed or arguments.quiet):
        print(f"open {jobs[0].output(OVERLAY_ENDING)} to see the result")
    return FAILED if failed else DONE


def _load(arguments: argparse.Namespace, given: dict[str, Any]) -> "Batch":
    """The model, once for all inputs, and the parameters that suit it."""
    from napari_sam_amg.amg.prompts import layer_grids
    from napari_sam_amg.batch import Batch

    options = _options(arguments)
    model = _load_model(arguments)
    known = find_known(arguments.model or "")
    defaults = model.info.amg_defaults or (known.amg_defaults if known is not None else {})
    params = merged(defaults, given)
    layer_grids(params)  # grids and crop layers that do not fit each other fail here, not at every image
    return Batch(model, params, options)


def _load_model(arguments: argparse.Namespace) -> "Sam":
    """The checkpoint if there is one; a model named beside it, as the reference wants it, must be of its kind."""
    from napari_sam_amg.sam.checkpoint import CheckpointError, load_model

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
    from napari_sam_amg.batch import Options

    if arguments.pixel_size is not None and not 0 < arguments.pixel_size < float("inf"):
        raise ValueError(f"pixel_size={arguments.pixel_size} is not allowed: it must be a positive number")
    return Options(
        formats=frozenset(chain.from_iterable(arguments.formats or [("labels",)])),
        overlay=arguments.overlay,
        channel=arguments.channel,
        intensities=IntensityRange(*arguments.intensities) if arguments.intensities else None,
        pixel_size=arguments.pixel_size,
        overwrite=arguments.overwrite,
        skip_existing=arguments.skip_existing,
        quiet=arguments.quiet,
    )


def _run(batch: "Batch", jobs: Sequence[Job], debug: bool) -> int:
    """Segment one file after another; returns how many failed."""
    failed = 0
    for job in jobs:
        try:
            summary = batch.segment(job)
        except Exception as error:
            failed += 1
            report(job.path, error, debug, _LESS_MEMORY)
            continue
        if not batch.options.quiet:
            print(summary, flush=True)
    return failed


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """No warnings of libraries between the lines, our own in one line; what the terminal cannot show is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PrecisionWarning)
        warnings.showwarning = _print_warning
        yield


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """In the place of ``warnings.showwarning``, which says where in the program it was."""
    print(f"napari-sam-amg: {message}", file=sys.stderr)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """End on SIGTERM, which a cluster sends, as on Ctrl-C: cleaned up."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
