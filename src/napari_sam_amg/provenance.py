"""The record of a run: everything that is needed to repeat it, and to tell whether it was the same."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg import __version__
from napari_sam_amg.params import AmgParameters

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
        },
        "precision": getattr(model, "precision", "exact"),
        "parameters": asdict(params),
    }


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
    files = output.rglob("*") if output.is_dir() else [output]
    return sum(file.stat().st_size for file in files if file.is_file())


def is_complete(path: Path, settings: Mapping[str, Any], sha256: str, outputs: Sequence[Path]) -> bool:
    """Whether the record at ``path`` says that these outputs are there, of the same input and settings.

    An output of another size than recorded is another one.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        same = record["settings"] == json.loads(json.dumps(settings)) and record["input"]["sha256"] == sha256
        same = same and not record.get("problems")  # planes that failed are not done
        written, known = set(record["outputs"]), dict(record.get("output_bytes", {}))
        return same and all(
            output.name in written and output.exists() and known.get(output.name, _size(output)) == _size(output)
            for output in outputs
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no record, or one that is none of ours
        return False
