"""``segment_to_files``: the command as a function."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_sam_amg import AmgParameters, segment_to_files
from napari_sam_amg.batch.options import Options
from napari_sam_amg.cli import from_python
from tests.cli.terminal import Terminal


@pytest.fixture
def here(terminal: Terminal, monkeypatch):
    """The terminal's model, in the function too."""
    monkeypatch.setattr(from_python, "load_model", lambda *_, **__: terminal.model)
    return terminal


def test_images_become_the_files_that_the_command_writes(here):
    images = [here.png(), here.stack()]
    found = segment_to_files(images, here.folder / "python", overlay=True)
    assert here.segment(*images, "--overlay") == 0
    assert [result.path for result in found] == images
    assert [result.problem for result in found] == ["", ""]
    for result in found:
        for path in result.outputs:
            if not path.name.endswith("_run.json"):
                assert path.read_bytes() == (here.out / path.name).read_bytes()
    assert sorted(path.name for result in found for path in result.outputs) == here.written()
    assert here.lines()[1] == []


def test_one_image_may_be_given_alone_and_parameters_are_those_that_were_given(here):
    (found,) = segment_to_files(str(here.png()), str(here.out), params=AmgParameters(points_per_side=7))
    record = json.loads(found.outputs[-1].read_text())
    assert record["parameters_used"]["points_per_side"] == 7


def test_what_fails_stops_no_other_and_is_said(here):
    tifffile.imwrite(here.folder / "bad.tif", np.zeros((2, 2), np.uint8))
    images = [here.folder / "gone.tif", here.folder / "bad.tif", here.png()]
    found = {result.path: result for result in segment_to_files(images, here.out, merge_tables=True)}
    assert found[images[0]].problem == "no such file or folder"
    assert "each side must have at least 8" in found[images[1]].problem
    assert (found[images[1]].outputs, found[images[2]].problem) == ((), "")
    assert set(pd.read_csv(here.out / "all_features.csv")["file"]) == {str(images[2])}


def test_a_stack_that_was_interrupted_goes_on(here, monkeypatch):
    embed = here.model.embed

    def interrupted(image):
        if len(here.model.embedded) == 1:
            raise KeyboardInterrupt
        return embed(image)

    with monkeypatch.context() as patched:
        patched.setattr(here.model, "embed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            segment_to_files(here.stack(), here.out)
    segment_to_files(here.folder / "s.tif", here.out)
    assert len(here.model.embedded) == 2  # planes with something in them


def test_what_is_wrong_with_all_is_raised(here, tmp_path):
    with pytest.raises(TypeError, match="colour"):
        segment_to_files(here.png(), here.out, colour=True)
    with pytest.raises(ValueError, match="needs a segmentation decoder"):
        segment_to_files(here.png(), here.out, params=AmgParameters(mode="ais"))


def test_formats_may_be_a_list_or_one_name_and_an_unknown_one_is_named():
    assert Options(formats=["labels", "zarr"]).formats == {"labels", "zarr"}
    assert Options(formats="masks").formats == {"masks"}
    with pytest.raises(ValueError, match="formats='coco' is not allowed: choose from labels, zarr, coco-rle"):
        Options(formats={"coco"})


def test_single_parameters_may_be_given_by_name(here):
    own = here.model.info.amg_defaults["points_per_side"]
    for params, points in ((None, own), (AmgParameters(points_per_side=7), 7)):
        (found,) = segment_to_files(here.png(), here.out, params=params, overlap="small", overwrite=True)
        asked = json.loads(found.outputs[-1].read_text())["settings"]["parameters"]
        assert (asked["overlap"], asked["points_per_side"]) == ("small", points)


def test_a_name_that_is_neither_parameter_nor_option_is_refused(here):
    with pytest.raises(TypeError, match=r"'overlapp' is no parameter: allowed are .*overlap.*options .*overwrite"):
        segment_to_files(here.png(), here.out, overlapp="small")
    assert here.written() == []
