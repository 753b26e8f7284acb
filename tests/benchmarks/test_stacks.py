"""The benchmark of objects through z, on a few planes."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import stacks
from napari_sam_amg import link_planes
from tests.cli.terminal import INFO
from tests.disc_model import BlobModel, blobs

PLANES = np.stack([blobs(discs=((30, 30, 12), (90 + n, 60, 14))) for n in range(4)])


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stacks, "load_model", lambda: BlobModel(info=INFO))
    tifffile.imwrite(tmp_path / "s.tif", PLANES, photometric="minisblack")
    return tmp_path / "s.tif"


def test_a_whole_stack_is_scored_as_a_volume(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = (PLANES > 127).astype(np.uint16)
    truth[:, :, 64:] *= 2
    tifffile.imwrite(image.with_name("t.tif"), truth, photometric="minisblack")
    assert stacks.main(["score", str(image), str(image.with_name("t.tif"))]) == 0
    assert "s.tif: 4 planes, 2 objects, 2 found: AP at .5 1.000" in capsys.readouterr().out
    tifffile.imwrite(image.with_name("t.tif"), truth[:3], photometric="minisblack")
    with pytest.raises(ValueError, match="they must be one stack"):
        stacks.main(["score", str(image), str(image.with_name("t.tif"))])


def test_planes_of_a_stack_are_told_beside_single_images(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stacks.main(["speed", str(image), "--planes", "2", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["single images", "stack", "stack, linked"]
    assert lines[0].endswith(" 1.00 of single images")
    with pytest.raises(ValueError, match="--planes 5 is not allowed"):
        stacks.main(["speed", str(image), "--planes", "5"])


def test_made_up_planes_hold_as_many_objects_as_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    stored = list(stacks.discs(4, 40))
    results = list(link_planes(stored, stored[0].params))
    assert [len(result.features) for result in results] == [40] * 4
    assert sum(len(result.objects) for result in results if result.objects is not None) == 40
    assert stacks.main(["links", "--planes", "3", "--objects", "20", "--repeats", "1"]) == 0
    assert re.fullmatch(r"3 planes x 20 objects: \d+\.\d\d s, \d+\.\d ms a plane\n", capsys.readouterr().out)
