"""Outputs that lie where those of a run will be: whether they are its own, whole, and may be replaced."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam_amg.batch.image import Image
from napari_sam_amg.batch.options import ENDINGS, Options
from napari_sam_amg.io.discover import MASKS_ENDING, ZARR_ENDING, InputFile
from napari_sam_amg.io.exports import foreign_in
from napari_sam_amg.io.label_volume import is_label_volume
from napari_sam_amg.provenance import Standing, standing, unchanged


class AlreadyThere(ValueError):
    """Results lie where an image's would be written, and may not be replaced."""

    def __init__(self, target: Path, skips: bool) -> None:
        self.target = target
        reason = "exists already: give --overwrite to replace it, or --skip-existing to keep it"
        if skips:
            reason = (
                "exists already, from another image or other settings, or changed since: add --overwrite to replace it"
            )
        super().__init__(f"{target} {reason}")


def left_before(targets: Sequence[Path], settings: Mapping[str, Any], image: Image | str) -> Standing:
    """What an earlier run has left. ``targets``: the outputs, the record last. ``image``: the input, or its hash."""
    if not targets[-1].exists():
        return Standing()
    sha256 = image if isinstance(image, str) else image.hashed()
    return standing(targets[-1], settings, sha256, targets[:-1])


def left_over(file: InputFile, targets: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Outputs of the run before that this one does not write.

    Its record goes, and with it what only it vouches for, and those of them that somebody has changed since, which
    stay. Files that it does not name are none of ours.
    """
    others = [path for ending in ENDINGS if (path := file.output(ending)) not in targets]
    return unchanged(targets[-1], others)


def check_no_input(file: InputFile, targets: Sequence[Path]) -> None:
    """``ValueError`` if an output would replace another input: to replace outputs is no leave to do that."""
    for target in targets:
        if target in file.replaced:
            raise ValueError(f"{target} would be written, but is an input as well: choose another output folder")


def check_free(targets: Sequence[Path], options: Options, before: Standing) -> None:
    """``ValueError`` if something lies where the outputs will be, which may not be replaced."""
    existing = [target for target in targets if os.path.lexists(target)]
    for target in existing:
        is_foreign = target.name.endswith(ZARR_ENDING) and not is_label_volume(target)
        if target.is_dir() != target.name.endswith((MASKS_ENDING, ZARR_ENDING)) or is_foreign:
            raise ValueError(f"{target} is in the way: it is not an output of this command, move it away")
        if target.name.endswith(MASKS_ENDING) and (name := foreign_in(target)):
            raise ValueError(f"{target} is in the way: it holds {name}, which is not of this command, move it away")
    if not existing or options.overwrite or before.may_be_redone:
        return
    raise AlreadyThere(existing[0], options.skip_existing)
