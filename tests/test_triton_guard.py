"""The guard against two LLVMs in one process. What it prevents is shown in tests/plugin/test_console.py."""

import subprocess
import sys

CODE = """
import importlib, sys
import napari_sam_amg
importlib.reload(napari_sam_amg)
print(*(name for name in ("torch", "triton") if name in sys.modules))
print(sum(type(finder).__name__ == "TritonGuard" for finder in sys.meta_path))
"""


def test_it_stands_once_and_loads_nothing_by_itself() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["", "1"]
