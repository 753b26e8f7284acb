"""Import torch in a worker thread without freezing the window.

First cause: Python holds its global lock while the system loads a library, and torch's are so large
that the window would stand still for a second or more (measured: 1.3 to 1.8 s on two busy cores).
They are loaded without that lock first (``triton_guard.load_library``), and Python's import then
finds them loaded. On Windows torch itself does so.

Second cause: the garbage collector walks all objects again and again while the imports make
hundreds of thousands of them, for 0.13 to 0.27 s each time, with the lock held. It is switched off
until they are done, and then told to leave these objects alone, see ``collector.py``.
"""

import gc
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from napari_sam_amg.openmp import bound_spinning
from napari_sam_amg.triton_guard import load_library

_MODULES = ("torch", "napari_sam_amg.run", "napari_sam_amg.models.checkpoint")
_LIBRARIES = ("lib/libtorch_cpu.*", "lib/libtorch_cuda.*")


def load_torch() -> None:
    """Import everything that a run needs; at once if that was done before."""
    bound_spinning()
    if os.name == "posix" and "torch" not in sys.modules:
        _preload()
    if _MODULES[-1] not in sys.modules:
        _import_all()


def _preload() -> None:
    spec = importlib.util.find_spec("torch")  # found without importing it
    if spec is None or spec.origin is None:
        return
    for pattern in _LIBRARIES:
        for path in sorted(Path(spec.origin).parent.glob(pattern)):
            load_library(path)


def _import_all() -> None:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for name in _MODULES:
            importlib.import_module(name)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
