"""Segment everything in a microscopy image: SAM's automatic mask generation, for napari.

    >>> from napari_sam_amg import generate_masks, load_model
    >>> masks = generate_masks(image, load_model())  # doctest: +SKIP

Importing the package imports neither torch nor napari; the names below are loaded at first use.
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from napari_sam_amg.triton_guard import guard_triton

if TYPE_CHECKING:
    from napari_sam_amg.amg.masks import Masks
    from napari_sam_amg.amg.planes import PlaneStack
    from napari_sam_amg.params import AmgParameters
    from napari_sam_amg.run import PlaneResult, Step, generate_masks, segment_planes
    from napari_sam_amg.sam.checkpoint import load_model

__all__ = [
    "AmgParameters",
    "Masks",
    "PlaneResult",
    "PlaneStack",
    "Step",
    "__version__",
    "generate_masks",
    "load_model",
    "segment_planes",
]
__version__ = _version("napari-sam-amg")

guard_triton()

_HOME = {
    "AmgParameters": "params",
    "Masks": "amg.masks",
    "PlaneResult": "run",
    "PlaneStack": "amg.planes",
    "Step": "run",
    "generate_masks": "run",
    "load_model": "sam.checkpoint",
    "segment_planes": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
