"""The record of a run: everything that is needed to repeat it, and to tell whether it was the same."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg import __version__
from napari_sam_amg.params import AmgParameters, merged

if TYPE_CHECKING:
    from napari_sam_amg.amg.propose import Model

PACKAGES = ("numpy", "torch", "torchvision", "opencv-python-headless", "scikit-image", "pillow", "tifffile", "pandas")


def describe_run(model: "Model", params: AmgParameters) -> dict[str, Any]:
    """The model, where it computes, and the parameters, as JSON has them."""
    info = model.info
    return {
        "model": {
            "name": info.name,
            "architecture": info.architecture,
            "file": info.path_name,
            "sha256": info.sha256,
        }
        | ({"decoder_sha256": info.decoder_sha256} if info.decoder_sha256 else {}),
        "precision": getattr(model, "precision", "exact"),
        "parameters": asdict(params),
    } | ({"search_thresholds": search_thresholds(model)} if params.approximate else {})


def search_thresholds(model: "Model") -> dict[str, float]:
    """The model's own thresholds, by which an approximate search decides which points are asked."""
    own = merged(model.info.amg_defaults)
    return {name: getattr(own, name) for name in ("pred_iou_thresh", "stability_score_thresh")}


def versions(*more: str) -> dict[str, str]:
    """Of this package, Python and everything that takes part in the result, ``more`` packages among it."""
    found = {name: _version(name) for name in (*PACKAGES, *more)}
    return {
        "napari-sam-amg": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    } | {name: number for name, number in found.items() if number is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # run from the source tree, or another package in its place
        return None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def sizes(outputs: Sequence[Path]) -> dict[str, int]:
    """Bytes of every output by name, of a folder those of all files in it: with them a record knows its outputs."""
    return {output.name: _size(output) for output in outputs}


def _size(output: Path) -> int:
    return sum(file.stat().st_size for file in _files(output))


def _files(output: Path) -> list[Path]:
    found = output.rglob("*") if output.is_dir() else [output]
    return [file for file in found if file.is_file()]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record of an earlier run says of outputs that are to be written."""

    is_complete: bool = False  # all are there, of the same input and settings, and no plane failed
    may_be_redone: bool = False  # same input and settings, but not complete; nothing of a user's would be lost


def standing(path: Path, settings: Mapping[str, Any], sha256: str, outputs: Sequence[Path]) -> Standing:
    """Of the record at ``path``. An output of another size than recorded is another one, and nothing is vouched for."""
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["settings"] != json.loads(json.dumps(settings)) or record["input"]["sha256"] != sha256:
            return Standing()
        written, known = set(record["outputs"]), dict(record.get("output_bytes", {}))
        there = [output for output in outputs if os.path.lexists(output)]
        for output in there:
            if (
                output.name not in written
                or not output.exists()
                or known.get(output.name, _size(output)) != _size(output)
            ):
                return Standing()
        if len(there) == len(outputs) and not record.get("problems"):
            return Standing(is_complete=True)
        # What else the record vouches for would be left without one.
        others = written - {output.name for output in (*outputs, path)}
        return Standing(may_be_redone=not others and not _changed_since(path, there))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no record, or one that is none of ours
        return Standing()


def unchanged(path: Path, outputs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Of these the outputs that the record at ``path`` names: those that are as it left them, and the others."""
    try:
        record = json.loads(path.read_text("utf-8"))
        named, known = set(record["outputs"]), dict(record.get("output_bytes", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no record, or one that is none of ours
        return [], []
    there = [output for output in outputs if output.name in named and os.path.lexists(output)]
    same = [
        output
        for output in there
        if not output.is_symlink() and known.get(output.name) == _size(output) and not _changed_since(path, [output])
    ]
    return same, [output for output in there if output not in same]


def _changed_since(path: Path, outputs: Sequence[Path]) -> bool:
    """Whether somebody has written an output after its record, which was written last: an edit may keep the size."""
    last = path.stat().st_mtime_ns
    return any(file.stat().st_mtime_ns > last for output in outputs for file in _files(output))
