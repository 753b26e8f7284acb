"""Segment everything in a microscopy image: SAM's automatic mask generation, for napari.

    >>> from napari_sam_amg import generate_masks, load_model
    >>> masks = generate_masks(image, load_model())  # doctest: +SKIP

Importing the package imports neither torch nor napari; the names below are loaded at first use.
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from napari_sam_amg.openmp import bound_spinning
from napari_sam_amg.triton_guard import guard_triton

if TYPE_CHECKING:
    from napari_sam_amg.amg.generate import refilter
    from napari_sam_amg.amg.masks import Masks
    from napari_sam_amg.amg.planes import PlaneStack
    from napari_sam_amg.amg.stored import StoredCandidates
    from napari_sam_amg.cli.from_python import SegmentedFile, segment_to_files
    from napari_sam_amg.evaluation.scores import Score, evaluate_labels
    from napari_sam_amg.interchange.onnx import OnnxFiles, export_onnx
    from napari_sam_amg.models.checkpoint import load_model
    from napari_sam_amg.objects.linker import link_planes
    from napari_sam_amg.params import AmgParameters
    from napari_sam_amg.replay import segment_again
    from napari_sam_amg.run import PlaneResult, Step, generate_masks, parameters_for, propose_candidates, segment_planes
    from napari_sam_amg.settings import Settings, read_settings

__all__ = [
    "AmgParameters",
    "Masks",
    "OnnxFiles",
    "PlaneResult",
    "PlaneStack",
    "Score",
    "SegmentedFile",
    "Settings",
    "Step",
    "StoredCandidates",
    "__version__",
    "evaluate_labels",
    "export_onnx",
    "generate_masks",
    "link_planes",
    "load_model",
    "parameters_for",
    "propose_candidates",
    "read_settings",
    "refilter",
    "segment_again",
    "segment_planes",
    "segment_to_files",
]
__version__ = _version("napari-sam-amg")

guard_triton()
bound_spinning()  # of no use once torch is loaded, and of none if the user has decided

_HOME = {
    "AmgParameters": "params",
    "Masks": "amg.masks",
    "OnnxFiles": "interchange.onnx",
    "PlaneResult": "run",
    "PlaneStack": "amg.planes",
    "Score": "evaluation.scores",
    "Settings": "settings",
    "SegmentedFile": "cli.from_python",
    "Step": "run",
    "StoredCandidates": "amg.stored",
    "evaluate_labels": "evaluation.scores",
    "export_onnx": "interchange.onnx",
    "generate_masks": "run",
    "link_planes": "objects.linker",
    "load_model": "models.checkpoint",
    "parameters_for": "run",
    "propose_candidates": "run",
    "read_settings": "settings",
    "refilter": "amg.generate",
    "segment_again": "replay",
    "segment_planes": "run",
    "segment_to_files": "cli.from_python",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
