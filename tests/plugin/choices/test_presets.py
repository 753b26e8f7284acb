"""Settings by name: built in, one's own, on the command line, and files that are not as they should be."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch
from qtpy.QtWidgets import QMessageBox

from napari_sam_amg.cli import main
from napari_sam_amg.models.defaults import model_defaults
from napari_sam_amg.models.registry import known_models
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.plugin.choices import model_box
from napari_sam_amg.plugin.choices.presets import OWN, built_in, check_name, own_presets, presets_folder, save_preset
from napari_sam_amg.settings import read_settings
from tests.disc_model import disc_image


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models" / "presets"


def pick(plugin: Any, name: str) -> None:
    """As a user does it, who may choose what is chosen already."""
    box = plugin.widget.presets_box.preset
    row = next(row for row in range(box.count()) if box.itemData(row).name == name)
    box.setCurrentIndex(row)
    box.activated.emit(row)


def save_as(plugin: Any, name: str) -> None:
    box = plugin.widget.presets_box
    box.save_button.click()
    assert box.name.isVisible()
    plugin.qtbot.keyClicks(box.name, name)  # in the place of what may be there
    box.keep_button.click()


def test_a_preset_that_was_changed_is_saved_under_another_name_or_its_own(plugin: Any, folder: Path) -> None:
    box = plugin.widget.presets_box
    save_as(plugin, "mine")
    plugin.choose(points_per_side=12)
    assert box.preset.currentText() == "mine (changed)"
    save_as(plugin, "other")
    plugin.choose(points_per_side=14)
    box.save_button.click()
    assert box.name.text() == "other"
    box.keep_button.click()
    assert sorted(path.name for path in folder.iterdir()) == ["mine.json", "other.json"]
    assert read_settings(folder / "other.json").parameters["points_per_side"] == 14
    assert read_settings(folder / "mine.json").parameters["points_per_side"] == 16


@pytest.mark.parametrize("model", known_models())
def test_built_in_presets_are_allowed_with_every_model_and_none_forgets_its_thresholds(model: str) -> None:
    own, *others = built_in(model)
    assert (own.name, dict(own.settings.parameters)) == (OWN, {})
    assert [preset.name for preset in others] == ["nuclei", "cells, dense", "organelles (EM)", "everything"]
    suited = merged(model_defaults(model))
    for preset in others:
        params = merged(model_defaults(model), preset.settings.parameters)
        assert params != suited
        is_told = "pred_iou_thresh" in preset.settings.parameters
        assert is_told or params.pred_iou_thresh == suited.pred_iou_thresh
        assert not (is_told and model != "embedded")


def test_a_preset_sets_the_fields_and_says_when_they_were_changed(plugin: Any) -> None:
    box, form = plugin.widget.presets_box, plugin.widget.form
    pick(plugin, "everything")
    expected = merged(model_defaults("embedded"), built_in("embedded")[-1].settings.parameters)
    assert form.parameters() == expected
    assert box.preset.currentText() == "everything"
    plugin.choose(points_per_side=20)
    assert box.preset.currentText() == "everything (changed)"
    pick(plugin, "everything")  # once more
    assert (form.parameters(), box.preset.currentText()) == (expected, "everything")
    plugin.choose(points_per_side=20)
    pick(plugin, "nuclei")
    assert not any("changed" in box.preset.itemText(row) for row in range(box.preset.count()))
    pick(plugin, "everything")
    plugin.choose(points_per_side=20)
    plugin.choose(points_per_side=expected.points_per_side)
    assert box.preset.currentText() == "everything"
    plugin.choose(pred_iou_thresh=0.9, overlap="small")
    pick(plugin, OWN)
    assert form.parameters() == merged(model_defaults("embedded"))


def test_another_model_has_presets_of_its_own(plugin: Any) -> None:
    plugin.widget.model_box.model.setCurrentText("vit_b_lm")
    pick(plugin, "cells, dense")
    params = plugin.widget.form.parameters()
    assert (params.crop_n_layers, params.pred_iou_thresh) == (1, 0.65)
    plugin.widget.model_box.model.setCurrentText("embedded")
    assert plugin.widget.presets_box.preset.currentText().startswith(OWN)


def test_what_is_chosen_is_saved_chosen_again_and_deleted(
    plugin: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = plugin.widget.presets_box
    plugin.choose(pred_iou_thresh=0.61, overlap="large")
    plugin.widget.model_box.precision.setCurrentText("fast")
    saved = plugin.widget.form.parameters()
    save_as(plugin, "my screen 1")
    assert not box.name.isVisible()
    assert (box.preset.currentText(), box.delete_button.isEnabled()) == ("my screen 1", True)
    plugin.widget.model_box.model.setCurrentText("vit_b")
    plugin.widget.model_box.precision.setCurrentText("exact")
    assert plugin.widget.form.parameters() != saved
    pick(plugin, "my screen 1")
    assert plugin.widget.form.parameters() == saved
    assert (plugin.widget.model_box.chosen, plugin.widget.model_box.precision.currentText()) == ("embedded", "fast")
    assert box.preset.currentText() == "my screen 1"
    answers = iter((QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes))
    monkeypatch.setattr(QMessageBox, "question", lambda *_: next(answers))
    box.delete_button.click()
    assert (folder / "my screen 1.json").exists()
    box.delete_button.click()
    assert box.preset.currentText().startswith(OWN)
    assert not list(folder.iterdir())
    plugin.messages.clear()


def test_a_bad_name_or_a_bad_field_is_not_saved(plugin: Any, folder: Path) -> None:
    for name in ("", "../up", "Nuclei", "ends."):
        save_as(plugin, name)
        assert "name" in plugin.messages.pop().message
    plugin.widget.form.fields["points_per_side"].widget.value = 0
    save_as(plugin, "mine")
    assert "points_per_side=0" in plugin.messages.pop().message.lower()
    assert not folder.exists()


def test_files_that_are_wrong_are_named_once_and_the_others_are_there(plugin: Any, folder: Path) -> None:
    save_preset("good", "embedded", "exact", {"pred_iou_thresh": 0.6})
    (folder / "number.json").write_text('{"parameters": {"pred_iou_thresh": 7}}')
    (folder / "text.toml").write_text("no toml")
    (folder / "toml.toml").write_text("[parameters]\noverlap = 'large'\n")
    (folder / "notes.txt").write_text("mine")
    box = plugin.widget.presets_box
    box.list_presets()
    messages = sorted(message.message for message in plugin.messages)
    assert len(messages) == 2
    assert str(folder / "number.json") in messages[0]
    assert "pred_iou_thresh=7 is out of range" in messages[0]
    assert str(folder / "text.toml") in messages[1]
    box.list_presets()
    assert len(plugin.messages) == 2
    names = [box.preset.itemData(row).name for row in range(box.preset.count())]
    assert names[-2:] == ["good", "toml"]
    (folder / "later.toml").write_text("[parameters]\noverlap = 'large'\n")
    box.preset.showPopup()  # looks again
    assert box.preset.findText("later") > 0
    box.preset.hidePopup()
    plugin.messages.clear()


def test_a_preset_of_a_model_that_is_not_there_says_so_and_shows_its_numbers(plugin: Any) -> None:
    save_preset("theirs", "our_model", "exact", {"pred_iou_thresh": 0.33})
    plugin.widget.presets_box.list_presets()
    pick(plugin, "theirs")
    assert "there is no model 'our_model'" in plugin.messages.pop().message
    assert plugin.widget.form.parameters().pred_iou_thresh == 0.33
    assert plugin.widget.model_box.chosen == "embedded"


def test_a_preset_of_a_file_stays_when_it_is_known_what_suits_the_file(plugin: Any, tmp_path: Path) -> None:
    model = tmp_path / "own.pt"
    torch.save({"format": "napari-sam-amg/1", "amg": {"pred_iou_thresh": 0.42}, "model": {"w": torch.ones(3)}}, model)
    save_preset("of my file", str(model), "exact", {"stability_score_thresh": 0.77})
    box = plugin.widget.presets_box
    box.list_presets()
    with plugin.qtbot.waitSignal(plugin.widget.model_box.suited, timeout=30_000):
        pick(plugin, "of my file")
    params = plugin.widget.form.parameters()
    assert (params.pred_iou_thresh, params.stability_score_thresh) == (0.42, 0.77)
    assert (box.preset.currentText(), plugin.widget.model_box.chosen) == ("of my file", str(model))
    plugin.widget.model_box.model.setCurrentText("embedded")
    assert plugin.widget.form.parameters().stability_score_thresh == 0.35
    assert box.preset.currentText() == OWN


def test_what_is_chosen_and_typed_while_a_file_is_read_stays(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, may_end = tmp_path / "own.pt", threading.Event()
    torch.save({"format": "napari-sam-amg/1", "amg": {"pred_iou_thresh": 0.42}, "model": {"w": torch.ones(3)}}, file)

    def held(model: str) -> Any:
        assert may_end.wait(30)
        return model_defaults(model)

    monkeypatch.setattr(model_box, "model_defaults", held)
    plugin.widget.model_box.choose(str(file))
    pick(plugin, "organelles (EM)")
    plugin.choose(stability_score_thresh=0.77)
    with plugin.qtbot.waitSignal(plugin.widget.model_box.suited, timeout=30_000):
        may_end.set()
    params = plugin.widget.form.parameters()
    assert (params.pred_iou_thresh, params.min_visible_fraction, params.stability_score_thresh) == (0.42, 0.3, 0.77)
    assert plugin.widget.presets_box.preset.currentText() == "organelles (EM) (changed)"


def test_the_command_line_takes_the_file(tmp_path: Path) -> None:
    path = save_preset("mine", "embedded", "exact", {"pred_iou_thresh": 0.77, "points_per_side": 8})
    assert read_settings(path).params() == AmgParameters(pred_iou_thresh=0.77, points_per_side=8)
    tifffile.imwrite(tmp_path / "a.tif", disc_image([(15, 15)]))
    command = ["segment", str(tmp_path / "a.tif"), "--output", str(tmp_path / "out"), "--settings", str(path)]
    assert main.main([*command, "--quiet"]) == 0
    record = json.loads((tmp_path / "out" / "a_run.json").read_text())
    asked = record["settings"]["parameters"]
    assert (asked["pred_iou_thresh"], asked["points_per_side"]) == (0.77, 8)


def test_a_preset_of_a_file_names_it_and_the_command_line_finds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "own.pt"
    model.write_text("no checkpoint")
    path = save_preset("mine", str(model), "exact", {})
    tifffile.imwrite(tmp_path / "a.tif", disc_image([(15, 15)]))
    command = ["segment", str(tmp_path / "a.tif"), "--output", str(tmp_path / "out"), "--settings", str(path)]
    assert main.main(command) == 1
    assert f"{model}" in capsys.readouterr().err  # it was read as the checkpoint that it is not
    model.unlink()
    assert main.main(command) == 1
    assert "there is no model of the name" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_a_problem_and_no_error(tmp_path: Path) -> None:
    presets_folder().parent.mkdir()
    presets_folder().write_text("a file")
    (problem,) = own_presets().problems
    assert "presets cannot be read" in problem
    with pytest.raises(ValueError, match="built in"):
        check_name("Everything")
