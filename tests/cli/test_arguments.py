"""Flags, help, wrong usage, and what is imported."""

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from napari_sam_amg.cli.flags import given_parameters, parse
from napari_sam_amg.cli.main import main
from napari_sam_amg.params import AmgParameters, merged, parameter_type


def test_every_parameter_has_a_flag_and_none_is_given_by_itself() -> None:
    assert given_parameters(parse(["segment", "a", "--output", "b"])) == {}
    for spec in dataclasses.fields(AmgParameters):
        value = "large" if spec.name == "overlap" else "1"
        for flag in (f"--{spec.name}", f"--{spec.name.replace('_', '-')}"):
            for words in ([flag, value], [f"{flag}={value}"]):
                given = given_parameters(parse(["segment", "a", "--output", "b", *words]))
                assert list(given) == [spec.name]
                assert str(given[spec.name]) in (value, "1.0")


def test_underscores_in_file_names_are_left_alone() -> None:
    arguments = parse(["segment", "--output=a_b", "--points_per_side=3", "--", "--x_y.tif"])
    assert arguments.output == Path("a_b")
    assert arguments.inputs == [Path("--x_y.tif")]


def test_given_parameters_win_over_the_models_over_the_references() -> None:
    params = merged({"pred_iou_thresh": 0.4, "box_nms_thresh": 0.5}, {"pred_iou_thresh": 0.3})
    assert params == AmgParameters(pred_iou_thresh=0.3, box_nms_thresh=0.5)


NEGATIVE = ("-1", "-1.5", "-.5", "-5.", "-1e3", "-1E3", "-.5e-3", "-1.e+3", "-1_000", "-inf", "-Infinity", "-nan")


@pytest.mark.parametrize("value", NEGATIVE)
def test_negative_numbers_are_values_and_no_flags(value: str) -> None:
    arguments = parse(["segment", "a", "--output", "b", "--intensities", value, "100", "--pixel-size", value])
    np.testing.assert_array_equal(arguments.intensities, [float(value), 100])
    np.testing.assert_equal(arguments.pixel_size, float(value))
    for spec in dataclasses.fields(AmgParameters):
        if parameter_type(spec.name) is float:
            flag = f"--{spec.name.replace('_', '-')}"
            given = getattr(parse(["segment", "a", "--output", "b", flag, value]), spec.name)
            np.testing.assert_equal(given, float(value))


@pytest.mark.parametrize("value", ["-h1", "-e3", "-x", "--1", "-infinite", "-1e", "-"])
def test_what_is_no_number_is_none(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "a", "--output", "b", "--pixel-size", value])
    capsys.readouterr()


def test_help_shows_defaults_and_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: 0.88; allowed: 0 to 1)" in text
    assert "(default: score; allowed: score, small, large)" in text
    assert "NAME_labels.tif" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["segment"],
        ["segment", "a.tif"],
        ["segment", "--output", "b"],
        ["segment", "a.tif", "--output", "b", "--no-such-flag"],
        ["segment", "a.tif", "--output", "b", "--points-per-side", "many"],
        ["segment", "a.tif", "--output", "b", "--format", "labels,jpeg"],
        ["paint"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    usage, *error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: napari-sam-amg")
    assert len(error) == 1  # what is wrong is not below a page of flags


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("napari-sam-amg ")


@pytest.mark.parametrize("words", [[], ["models"]])
def test_neither_napari_nor_torch_is_imported_before_it_is_needed(words: list[str]) -> None:
    code = (
        f"import sys; from napari_sam_amg.cli.main import main; {words} and main({words});"
        "print([m for m in ('torch', 'napari', 'qtpy', 'cv2', 'pooch', 'requests', 'filelock') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words", [["segment", "", "--output", "x"], ["segment", "a", "--output", ""], ["demo", "--output="]]
)
def test_an_empty_argument_is_not_this_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(words)
    assert exited.value.code == 2
    assert capsys.readouterr().err.endswith("error: an argument is empty\n")


@pytest.mark.parametrize("name", ["-a.tif", "--b.tif"])
def test_a_file_whose_name_begins_like_a_flag(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(SystemExit) as exited:
        main(["segment", name, "--output", "x"])
    assert exited.value.code == 2
    assert capsys.readouterr().err.endswith(f"'{name}' is a file whose name begins like a flag: write './{name}'\n")
    assert main(["segment", "--output", "x", "--", name]) == 1  # it is empty
    assert f"{name}: error: the file is empty" in capsys.readouterr().err
