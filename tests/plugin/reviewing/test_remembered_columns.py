"""Columns that were measured on demand are measured again in the next session of napari."""

from pathlib import Path
from typing import Any

import napari.settings
import pytest

from napari_sam_amg.plugin.preferences import PLUGIN, remembered_columns
from napari_sam_amg.plugin.reviewing.measuring import OWN_IMAGE, Asked
from tests.disc_model import disc_image


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(), ""),
        (Asked(frozenset({"solidity", "perimeter"})), "perimeter, solidity"),
        (
            Asked(frozenset({"perimeter"}), frozenset({(OWN_IMAGE, "mean"), ("DAPI", "max")})),
            "perimeter, mean, max of DAPI",
        ),
        (Asked(statistics=frozenset({('Channel of 1, "red"', "std")})), '"std of Channel of 1, ""red"""'),
    ],
)
def test_they_are_written_as_a_person_writes_them(asked: Asked, words: str) -> None:
    assert asked.words == words
    assert Asked.read(words) == asked


def test_what_nobody_knows_is_left_out() -> None:
    assert Asked.read(" solidity ,, roundness, mean of , max of cells") == Asked(
        frozenset({"solidity"}), frozenset({("cells", "max")})
    )


@pytest.mark.skipif(not hasattr(napari.settings, "get_plugin_settings"), reason="napari before 0.9")
def test_the_next_session_measures_them(plugin: Any, own_preferences: Path, make_napari_viewer: Any) -> None:
    columns = plugin.docked.objects_box.columns
    columns.asked.emit(Asked(frozenset({"solidity"}), frozenset({(OWN_IMAGE, "max")})))
    napari.settings._clear_plugin_settings_cache()  # as if napari was started again
    napari.settings.get_plugin_settings(PLUGIN, path_dir=own_preferences)
    assert remembered_columns() == "solidity, max"
    viewer = make_napari_viewer(show=True)
    _, docked = viewer.window.add_plugin_dock_widget("napari-sam-amg", "Segment everything")
    plugin.viewer, plugin.widget, plugin.docked = viewer, docked.panel, docked
    plugin.choose(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5, crop_layers="all")
    viewer.add_image(disc_image([(15, 15), (45, 60)]), name="cells")
    layer = plugin.run()
    plugin.qtbot.waitUntil(lambda: {"solidity", "max_cells"} <= set(layer.features.columns), timeout=30_000)
    assert layer.features["solidity"][1:].between(0.8, 1).all()
