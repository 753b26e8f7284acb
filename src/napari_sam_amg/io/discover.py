"""From the arguments of a command to a list of files, and the names of what is written for each."""

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

#: Of the files that are taken from folders, TIFF files of microscopes under their own names among them; a file that
#: is named is read whatever it is called.
SUFFIXES = (
    ".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".qptiff", ".ndpi", ".scn",
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jp2", ".j2k", ".bmp", ".dib", ".gif", ".webp", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".zarr", ".nd2", ".lif", ".czi",
)  # fmt: skip
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")
FORMATS = ("labels", "zarr", "coco-rle", "masks", "rois")
LABELS_ENDING = "_labels.tif"
ZARR_ENDING = "_labels.ome.zarr"
FEATURES_ENDING = "_features.csv"
OBJECTS_ENDING = "_objects.csv"
TRACKS_ENDING = "_tracks.csv"
CHALLENGE_ENDING = "_res_track.txt"
OVERLAY_ENDING = "_overlay.png"
RECORD_ENDING = "_run.json"
MASKS_ENDING = "_masks"
CANDIDATES_ENDING = "_candidates"  # a folder


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file, and where its outputs go: ``folder / (name + ending)``."""

    path: Path
    folder: Path
    name: str
    also: tuple[Path, ...] = ()  # where it was found again: under the same name, or as a link
    replaced: tuple[Path, ...] = ()  # outputs in whose places other inputs lie

    def output(self, ending: str) -> Path:
        return self.folder / (self.name + ending)


@dataclass(frozen=True, slots=True)
class BadInput:
    """An input that cannot be segmented, and why."""

    path: Path
    reason: str


def find_inputs(named: Sequence[Path], output: Path, recursive: bool = False) -> tuple[list[InputFile], list[BadInput]]:
    """The files that the inputs name, folders in order of name, each file once; and what was not found.

    A file that is found again, by a link to it for one, says so in ``also``.

    Below a folder that is searched recursively, outputs lie in the same subfolders. Files that differ
    in their ending only keep it in the names of their outputs. ``ValueError`` if the outputs of two
    files would still have the same name.
    """
    files: dict[Path, InputFile] = {}
    bad_inputs = []
    for path in named:
        try:
            found = list(_inputs(path, recursive))
        except OSError as error:
            bad_inputs.append(BadInput(path, f"cannot be searched: {error.strerror}"))
            continue
        if not found:
            bad_inputs.append(BadInput(path, _nothing_found(path, recursive)))
        for file, subfolder in found:
            target = Path(os.path.realpath(file))  # other than resolve, it takes links that lead to themselves
            first = files.get(target)
            if first is None:
                files[target] = InputFile(file, output / subfolder, file_stem(file))
            else:
                files[target] = replace(first, also=(*first.also, file))
    return [replace(file, replaced=_replaced(file, files)) for file in _distinct(list(files.values()))], bad_inputs


def _replaced(file: InputFile, inputs: Collection[Path]) -> tuple[Path, ...]:
    """Outputs that are images, and would replace one of the ``inputs``, not just a link to it."""
    folder = Path(os.path.realpath(file.folder))
    outputs = [file.output(ending) for ending in (LABELS_ENDING, ZARR_ENDING, OVERLAY_ENDING)]
    return tuple(output for output in outputs if folder / output.name in inputs)


def _inputs(path: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Image files to segment, each with the subfolder of ``path`` that it is in."""
    if path.is_dir() and not is_zarr(path):
        yield from walk(path, recursive, _is_foreign)
    elif path.exists():
        yield path, Path()


def walk(
    path: Path, recursive: bool, is_wanted: Callable[[Path, str], bool], suffixes: tuple[str, ...] = SUFFIXES
) -> Iterator[tuple[Path, Path]]:
    """Files in a folder in order of name, each with the subfolder of ``path`` that it is in.

    ``is_wanted(folder, name)`` decides about files with one of the suffixes, and about subfolders. Links
    to folders are followed, but not into a folder that the way has come through. A folder that is a Zarr counts as a
    file, if its suffix is wanted, and is not searched.
    """
    for place, subfolders, names in os.walk(path, onerror=_raise, followlinks=True):
        folder = Path(place)
        stores = {name for name in subfolders if is_zarr(folder / name)}
        wanted = sorted(name for name in subfolders if recursive and is_wanted(folder, name))
        subfolders[:] = [name for name in wanted if name not in stores and not _leads_back(folder / name, path)]
        for name in sorted([*names, *stores]):
            if name.lower().endswith(suffixes) and is_wanted(folder, name):
                yield folder / name, folder.relative_to(path)


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr array or group, an OME-Zarr for one, by the files that each has."""
    return any((folder / name).is_file() for name in _ZARR_FILES)


def _leads_back(folder: Path, start: Path) -> bool:
    """Whether a link points to a folder that it was reached through, from ``start`` on."""
    way = [parent for parent in folder.parents if parent == start or start in parent.parents]
    return folder.is_symlink() and folder.resolve() in [parent.resolve() for parent in way]


def _raise(error: OSError) -> None:
    raise error


def _is_foreign(folder: Path, name: str) -> bool:
    """Whether a file or folder is neither hidden nor an output of ours."""
    return not name.endswith((LABELS_ENDING, ZARR_ENDING)) and is_foreign_or_labels(folder, name)


def is_foreign_or_labels(folder: Path, name: str) -> bool:
    """Whether a file or folder is not hidden, nor an output of ours other than label images."""
    if name.startswith("."):
        return False
    endings = (ending for ending in (OVERLAY_ENDING, MASKS_ENDING) if name.endswith(ending))
    return not any((folder / (name.removesuffix(ending) + RECORD_ENDING)).exists() for ending in endings)


def _nothing_found(path: Path, recursive: bool) -> str:
    if not path.is_dir():
        return "no such file or folder"
    own = sum(1 for _ in walk(path, recursive, lambda folder, name: not name.startswith(".")))
    if own:
        files = "file is an output" if own == 1 else "files are outputs"
        return f"no image in this folder: its {own} {files} of this program, such as NAME{LABELS_ENDING}"
    return f"no image in this folder: looked for {', '.join(SUFFIXES)}"


def file_stem(path: Path) -> str:
    """The name without its suffix, ".ome.tif" being one."""
    stem = path.stem
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") and len(stem) > len(".ome") else stem


def _distinct(inputs: list[InputFile]) -> list[InputFile]:
    shared = Counter(_key(file) for file in inputs)
    named = [replace(file, name=file.path.name) if shared[_key(file)] > 1 else file for file in inputs]
    first: dict[str, InputFile] = {}
    for file in named:
        other = first.setdefault(_key(file), file)
        if other is not file:
            raise ValueError(
                f"{other.path} and {file.path} would both be written as {file.output('_*')}: "
                "segment them into different output folders"
            )
    return named


def _key(file: InputFile) -> str:
    """The same for files of which a folder holds only one: Windows and macOS do not tell A from a."""
    name = os.path.normcase(file.folder / file.name)
    return unicodedata.normalize("NFC", name).casefold() if sys.platform == "darwin" else name
