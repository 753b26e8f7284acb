"""The form is made of the fields of AmgParameters, and says what is wrong with them."""

import dataclasses
from typing import Any

import pytest
from qtpy.QtTest import QTest

from napari_sam_amg.params import AmgParameters, parameter_spec
from napari_sam_amg.plugin.choices.form import ParameterForm, label_text
from tests.disc_model import disc_image


@pytest.fixture
def form(qtbot: Any) -> ParameterForm:
    form = ParameterForm()
    qtbot.addWidget(form)
    return form


def test_every_parameter_but_the_point_grids_has_a_field(form: ParameterForm) -> None:
    assert list(form.fields) == [spec.name for spec in dataclasses.fields(AmgParameters) if spec.name != "point_grids"]


def test_untouched_fields_give_exactly_the_defaults(form: ParameterForm) -> None:
    """Also crop_overlap_ratio, which has more digits than its box shows."""
    assert form.parameters() == AmgParameters()


def test_basic_fields_are_in_sight_and_the_rest_is_folded(form: ParameterForm) -> None:
    for name, field in form.fields.items():
        assert form.advanced.isAncestorOf(field.control) != parameter_spec(name).metadata["basic"]
    assert not form.advanced.isExpanded()
    for arrow in "▾▸":  # in letters, which have the colour of the theme
        form.advanced.toggleButton().click()
        assert form.advanced.text() == f"{arrow}  Advanced"
    assert form.advanced.toggleButton().icon().isNull()


def test_every_field_explains_itself(form: ParameterForm) -> None:
    for name, field in form.fields.items():
        assert parameter_spec(name).metadata["help"][:20] in field.control.toolTip()


def test_labels_are_words() -> None:
    assert label_text("crop_nms_thresh") == "Crop NMS threshold"
    assert label_text("pred_iou_thresh") == "Predicted IoU threshold"


def test_the_fields_are_magicgui_widgets(form: ParameterForm) -> None:
    kinds = {name: type(field.widget).__name__ for name, field in form.fields.items()}
    assert kinds["points_per_side"] == "SpinBox"
    assert kinds["pred_iou_thresh"] == "DecimalSpinBox"
    assert kinds["overlap"] == "ComboBox"


def test_what_belongs_to_a_model_goes_with_it(form: ParameterForm) -> None:
    form.apply_model({"pred_iou_thresh": 0.6, "min_mask_region_area": 100.0, "no_such_parameter": 1})
    assert form.parameters() == AmgParameters(pred_iou_thresh=0.6, min_mask_region_area=100)
    form.fields["points_per_side"].widget.value = 20
    form.apply_model({"pred_iou_thresh": 0.7})
    assert form.parameters() == AmgParameters(pred_iou_thresh=0.7, points_per_side=20)


def test_what_is_typed_stays_whatever_model_is_looked_at(form: ParameterForm) -> None:
    form.apply_model({"pred_iou_thresh": 0.6, "stability_score_thresh": 0.3})
    form.fields["pred_iou_thresh"].widget.value = 0.5
    form.apply_model({"pred_iou_thresh": 0.5, "stability_score_thresh": 0.4, "min_mask_region_area": 20})
    assert form.parameters() == AmgParameters(pred_iou_thresh=0.5, stability_score_thresh=0.4, min_mask_region_area=20)
    form.apply_model({})  # what was typed was that model's default by chance
    assert form.parameters() == AmgParameters(pred_iou_thresh=0.5)
    form.take({"stability_score_thresh": 0.123456, "overlap": "small"})
    form.apply_model({"stability_score_thresh": 0.3, "overlap": "large"})
    assert form.parameters() == AmgParameters(pred_iou_thresh=0.5, stability_score_thresh=0.123456, overlap="small")


def test_what_is_typed_as_the_model_has_it_follows_the_next_one(form: ParameterForm) -> None:
    field = form.fields["pred_iou_thresh"]
    form.apply_model({"pred_iou_thresh": 0.6789})
    field.widget.value = 0.5
    field.widget.value = field.widget.value + 0.1789
    assert field.value() == 0.6789
    form.apply_model({"pred_iou_thresh": 0.4})
    assert field.value() == 0.4


def test_thresholds_are_shown_with_the_digits_that_they_have(plugin: Any) -> None:
    form = plugin.widget.form
    control = form.fields["pred_iou_thresh"].control
    for value, words in ((0.885, "0.885"), (0.5, "0.50"), (0.0, "0.00"), (12.0, "12.00")):
        form.take({"pred_iou_thresh": value})
        assert control.text() == words
    control.selectAll()
    QTest.keyClicks(control, "0,125")
    assert form.fields["pred_iou_thresh"].value() == 0.125
    assert form.fields["crop_overlap_ratio"].control.text() == "0.3413"


def test_a_default_that_is_not_allowed_is_left_out(form: ParameterForm) -> None:
    form.apply_model({"pred_iou_thresh": 88})
    assert form.parameters() == AmgParameters()


@pytest.mark.parametrize(("name", "value"), [("points_per_side", 0), ("crop_nms_thresh", 1.5)])
def test_a_bad_field_is_marked_and_explained_and_stops_run(plugin: Any, name: str, value: float) -> None:
    plugin.viewer.add_image(disc_image([(15, 15)]))
    widget, field = plugin.widget, plugin.widget.form.fields[name]
    control = field.control
    good = field.widget.value
    field.widget.value = value
    assert not widget.run_button.isEnabled()
    assert "border" in control.styleSheet()
    assert label_text(name) in widget.message.text()
    assert widget.message.isVisible()
    assert widget.form.advanced.isExpanded() != parameter_spec(name).metadata["basic"]
    field.widget.value = good
    assert widget.run_button.isEnabled()
    assert control.styleSheet() == ""
    assert not widget.message.isVisible()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"min_area": 500, "max_area": 100}, "Min area 500 is more than Max area 100: no mask would be kept"),
        ({"tile_size": 256, "tile_halo": 200}, "Tile halo 200 is not allowed with Tile size 256: allowed is 0 to 128"),
        ({"tile_size": 5}, "Tile size 5 is not allowed: choose 0"),
    ],
)
def test_fields_that_are_good_each_by_itself_may_be_a_problem_together(
    form: ParameterForm, bad: dict[str, int], words: str
) -> None:
    for name, value in bad.items():
        assert form.problems() == []
        form.fields[name].widget.value = value
    (problem,) = form.problems()
    assert problem.control is form.fields[next(iter(bad))].control
    assert problem.message.startswith(words)
    with pytest.raises(ValueError, match="="):
        form.parameters()
    form.fields[next(iter(bad))].widget.value = 0
    form.fields[list(bad)[-1]].widget.value = 0
    assert form.problems() == []
