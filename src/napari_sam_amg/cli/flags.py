"""The flags of the command line, those of the algorithm made from the fields of AmgParameters. Free of torch."""

import argparse
import dataclasses
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_sam_amg import __version__
from napari_sam_amg.cli import diff, evaluate, export_onnx, models
from napari_sam_amg.cli.from_settings import SETTINGS_HELP
from napari_sam_amg.cli.messages import add_message_flags
from napari_sam_amg.io.discover import FORMATS, SUFFIXES
from napari_sam_amg.io.label_volume import VERSIONS
from napari_sam_amg.io.raw_image import check_axes
from napari_sam_amg.models.registry import EMBEDDED, known_models
from napari_sam_amg.params import AmgParameters, parameter_choices, parameter_type
from napari_sam_amg.sam.precision import PRECISIONS

DEMO_FOLDER = "napari-sam-amg-demo"
COMMANDS = {
    "evaluate": evaluate,
    "models": models,
    "diff": diff,
    "export-onnx": export_onnx,
}  # besides segment and demo
_RANGE = re.compile(r"(?P<axis>[A-Za-z])=(?=\d|:)(?P<first>\d*)(?P<colon>:?)(?P<stop>(?<=:)\d*)?")
_NEGATIVE_NUMBER = re.compile(r"-(([\d_]+\.?[\d_]*|\.[\d_]+)(e[+-]?[\d_]+)?|inf(inity)?|nan)$", re.IGNORECASE)

_DESCRIPTION = "Segment everything in microscopy images with Segment Anything's automatic mask generation."
_OUTPUTS = """\
For every image NAME.tif, files are written into the folder DIR, each of them whole or not at all:
  NAME_labels.tif    --format labels (the default): label image of the shape of the input, uint16 or uint32
  NAME_labels.ome.zarr  --format zarr: the same as OME-Zarr, uint32, with coarser levels for viewers
  NAME_features.csv  with either: one row a label (id, area, scores, centroid, bounding box, prompt)
  NAME_objects.csv   with it and --link: one row an object through the stack (id, planes, volume, scores, centroid);
                     the rows of NAME_features.csv are its cross-sections then, each with the object's id
  NAME_tracks.csv    with it and --link t: id, time, y and x of every cross-section, as napari's Tracks layer has them
  NAME_res_track.txt with it and --link t: id, first and last plane, and parent of each object, as the Cell Tracking
                     Challenge has them
  NAME_masks.json    --format coco-rle: all masks, overlapping ones too, as the records that the reference's
                     scripts/amg.py writes with --convert-to-rle; in a stack each has one more key, "plane"
  NAME_masks/        --format masks: the folder that scripts/amg.py writes (0.png, 1.png, ..., metadata.csv);
                     in a stack one such folder for each plane, plane_0000, plane_0001, ...
  NAME_rois.zip      --format rois: the labels as ImageJ's regions of interest, one for each label and plane
  NAME_overlay.png   --overlay: the labels over the image; of a stack the plane with most labels
  NAME_run.json      always: all settings, model, versions, timings, hash of the input; put in place last
A multi-page TIFF is a stack, segmented plane by plane. Label ids are unique in a stack.

Read are TIFF, with the descriptions of ImageJ, OME, Zeiss LSM, MetaMorph and others, OME-Zarr and plain Zarr (such a
folder counts as a file), NPY if it is named, with extras ND2, LIF and CZI, and PNG, JPEG, BMP, GIF, WebP, JPEG 2000,
AVIF, PNM, TGA and a few more pictures; the frames of an animated picture are a stack. A file that is named
may be called anything. From folders those files are taken that end in
{suffixes}.

exit status: 0 all done, 1 some input failed (the others are still done), 2 wrong usage, 130 interrupted
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command. Exits with 2 for wrong usage, as argparse does."""
    parser = _parser()
    # Of a shell's variable that is not set: as a path it would be this folder, to be segmented or written into.
    if any(not text or (text.startswith("--") and text.endswith("=")) for text in argv):
        parser.error("an argument is empty")
    for text in argv[: list(argv).index("--") if "--" in argv else None]:
        if text.startswith("-") and len(text) > 1 and not _NEGATIVE_NUMBER.match(text) and os.path.lexists(text):
            parser.error(f"{text!r} is a file whose name begins like a flag: write {os.path.join('.', text)!r}")
    return parser.parse_args(_with_dashes(argv))


def given_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given as flags, by name; point grids still as the path of their file."""
    values = {spec.name: getattr(arguments, spec.name) for spec in dataclasses.fields(AmgParameters)}
    return {name: value for name, value in values.items() if value is not None}


def _with_dashes(argv: Sequence[str]) -> list[str]:
    """Flags as Python spells them (--points_per_side) with dashes, up to a bare "--"."""
    end = list(argv).index("--") if "--" in argv else len(argv)
    return [_dashed(text) if text.startswith("--") else text for text in argv[:end]] + list(argv[end:])


def _dashed(flag: str) -> str:
    name, equals, value = flag.partition("=")
    return name.replace("_", "-") + equals + value


class _Parser(argparse.ArgumentParser):
    """Takes everything that ``float`` reads for a value: by itself argparse takes -1e3 and -inf for flags."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._negative_number_matcher = _NEGATIVE_NUMBER


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("napari-sam-amg", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"napari-sam-amg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_segment(commands)
    _add_demo(commands)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, allow_abbrev=False, **command.OPTIONS))
    return parser


def _add_segment(commands: Any) -> None:
    parser = commands.add_parser(
        "segment",
        usage="napari-sam-amg segment INPUT [INPUT ...] --output DIR [options]",  # of which --help lists sixty
        help="segment images and folders of images",
        description=_DESCRIPTION,
        epilog=_OUTPUTS.replace("{suffixes}", textwrap.fill(", ".join(SUFFIXES), width=118)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="image (TIFF, PNG, JPEG, ...), or folder of images"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--settings", type=Path, metavar="FILE", help=SETTINGS_HELP)
    _add_model(parser)
    _add_reading(parser)
    _add_writing(parser)
    _add_processes(parser)
    _add_parameters(parser)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="segment a sample image with the model that is built in, offline",
        description="Segment a sample image with the model that is built in, offline, and draw the result.",
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=Path, default=Path(DEMO_FOLDER), metavar="DIR", help=f"default: {DEMO_FOLDER}")
    add_message_flags(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="NAME", help=f"one of {', '.join(known_models())} (default: {EMBEDDED})")
    group.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="checkpoint file; its architecture is found out by itself"
    )
    group.add_argument(
        "--offline", action="store_true",
        help="never download a model; one that is not there is an error that says where to put it",
    )  # fmt: skip
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto, the fastest)")
    group.add_argument(
        "--precision", choices=PRECISIONS,
        help="exact: 32-bit floats; fast: 16-bit floats where the device has them, with nearly the same masks "
        "(default: exact)",
    )  # fmt: skip


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    group.add_argument("--recursive", action="store_true", help="search the subfolders of folders too")
    group.add_argument(
        "--channel", type=int, metavar="N",
        help="channel to segment, counted from 0; of a colour image 0 is red (default: the first channel, all colours)",
    )  # fmt: skip
    group.add_argument(
        "--series", type=int, metavar="N",
        help="image to segment of a TIFF file that holds several, counted from 0 (default: the largest that is no "
        "thumbnail, the first of equals)",
    )  # fmt: skip
    group.add_argument(
        "--axes", type=_axes, metavar="LETTERS",
        help="names of the image's axes as they are stored, such as TZCYX or YXZ, in place of those in the file",
    )  # fmt: skip
    group.add_argument(
        "--plane", type=_axes, metavar="LETTERS",
        help="two axes that make up the planes, such as XZ or YZ (default: YX); labels keep the image's own axes",
    )  # fmt: skip
    group.add_argument(
        "--range", type=_range, action="append", metavar="AXIS=FIRST:STOP", dest="ranges",
        help="segment only these planes, counted from 0, STOP not included, such as z=10:20, z=5: or t=0; repeat the "
        "flag for other axes (default: all; planes left out have no labels)",
    )  # fmt: skip
    group.add_argument(
        "--intensities", nargs=2, type=float, metavar=("LOW", "HIGH"),
        help="pixel values shown black and white to the model; 0 255 takes 8-bit images as they are "
        "(default: the 0.1 and 99.8 percentiles of the image, of a stack the same for all planes)",
    )  # fmt: skip
    group.add_argument(
        "--pixel-size", type=float, metavar="UM",
        help="micrometres, for the column area_um2 (default: from OME, ImageJ or resolution metadata, if any)",
    )  # fmt: skip
    group.add_argument(
        "--z-spacing",
        type=float,
        metavar="UM",
        help="micrometres from plane to plane along z (default: as the file says)",
    )


def _add_writing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("writing")
    group.add_argument(
        "--format", action="append", type=_formats, metavar="FORMAT", dest="formats",
        help=f"{', '.join(FORMATS)}; several with commas or by repeating the flag (default: labels)",
    )  # fmt: skip
    group.add_argument(
        "--ngff-version", choices=VERSIONS, default=VERSIONS[0],
        help=f"of --format zarr: OME-Zarr 0.5 is Zarr 3, 0.4 is Zarr 2 (default: {VERSIONS[0]})",
    )  # fmt: skip
    group.add_argument("--overlay", action="store_true", help="draw the labels over the image, NAME_overlay.png")
    group.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    group.add_argument(
        "--skip-existing", action="store_true",
        help="skip images whose outputs are there already, from the same image and settings, and do again those whose "
        "outputs are incomplete; resumes a batch",
    )  # fmt: skip
    group.add_argument(
        "--merge-tables", action="store_true",
        help="write the tables of all images as one, too, with a column that names the image: "
        "DIR/all_features.csv, and DIR/all_objects.csv with --link",
    )  # fmt: skip
    group.add_argument(
        "--no-resume", action="store_true",
        help="begin stacks anew, and keep no work of them: else a stack that was interrupted goes on with the plane at "
        "which it was, if the same command is given again",
    )  # fmt: skip
    add_message_flags(group)


def _axes(text: str) -> str:
    try:
        return check_axes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _range(text: str) -> tuple[str, range]:
    """An axis and positions along it; a stop that is left out is -1."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give AXIS=FIRST:STOP, such as z=10:20, z=5: or t=0")
    first = int(found["first"] or 0)
    stop = int(found["stop"]) if found["stop"] else -1
    return found["axis"].upper(), range(first, stop if found["colon"] else first + 1)


def _add_processes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "several processes", "With the extra \"cluster\": pip install 'napari-sam-amg[cluster]'."
    ).add_mutually_exclusive_group()
    group.add_argument(
        "--workers", type=int, metavar="N",
        help="so many processes on this machine, which share its cores; each has the model, and a GPU of its own if "
        "there are as many",
    )  # fmt: skip
    group.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="the workers of this scheduler of dask (tcp://HOST:8786), on any number of machines; images, results and "
        "model must be on disks that all of them share",
    )  # fmt: skip


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is not allowed: choose from {', '.join(FORMATS)}")
    return names


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "automatic mask generation", "Defaults are those of Segment Anything, unless the model brings its own."
    )
    for spec in dataclasses.fields(AmgParameters):
        group.add_argument(f"--{spec.name.replace('_', '-')}", **_flag(spec))


def _flag(spec: "dataclasses.Field[Any]") -> dict[str, Any]:
    """Keyword arguments of ``add_argument`` for one parameter; range and words are checked by AmgParameters."""
    kind, allowed, choices = parameter_type(spec.name), spec.metadata["range"], parameter_choices(spec.name)
    if kind is tuple:
        return {"type": Path, "metavar": "FILE", "help": f"{spec.metadata['help']} A .json or .npy file."}
    bounds = ", ".join(choices) if choices else str(allowed)
    metavar = {int: "N", float: "X", str: "WORD"}[kind]
    default = f"{spec.default:.4g}" if kind is float else str(spec.default)
    text = f"{spec.metadata['help']} (default: {default}; allowed: {bounds})"
    return {"type": kind, "metavar": metavar, "help": text.replace("%", "%%")}
