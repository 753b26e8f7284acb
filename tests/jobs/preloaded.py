"""Loaded by every worker of the tests' cluster before anything else: it tells of models, and does what it is told.

In the folder ``TOLD``: "loads" gets the number of the process for each model that is loaded, "units" for each unit that
is proposed; "poison" names a plane that kills whoever proposes it, "slow" how long each one takes.
"""

import os
import signal
import time
from pathlib import Path

from napari_sam_amg.amg import work
from napari_sam_amg.models import checkpoint

told = Path(os.environ["NAPARI_SAM_AMG_TESTS_TOLD"])
# dask may load this again, into the same module
load_model, propose_steps = (getattr(one, "real", one) for one in (checkpoint.load_model, work.propose_steps))


def say(name, what):
    with (told / name).open("a") as file:
        file.write(f"{what}\n")


def said(name):
    return (told / name).read_text() if (told / name).exists() else ""


def load_and_tell(*arguments, **options):
    say("loads", os.getpid())
    return load_model(*arguments, **options)


def propose_as_told(region, *arguments):
    say("units", f"{os.getpid()} {region.index}")
    if said("poison") == str(region.index):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(said("slow") or 0))
    yield from propose_steps(region, *arguments)


load_and_tell.real, propose_as_told.real = load_model, propose_steps
checkpoint.load_model, work.propose_steps = load_and_tell, propose_as_told
