"""The tables of all files of a batch as one, made of those that are in place: whatever ran when, it holds them all."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.io.discover import FEATURES_ENDING, OBJECTS_ENDING, InputFile
from napari_sam_amg.io.merged_tables import is_merged, merge_tables
from napari_sam_amg.io.staging import staged

if TYPE_CHECKING:
    from napari_sam_amg.batch.options import Options

NAME = "all"


def check_merged(files: Sequence[InputFile], folder: Path, options: "Options", link: str) -> None:
    """Raise ``ValueError`` if merged tables would replace what they may not."""
    for target, ending in _targets(folder, options, link):
        if any(file.output(ending).absolute() == target.absolute() for file in files):
            raise ValueError(f"--merge-tables would write {target}, which is the table of one image: rename that")
        if not os.path.lexists(target):
            continue
        if not target.is_file() or not is_merged(target):
            raise ValueError(f"{target} is in the way: it is not an output of this command, move it away")
        if not (options.overwrite or options.skip_existing):
            raise ValueError(f"{target} exists already: give --overwrite or --skip-existing to replace it")


def merge(files: Sequence[InputFile], folder: Path, options: "Options", link: str) -> list[Path]:
    """Write the tables of these files, whose outputs are there, as one; returns what was written.

    Of no file there is nothing to write: an empty table would say that nothing was found.
    """
    targets = _targets(folder, options, link) if files else []
    for target, ending in targets:
        with staged([target]) as stage:
            merge_tables([(str(file.path), file.output(ending)) for file in files], stage / target.name)
    return [target for target, _ in targets]


def _targets(folder: Path, options: "Options", link: str) -> list[tuple[Path, str]]:
    endings = [ending for ending in options.endings(link) if ending in (FEATURES_ENDING, OBJECTS_ENDING)]
    return [(folder / (NAME + ending), ending) for ending in endings]
