"""Enter and Escape in the dock widget, and decimal commas."""

from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam_amg.plugin.choices.form import ParameterForm
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel


@pytest.fixture
def ready(plugin: Any) -> Any:
    plugin.viewer.add_image(disc_image([(15, 15)]), name="mine")
    return plugin


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter])
def test_enter_in_a_field_runs_with_what_was_typed(ready: Any, key: Any) -> None:
    control = ready.widget.form.fields["points_per_side"].control
    control.lineEdit().selectAll()
    QTest.keyClicks(control.lineEdit(), "12")
    QTest.keyClick(control, key)
    assert ready.widget.runner is not None
    runner = ready.widget.runner
    ready.wait()
    assert runner.layer.metadata["napari-sam-amg"]["parameters"]["points_per_side"] == 12


def test_escape_cancels_and_other_keys_do_nothing(ready: Any, model: HeldModel) -> None:
    QTest.keyClick(ready.widget, Qt.Key.Key_Escape)
    QTest.keyClick(ready.widget, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(ready.widget, Qt.Key.Key_F)
    assert ready.widget.runner is None
    ready.click_run_and_hold(model, 1)
    QTest.keyClick(ready.widget.model_box.device, Qt.Key.Key_Escape)
    assert ready.widget.status.text() == "Cancelling..."
    model.release.set()
    ready.wait()


def test_keys_are_those_of_the_widget_after_a_click_on_run(ready: Any, model: HeldModel) -> None:
    """A button that is turned off has the keyboard no more, and Enter and Escape go on to mean what they mean."""
    widget, window = ready.widget, ready.widget.window()
    widget.run_button.setFocus()
    ready.click_run_and_hold(model, 1)
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
    assert widget.status.text() == "Cancelling..."
    model.release.set()
    ready.wait()
    model.hold_after = None
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Return)
    assert widget.runner is not None
    widget.cancel_button.setFocus()
    ready.wait()
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Return)  # and not the table, the next button
    assert widget.runner is not None
    ready.wait()


def test_enter_on_a_button_presses_that_button(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    button = ready.widget.presets_box.save_button
    monkeypatch.setattr(QApplication, "focusWidget", staticmethod(lambda: button))
    QTest.keyClick(button, Qt.Key.Key_Return)
    assert ready.widget.presets_box.naming.isVisible()
    assert ready.widget.runner is None


def test_tab_goes_through_what_is_seen_alone(ready: Any) -> None:
    """And through all of it, once: the group of advanced parameters is closed."""
    form, window, seen = ready.widget.form, ready.widget.window(), []
    form.fields["points_per_side"].control.setFocus()
    while (focused := window.focusWidget()) is not ready.widget.run_button:
        seen.append(focused)
        QTest.keyClick(focused, Qt.Key.Key_Tab)
        assert len(seen) < 20, [widget.objectName() for widget in seen]
    basic = ["points_per_side", "pred_iou_thresh", "stability_score_thresh", "min_mask_region_area"]
    assert [widget.objectName() for widget in seen[:-1]] == basic
    assert seen[-1] is form.advanced.toggleButton()
    form.advanced.expand(animate=False)
    seen[-1].setFocus()
    QTest.keyClick(seen[-1], Qt.Key.Key_Tab)
    assert window.focusWidget() is form.fields["points_per_batch"].control


def test_enter_in_the_name_of_a_preset_saves_it_and_runs_nothing(
    ready: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    box = ready.widget.presets_box
    box.save_button.click()
    box.name.setText("mine")
    QTest.keyClick(box.name, Qt.Key.Key_Return)
    assert (tmp_path / "presets" / "mine.json").exists()
    assert ready.widget.runner is None
    box.save_button.click()
    QTest.keyClick(box.name, Qt.Key.Key_Escape)
    assert not box.naming.isVisible()
    ready.messages.clear()


@pytest.fixture
def locale() -> Iterator[None]:
    before = QLocale()
    yield
    QLocale.setDefault(before)


@pytest.mark.parametrize("name", ["de_DE", "en_US", "fr_FR", "de_CH"])
@pytest.mark.parametrize("typed", ["0,25", "0.25", ",25", ".25"])
def test_a_comma_and_a_point_mean_the_same_in_every_language(qtbot: Any, locale: None, name: str, typed: str) -> None:
    QLocale.setDefault(QLocale(name))
    form = ParameterForm()
    qtbot.addWidget(form)
    field = form.fields["pred_iou_thresh"]
    line = field.control.lineEdit()
    line.selectAll()
    QTest.keyClicks(line, typed)
    assert field.value() == 0.25
    QApplication.clipboard().setText(typed.replace("25", "75"))
    line.selectAll()
    line.paste()
    assert field.value() == 0.75
    assert QLocale().decimalPoint() in line.text()


def test_letters_and_two_marks_are_not_taken(qtbot: Any) -> None:
    form = ParameterForm()
    qtbot.addWidget(form)
    line = form.fields["pred_iou_thresh"].control.lineEdit()
    line.selectAll()
    QTest.keyClicks(line, "0.x2.5")
    assert form.fields["pred_iou_thresh"].value() == 0.25
