"""Import torch in a worker thread without freezing the window, and without crashing it.

Freezing, first cause: Python holds its global lock while the system loads a library, and torch's are so large
that the window would stand still for a second or more (measured: 1.3 to 1.8 s on two busy cores).
The system's own ``dlopen``, called through ctypes, loads them without that lock, and Python's import
then finds them loaded. On Windows torch itself loads its libraries through ctypes.

Freezing, second cause: the garbage collector walks all objects again and again while the imports make
hundreds of thousands of them, for 0.13 to 0.27 s each time, with the lock held. It is switched off
until they are done, and then told to leave these objects alone; ``Runner`` ends that with the run.

Crashing: Mesa, which draws napari's canvas where no NVIDIA driver does, brings one LLVM and shows it
to all libraries loaded later; triton, which importing torchvision imports, brings another. Bound to
Mesa's, triton ends the process with a segmentation fault (torchvision 0.29, triton of torch 2.14, Mesa
22.3). ``RTLD_DEEPBIND`` binds triton to its own.
"""

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
from pathlib import Path

_MODULES = ("torch", "napari_sam_amg.run", "napari_sam_amg.sam.checkpoint")


def load_torch() -> None:
    """Import everything that a run needs; at once if that was done before."""
    if os.name == "posix":
        if "torch" not in sys.modules:
            _preload(_package_folder("torch"), ("lib/libtorch_cpu.*", "lib/libtorch_cuda.*"))
        if "triton" not in sys.modules:
            _preload(_package_folder("triton"), ("_C/libtriton*.so",), getattr(os, "RTLD_DEEPBIND", 0))
    if _MODULES[-1] not in sys.modules:
        _import_all()


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


def _package_folder(package: str) -> Path | None:
    """Found without importing it."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _preload(folder: Path | None, patterns: tuple[str, ...], flags: int = 0) -> None:
    """Load libraries that exist; a failure is left to the import, which reports it better."""
    if folder is None:
        return
    system = ctypes.CDLL(None)
    system.dlopen.restype = ctypes.c_void_p
    system.dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            system.dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_LOCAL | flags)
