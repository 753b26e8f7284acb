"""Threads that wait are bound before torch is loaded, unless the user has decided otherwise."""

import os
import subprocess
import sys

import pytest

PRINT = "; import os, sys; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
COMMAND = "from napari_sam_amg.cli.main import main; main(['models', '--folder'])" + PRINT
PLUGIN = "import sys; from napari_sam_amg.plugin.running.torch_loader import load_torch; load_torch()" + PRINT


def printed(code: str, **environment: str) -> str:
    names = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    run = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    return run.stdout.splitlines()[-1]


def test_the_command_line_sets_it_before_torch():
    assert printed(COMMAND) == "False 1000"


def test_the_plugin_sets_it():
    assert printed(PLUGIN) == "True 1000"


def test_the_import_sets_it_without_torch():
    assert printed("import napari_sam_amg" + PRINT) == "False 1000"


def test_processes_of_the_command_line_have_it():
    """Workers are new processes, with the environment of the one that starts them, and import torch themselves."""
    inner = "import os; print(1, os.environ['GOMP_SPINCOUNT'])"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    assert printed("import napari_sam_amg; " + child) == "1 1000"


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY"])
def test_what_the_user_set_stays(name):
    assert printed(COMMAND, **{name: "7"}) == f"False {'7' if name == 'GOMP_SPINCOUNT' else None}"
