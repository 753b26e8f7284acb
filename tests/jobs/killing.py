"""A command that segments a stack is killed at random moments, over and over, and given again: does that show?

Run by ``test_killing.py`` as a process of its own, which forks fast since it has imported all that is needed; with an
image, a number of kills and options of the command, it does the same with the built-in model:

    python tests/jobs/killing.py stack.tif 20 --link z
"""

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

import napari_sam_amg.batch.one_file  # noqa: F401  # before the forks, each of which would import it
from napari_sam_amg.cli.main import main
from napari_sam_amg.models import checkpoint
from tests.cli.terminal import INFO
from tests.disc_model import BlobModel, blobs

OPTIONS = ("--format", "labels,coco-rle", "--overlay", "--link", "z", "--min-planes", "2")
PLANES = 10


class SlowModel(BlobModel):
    def embed(self, image):
        time.sleep(0.02)
        return super().embed(image)


def make_stack(path: Path) -> Path:
    planes = [blobs((64, 80), [(20 + n, 20, 8), (50, 20 + 2 * n, 6 + n)][: 1 + n % 2]) for n in range(PLANES)]
    planes[3] = np.zeros_like(planes[3])
    tifffile.imwrite(path, np.stack(planes), photometric="minisblack", compression="zlib")
    return path


def begin(image: Path, out: Path, options: Sequence[str]) -> int:
    """The command, in a process of its own, which is returned."""
    child = os.fork()
    if not child:
        os._exit(main(["segment", str(image), "--output", str(out), "--quiet", "--skip-existing", *options]))
    return child


def end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hashes(out: Path) -> dict[str, str]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "s_run.json"]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def sweep(folder: Path, image: Path, kills: int, options: Sequence[str]) -> None:
    """Each of so many runs is killed once or more, and ends as one that was not."""
    began = time.perf_counter()
    assert end(begin(image, folder / "whole", options)) == 0
    whole = time.perf_counter() - began
    expected, chance, continued, killed = hashes(folder / "whole"), random.Random(), [], 0
    while killed < kills:
        out = folder / str(len(continued))
        for _ in range(chance.choice((1, 1, 2))):
            began, child = time.perf_counter(), begin(image, out, options)
            time.sleep(chance.uniform(0, whole))
            os.kill(child, signal.SIGKILL)
            if end(child) == -signal.SIGKILL:
                killed += 1
            else:
                whole = min(whole, time.perf_counter() - began)  # the first one may have had to wait for a core
        assert (status := end(begin(image, out, options))) == 0, f"{out}: exit status {status}"
        assert hashes(out) == expected, f"{out}: not what an uninterrupted run gives"
        continued.append(json.loads((out / "s_run.json").read_text())["parts_done_before"])
    assert any(continued), "no run went on with what was done"
    print(f"{killed} kills, {len(continued)} runs, all equal; parts done before: {continued}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if sys.argv[1:]:
            (folder / "s.tif").symlink_to(Path(sys.argv[1]).resolve())
            sweep(folder, folder / "s.tif", int(sys.argv[2]), sys.argv[3:])
        else:
            checkpoint.load_model = lambda *_, **__: SlowModel(info=INFO)
            sweep(folder, make_stack(folder / "s.tif"), 6, OPTIONS)
