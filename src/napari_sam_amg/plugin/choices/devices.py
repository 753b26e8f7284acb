"""Which processors and graphics cards there are to compute with.

torch knows, but is not imported when the widget opens: until a run has done that, a look at its files and at the
system's tells nearly as well.
"""

import importlib.util
import platform
import re
import sys
from pathlib import Path

ALWAYS = ("auto", "cpu")
_NVIDIA = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path(r"C:\Windows\System32\nvcuda.dll"))  # the second: in WSL
_AMD = (Path("/dev/kfd"),)
_BUILT_FOR = re.compile(r"^(cuda|hip)\b[^=\n]*=\s*'", re.MULTILINE)  # in torch/version.py; None of a build without


def likely_devices() -> tuple[str, ...]:
    """Without importing torch."""
    devices: tuple[str, ...] = ALWAYS
    drivers = {"cuda": _NVIDIA, "hip": _AMD}
    if any(path.exists() for kind in _built_for() for path in drivers[kind]):
        devices += ("cuda",)
    if sys.platform == "darwin" and platform.machine() == "arm64":
        devices += ("mps",)
    return devices


def _built_for() -> set[str]:
    """For which graphics cards torch was built: "cuda", "hip" (which torch calls cuda, too)."""
    spec = importlib.util.find_spec("torch")  # found without importing it
    if spec is None or spec.origin is None:
        return set()
    try:
        return set(_BUILT_FOR.findall(Path(spec.origin).with_name("version.py").read_text("utf-8")))
    except OSError:
        return set()


def is_torch_there() -> bool:
    """Whether a run has imported it."""
    return "torch" in sys.modules


def known_devices() -> tuple[str, ...]:
    """Of torch itself. It may take a second to find its graphics cards: for a worker thread."""
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = tuple(f"cuda:{card}" for card in range(cards)) if cards > 1 else ()
    has_mps = bool(torch.backends.mps.is_available())
    return (*ALWAYS, *(("cuda",) if cards else ()), *named, *(("mps",) if has_mps else ()))
