"""Load triton without crashing a process in which Mesa has drawn, and without freezing its window.

Importing torchvision imports triton (by way of ``torch._dynamo``). Triton brings an LLVM of its own;
Mesa, which draws napari's canvas where there is no other driver, brings another and shows it to all
libraries loaded later. Bound to Mesa's, triton ends the process with a segmentation fault
(torchvision 0.29, triton 3.8, Mesa 22.3): from the widget, from napari's console, from any program
that has drawn with OpenGL. ``RTLD_DEEPBIND`` binds triton to its own.

Nothing is loaded here. The guard waits in ``sys.meta_path`` for the import of triton's library,
whoever asks for it, and loads the library just before.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

LIBRARY = "triton._C.libtriton"
MAPS = Path("/proc/self/maps")
#: Libraries of a process that draws. Mesa's driver and its LLVM come with the first drawing, perhaps
#: while triton is loaded in another thread, so it is not waited for.
DRAWING = (b"libGL.", b"libEGL.", b"libGLX", b"libLLVM")


class TritonGuard(MetaPathFinder):
    """Finds nothing: the usual finders find triton."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == LIBRARY and os.name == "posix":
            flags = os.RTLD_DEEPBIND if hasattr(os, "RTLD_DEEPBIND") and _may_draw() else 0
            for folder in path or ():
                for library in sorted(Path(folder).glob("libtriton*.so")):
                    load_library(library, flags)
        return None


def guard_triton() -> None:
    """From now on; again is once."""
    if not any(isinstance(finder, TritonGuard) for finder in sys.meta_path):
        sys.meta_path.insert(0, TritonGuard())


def load_library(path: Path, flags: int = 0) -> None:
    """``dlopen``, as the system has it: Python's import holds its global lock meanwhile, this does not.

    A failure is left to the import that follows, which reports it better.
    """
    system = ctypes.CDLL(None)
    system.dlopen.restype = ctypes.c_void_p
    system.dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    system.dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_LOCAL | flags)


def _may_draw() -> bool:
    try:
        loaded = MAPS.read_bytes()
    except OSError:  # no Linux: no Mesa that draws
        return False
    return any(name in loaded for name in DRAWING)
