"""Which predicted label image belongs to which true one, in two files or two folders."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from napari_sam_amg.io.discover import FEATURES_ENDING, Failure, file_stem, is_foreign_or_labels, walk

SUFFIXES = (".png", ".tif", ".tiff")
#: What names of label images end with, the longer of two that fit first.
ENDINGS = ("_cp_masks", "_labels", "_masks", "_label", "_mask", "_gt")

_Key = tuple[Path, str]  # subfolder, name without ending
_Files = dict[_Key, list[Path]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files with the labels of one image."""

    dataset: str
    name: str
    found: Path
    truth: Path

    @property
    def features(self) -> Path:
        """Where the table of the found labels is, if there is one."""
        return self.found.with_name(base_name(self.found) + FEATURES_ENDING)


def base_name(path: Path) -> str:
    """The name of a label image without suffix and ending, by which files are matched."""
    stem = file_stem(path)
    ending = next((ending for ending in ENDINGS if stem.endswith(ending)), "")
    return stem.removesuffix(ending) or stem


def find_pairs(found: Path, truth: Path) -> tuple[list[Pair], list[Failure]]:
    """Two files, whatever their names are, or all files of two folders and their subfolders, in order of name.

    Every subfolder is a data set of its own. Where some names in a folder have one of ``ENDINGS``,
    its other files are no label images but the images beside them. The failures are files without a
    partner, and those that share a name. Raises ``ValueError`` if there is nothing to search.
    """
    for path in (found, truth):
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
    if found.is_dir() != truth.is_dir():
        folder, file = (found, truth) if found.is_dir() else (truth, found)
        raise ValueError(f"{folder} is a folder and {file} a file: give two folders, or two files")
    if not found.is_dir():
        name = base_name(truth)
        return [Pair(name, name, found, truth)], []
    return _match(found, truth)


def _match(found: Path, truth: Path) -> tuple[list[Pair], list[Failure]]:
    ours, theirs = _label_images(found), _label_images(truth)
    pairs = []
    failures = [
        Failure(folder, f"no label image in this folder: looked for {', '.join(SUFFIXES)}")
        for folder, files in ((found, ours), (truth, theirs))
        if not files
    ]
    keys = sorted({*ours, *theirs})
    nested = any(subfolder != Path() for subfolder, _ in keys)
    for subfolder, name in keys:
        one, other = ours.get((subfolder, name), []), theirs.get((subfolder, name), [])
        if len(one) == len(other) == 1:
            dataset = subfolder.as_posix() if nested else truth.resolve().name
            pairs.append(Pair(dataset, name, one[0], other[0]))
        failures += _problem(name, one, truth / subfolder, other)
        failures += _problem(name, other, found / subfolder, one)
    return pairs, failures


def _label_images(folder: Path) -> _Files:
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path, subfolder in walk(folder, True, is_foreign_or_labels, SUFFIXES):
        by_folder[subfolder].append(path)
    files: _Files = defaultdict(list)
    for subfolder, paths in by_folder.items():
        marked = [path for path in paths if base_name(path) != file_stem(path)]
        for path in marked or paths:
            files[subfolder, base_name(path)].append(path)
    return dict(files)


def _problem(name: str, paths: list[Path], other_folder: Path, others: list[Path]) -> list[Failure]:
    """Why the files of a name in one folder have no partner in the other, if that is so."""
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        return [Failure(paths[0].parent, f"{names} are all label images of {name!r}: keep one of them")]
    if paths and not others:
        return [Failure(paths[0], f"no partner: there is no label image of {name!r} in {other_folder}")]
    return []
