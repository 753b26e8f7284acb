"""``napari-sam-amg diff``: in which settings two runs differ. Free of torch."""

import argparse
import json
from pathlib import Path
from typing import Any

from napari_sam_amg.cli.messages import DONE, FAILED, printable, report, say
from napari_sam_amg.settings import differences, read_record, run_of

OPTIONS = {
    "help": "compare the settings of two runs",
    "description": (
        "Compare two records (NAME_run.json of the command line, NAME.json of a layer saved in napari), or files of "
        "settings, and name each setting that differs, then image, device and versions. "
        "The exit status is 0 if nothing differs, 1 if something does, 2 if a file cannot be compared."
    ),
}
_CANNOT_TELL = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("first", "second"):
        parser.add_argument(name, type=Path, metavar=f"{name.upper()}.json", help="a record, or a file of settings")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")


def run(arguments: argparse.Namespace) -> int:
    try:
        found = differences(*(_record(path) for path in (arguments.first, arguments.second)))
    except ValueError as error:
        report("napari-sam-amg", error, arguments.debug)
        return _CANNOT_TELL
    for name, before, after in found:
        say(printable(f"{name}: {_words(before)} -> {_words(after)}"))
    return FAILED if found else DONE


def _record(path: Path) -> dict[str, Any]:
    record = read_record(path)
    try:
        run_of(record)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return record


def _words(value: Any) -> str:
    return "not said" if value is None else json.dumps(value, default=str)
