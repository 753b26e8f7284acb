"""``napari-sam-amg evaluate PRED GT``: label images against the truth. Free of torch, and light until it runs."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg import __version__
from napari_sam_amg.cli.messages import DONE, FAILED, print_error, report, say
from napari_sam_amg.errors import explain

if TYPE_CHECKING:
    from napari_sam_amg.evaluation.pairs import Pair
    from napari_sam_amg.evaluation.report import DatasetScore, ImageScore
    from napari_sam_amg.io.discover import BadInput

_EPILOG = """\
PRED and GT are two label images (PNG, TIFF, NPY or OME-Zarr of whole numbers, 2D or stacks; 0 is background), or two
folders.
In folders, files belong together whose names without suffix, and without _labels, _label, _masks, _mask, _cp_masks,
_gt, _image, _img or _raw at the end, are the same, and mask000 and man_seg000; where some files of a folder end in one
of the first six, the others are taken for images and left out. Every subfolder is a data set with a row of its own,
and the last row is the pool of all.

All figures are counted over the objects of a data set:
  AP@.5, AP@.75  TP / (TP + FP + FN), a match being an IoU of at least .5 or .75
  mean AP .5:.9  mean over the thresholds .5, .55, ..., .9
  precision, recall, F1, matched IoU  at .5
  SEG            as in the Cell Tracking Challenge
  r(IoU)         correlation of predicted and true IoU, where NAME_features.csv is beside NAME_labels.tif
  IoU error      mean of predicted minus true IoU, with it
A dash is a figure that is undefined, such as the precision if nothing was found.

exit status: 0 all done, 1 some file failed (the others are still done), 2 wrong usage, 130 interrupted
"""
#: Keyword arguments of ``add_parser``, as in all commands.
OPTIONS: dict[str, Any] = {
    "help": "measure label images against the truth",
    "description": "Measure label images against the truth: AP, precision, recall, F1, SEG.",
    "epilog": _EPILOG,
    "formatter_class": argparse.RawDescriptionHelpFormatter,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prediction", type=Path, metavar="PRED", help="label image to measure, or folder of them")
    parser.add_argument("truth", type=Path, metavar="GT", help="true label image, or folder of them")
    parser.add_argument(
        "--planes", action="store_true",
        help="match the objects of each plane of a stack by themselves (default: a stack is one volume)",
    )  # fmt: skip
    parser.add_argument("--per-image", action="store_true", help="print a row for every image too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all figures: rows of images, data sets and all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, and what failed")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, write the files; returns the exit status."""
    from napari_sam_amg.evaluation.pairs import find_pairs
    from napari_sam_amg.evaluation.report import by_dataset
    from napari_sam_amg.evaluation.tables import markdown
    from napari_sam_amg.io.staging import make_folder, remove_empty

    outputs = _outputs(arguments)
    pairs, failures = find_pairs(arguments.prediction, arguments.truth)
    _check_inputs_stay(outputs, pairs)
    for failure in failures:
        print_error(failure.path, failure.reason)
    made = [folder for output in outputs for folder in make_folder(output.parent)]
    try:
        images = _score_all(pairs, failures, arguments)
        if not images:
            return FAILED
        datasets = by_dataset(images)
        _write(arguments, datasets, failures)
        say(markdown(datasets, arguments.per_image))
    finally:
        remove_empty(made)
    return FAILED if failures else DONE


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    """The files to write. ``ValueError`` if they are in the way of something, or of each other."""
    outputs: list[Path] = [path for path in (arguments.csv, arguments.json) if path is not None]
    for path in outputs:
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the name of a file")
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is a device or a pipe: give the name of a file")
        if path.exists() and not arguments.overwrite:
            raise ValueError(f"{path} exists already: give --overwrite to replace it")
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        raise ValueError(f"--csv and --json are both {outputs[0]}: give two files")
    return outputs


def _check_inputs_stay(outputs: list[Path], pairs: "list[Pair]") -> None:
    inputs = {os.path.realpath(path) for pair in pairs for path in (pair.found, pair.truth, pair.features)}
    for path in outputs:
        if os.path.realpath(path) in inputs:
            raise ValueError(f"{path} is one of the files that are read: give the name of another one to write")


def _write(arguments: argparse.Namespace, datasets: "list[DatasetScore]", failures: "list[BadInput]") -> None:
    from napari_sam_amg.evaluation.tables import write_csv, write_json

    if arguments.csv is not None:
        with _replacing(arguments.csv) as path:
            write_csv(path, datasets)
    if arguments.json is not None:
        settings = {
            "version": __version__,
            "prediction": str(arguments.prediction),
            "truth": str(arguments.truth),
            "planes": arguments.planes,
        }
        with _replacing(arguments.json) as path:
            write_json(path, datasets, failures, settings)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of another at the end; a link stays, and what it points to is replaced."""
    from napari_sam_amg.io.staging import staged

    target = Path(os.path.realpath(path))
    with staged([target]) as folder:
        yield folder / target.name


def _score_all(pairs: "list[Pair]", failures: "list[BadInput]", arguments: argparse.Namespace) -> "list[ImageScore]":
    """Score one pair after another; those that fail are said, and added to the failures."""
    import tqdm

    from napari_sam_amg.evaluation.files import FileError, score_pair
    from napari_sam_amg.io.discover import BadInput

    images: list[ImageScore] = []
    bar = tqdm.tqdm(pairs, unit=" images", leave=False, disable=not sys.stderr.isatty())
    for pair in bar:
        try:
            scored = score_pair(pair, arguments.planes)
        except Exception as error:
            path = error.path if isinstance(error, FileError) else pair.found
            with bar.external_write_mode(sys.stderr):
                report(path, error, arguments.debug)
            failures.append(BadInput(path, explain(error)))
            continue
        images += scored.images
        failures += [BadInput(problem.path, str(problem)) for problem in scored.problems]
        with bar.external_write_mode(sys.stderr):
            for kind, found in (("error", scored.problems), ("warning", scored.warnings)):
                for problem in found:
                    print_error(problem.path, str(problem), kind)
    return images
