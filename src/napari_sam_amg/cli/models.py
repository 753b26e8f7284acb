"""``napari-sam-amg models``: list, download and delete published checkpoints. Free of torch."""

import argparse
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from napari_sam_amg.cli.messages import DONE, add_message_flags, say
from napari_sam_amg.models.download import arrived, download_with_bar, remove, why_kept
from napari_sam_amg.models.own_models import OwnModel
from napari_sam_amg.models.registry import (
    EMBEDDED,
    FOLDER_VARIABLE,
    OFFLINE_VARIABLE,
    KnownModel,
    embedded_path,
    find_known,
    known_models,
    models_folder,
    own_models,
    size_in_words,
)

OPTIONS = {
    "help": "list, download and delete models",
    "description": (
        f"List the models that can be asked for by name, download them, delete them. "
        f"{EMBEDDED!r} comes with the program. "
        f"The environment variable {FOLDER_VARIABLE} sets their folder, {OFFLINE_VARIABLE}=1 forbids downloads."
    ),
}
_HEADER = ("NAME", "ARCHITECTURE", "SIZE", "HERE", "FOR", "FILE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--download",
        nargs="+",
        type=_downloadable,
        metavar="NAME",
        help="download these; what was cut off goes on where it ended",
    )
    what.add_argument("--folder", action="store_true", help="print the folder in which they are kept")
    what.add_argument(
        "--clear", nargs="*", type=_downloadable, metavar="NAME",
        help="delete the files of these models, unfinished downloads too (no name: of all); nothing else is deleted",
    )  # fmt: skip
    add_message_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the flags say; returns the exit status. Raises ``DownloadError`` at the first that fails."""
    if arguments.folder:
        say(str(models_folder()))
    elif arguments.download is not None:
        _download(arguments.download, arguments.quiet)
    elif arguments.clear is not None:
        _clear(arguments.clear)
    else:
        say(_listing())
    return DONE


def _downloadable(name: str) -> KnownModel:
    model = find_known(name)
    if model is None:
        allowed = ", ".join(model.name for model in _all_downloadable())
        raise argparse.ArgumentTypeError(f"{name!r} is not allowed: choose from {allowed}")
    return model


def _all_downloadable() -> list[KnownModel]:
    return [model for name in known_models() if (model := find_known(name)) is not None]


def _download(models: Iterable[KnownModel], quiet: bool) -> None:
    for file in chain.from_iterable(model.files for model in models):
        download_with_bar(file, quiet=quiet)
        if not quiet:
            say(f"{file.name}: {file.path}")


def _clear(asked: Sequence[KnownModel]) -> None:
    total = 0
    for file in chain.from_iterable(model.files for model in asked or _all_downloadable()):
        if reason := why_kept(file, bool(asked)):
            say(f"left alone {file.path}: {reason}")
            continue
        for path, size in remove(file, bool(asked)):
            total += size
            say(f"deleted {path} ({size_in_words(size)})")
    say(f"{size_in_words(total)} freed" if total else f"nothing to delete in {models_folder()}")


def _listing() -> str:
    """A table, and below it the folder."""
    local = [own for own in own_models().models.values() if not own.url]
    rows = [_HEADER, _embedded_row(), *map(_row, _all_downloadable()), *map(_local_row, local)]
    return "\n".join([*_aligned(rows), "", f"folder: {models_folder()} (another one: set {FOLDER_VARIABLE})"])


def _embedded_row() -> Sequence[str]:
    path = embedded_path()
    size = size_in_words(path.stat().st_size) if path.is_file() else ""
    return EMBEDDED, "unet", size, _yes(path), "nuclei, cells and electron microscopy, built in", str(path)


def _row(model: KnownModel) -> Sequence[str]:
    size = model.path.stat().st_size if model.path.is_file() else model.size
    words = "" if size is None else size_in_words(size)
    here = "partly" if arrived(model) and not model.path.is_file() else _yes(model.path)
    if here == "yes" and not all(file.path.is_file() for file in model.files):
        here = "no decoder"
    return model.name, model.architecture, words, here, model.purpose, str(model.path)


def _local_row(own: OwnModel) -> Sequence[str]:
    """An own model that is nowhere but in its file."""
    size = size_in_words(own.file.stat().st_size) if own.file.is_file() else ""
    return own.name, "", size, _yes(own.file), own.description or "own model", str(own.file)


def _yes(path: Path) -> str:
    return "yes" if path.is_file() else "no"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
