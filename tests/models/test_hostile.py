"""Files that are made to do harm, or that hold more than they seem to: looked at and refused, quickly and in little."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.hostile import write_all

#: Each file once by the widget's look at it and once by the loader, under a limit of memory; prints what each says.
LOOK = """
import resource, sys, time
from pathlib import Path
from napari_sam_amg.models.archive import open_archive
from napari_sam_amg.models.defaults import model_defaults
from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.models.state_dict import recognise

for path in map(Path, sys.argv[1:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if path.stem in ("zip_bomb", "many_dicts"):
        assert model_defaults(str(path)) == {}, path
    try:
        with open_archive(path) as archive:
            recognise(archive.content)
        said = "nothing"
    except CheckpointError as error:
        said = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(path.stem, peak // 1000, said, sep="\\t", flush=True)
assert "torch" not in sys.modules
"""
LIMIT = 1 << 30  # bytes of address space


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_hostile_files_take_little_memory_and_time(tmp_path: Path) -> None:
    files = write_all(tmp_path)
    assert max(path.stat().st_size for path in files) < 12_000_000
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [name for name, _, _ in lines] == [path.stem for path in files]
    assert max(int(megabytes) for _, megabytes, _ in lines) < 150, lines
    said = {name: words for name, _, words in lines}
    assert all(words != "nothing" and len(words) < 450 and words.isprintable() for words in said.values()), said
    assert "data.pkl has 300000000 bytes" in said["zip_bomb"]
    assert "a list of entries of" in said["long_list_of_entries"]
    assert "has more than 400000 steps" in said["many_dicts"] == said["many_dicts_old"]
    assert "has more than 400000 steps" in said["copied_again_and_again"]
    assert "absurdly long number" in said["long_number"]
    assert "the keys a??[31mred" in said["codes_in_a_name"]
