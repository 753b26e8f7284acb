"""Which predicted label image belongs to which true one, in two files or two folders."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from napari_sam_amg.io.discover import (
    FEATURES_ENDING,
    LABELS_ENDING,
    RECORD_ENDING,
    ZARR_ENDING,
    BadInput,
    file_stem,
    is_foreign_or_labels,
    is_zarr,
    walk,
)

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".zarr")
#: What names of label images end with, the longer of two that fit first.
ENDINGS = ("_cp_masks", "_labels", "_masks", "_label", "_mask", "_gt")
#: Cellpose's own file beside its label images, of Python objects.
CELLPOSE_ENDING = "_seg.npy"
#: What names of images end with; a label image may be called after one.
IMAGE_ENDINGS = ("_image", "_img", "_raw")
#: Label images of the Cell Tracking Challenge: results, and the truth of the segmentation.
_CHALLENGE = re.compile(r"(?:mask|man_seg)(\d+)")

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
        stem = file_stem(self.found)
        return self.found.with_name((_cut(stem, ENDINGS) or stem) + FEATURES_ENDING)


def base_name(path: Path) -> str:
    """The name of a label image without suffix and endings, by which files are matched."""
    stem = file_stem(path)
    numbered = _CHALLENGE.fullmatch(stem)
    if numbered is not None:
        return numbered[1]
    while rest := _cut(stem, ENDINGS + IMAGE_ENDINGS):
        stem = rest
    return stem


def is_marked(path: Path) -> bool:
    """Whether the name says that this is a label image."""
    stem = file_stem(path)
    return _CHALLENGE.fullmatch(stem) is not None or bool(_cut(stem, ENDINGS))


def _cut(stem: str, endings: tuple[str, ...]) -> str:
    """The stem without the one of the endings that it has; empty if it has none, or is nothing else."""
    ending = next((ending for ending in endings if stem.endswith(ending)), "")
    return stem.removesuffix(ending) if ending else ""


def find_pairs(found: Path, truth: Path) -> tuple[list[Pair], list[BadInput]]:
    """Two files, whatever their names are, or all files of two folders and their subfolders, in order of name.

    Every subfolder is a data set of its own. Where some names in a folder have one of ``ENDINGS``,
    its other files are no label images but the images beside them. The failures are files without a
    partner, those that share a name, and those taken for images which have a partner. Raises
    ``ValueError`` if there is nothing to search.
    """
    for path in (found, truth):
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
    are_folders = [path.is_dir() and not is_zarr(path) for path in (found, truth)]
    if len(set(are_folders)) > 1:
        folder, file = (found, truth) if are_folders[0] else (truth, found)
        raise ValueError(f"{folder} is a folder and {file} a file: give two folders, or two files")
    if not are_folders[0]:
        name = base_name(truth)
        return [Pair(name, name, found, truth)], []
    return _match(found, truth)


def _match(found: Path, truth: Path) -> tuple[list[Pair], list[BadInput]]:
    (ours, our_images), (theirs, their_images) = _label_images(found), _label_images(truth)
    pairs = []
    failures = [
        BadInput(folder, f"no label image in this folder: looked for {', '.join(SUFFIXES)}{_hint(folder)}")
        for folder, files in ((found, ours), (truth, theirs))
        if not files
    ]
    keys = sorted({*ours, *theirs})
    nested = any(subfolder != Path() for subfolder, _ in keys)
    for key in sorted({*keys, *(our_images.keys() & their_images.keys())}):
        subfolder, name = key
        one, other = ours.get(key, []), theirs.get(key, [])
        if len(one) == len(other) == 1:
            dataset = subfolder.as_posix() if nested else truth.resolve().name
            pairs.append(Pair(dataset, name, one[0], other[0]))
        failures += _problem(name, one, truth / subfolder, other or their_images.get(key, []))
        failures += _problem(name, other, found / subfolder, one or our_images.get(key, []))
        failures += [] if one else _left_out(our_images.get(key, []))
        failures += [] if other else _left_out(their_images.get(key, []))
    return pairs, failures


def _label_images(folder: Path) -> tuple[_Files, _Files]:
    """The label images of a folder, and the files that are taken for images since others are marked as labels.

    Of a TIFF file and an OME-Zarr of one run, which have the same labels, the first counts.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path, subfolder in walk(folder, True, _may_be_labels, SUFFIXES):
        if not (path.name.endswith(ZARR_ENDING) and _as_tiff(path).exists()):
            by_folder[subfolder].append(path)
    labels: _Files = defaultdict(list)
    images: _Files = defaultdict(list)
    for subfolder, paths in by_folder.items():
        any_marked = any(map(is_marked, paths))
        for path in paths:
            files = images if any_marked and not is_marked(path) else labels
            files[subfolder, base_name(path)].append(path)
    return dict(labels), {key: paths for key, paths in images.items() if key not in labels}


def _as_tiff(volume: Path) -> Path:
    return volume.with_name(volume.name.removesuffix(ZARR_ENDING) + LABELS_ENDING)


def _may_be_labels(folder: Path, name: str) -> bool:
    return not name.endswith(CELLPOSE_ENDING) and is_foreign_or_labels(folder, name)


def _hint(folder: Path) -> str:
    """Where a run was told to write something else."""
    others = any(folder.rglob(f"*{RECORD_ENDING}"))
    return "; results are here, but no labels: napari-sam-amg segment --format labels writes them" if others else ""


def _left_out(paths: list[Path]) -> list[BadInput]:
    """What to say of files taken for images, though the other folder has something of the same name."""
    reason = (
        f"left out: taken for an image, since other files of its folder are marked as labels ({', '.join(ENDINGS)}); "
        "name all label images of a folder alike"
    )
    return [BadInput(path, reason) for path in paths]


def _problem(name: str, paths: list[Path], other_folder: Path, others: list[Path]) -> list[BadInput]:
    """Why the files of a name in one folder have no partner in the other, if that is so."""
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        return [BadInput(paths[0].parent, f"{names} are all label images of {name!r}: keep one of them")]
    if paths and not others:
        reason = f"no partner: there is no label image of {name!r} in {other_folder}, called"
        return [BadInput(paths[0], f"{reason} {name}.png, {name}_labels.tif or the like")]
    return []
