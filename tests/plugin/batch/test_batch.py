"""Many images to files from the window: by the command's code, named one by one, and stopped without a loss."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.batch.one_file import Batch
from napari_sam_amg.batch.options import Options
from napari_sam_amg.io.discover import InputFile
from napari_sam_amg.plugin.batch import batch_tab, batch_work
from napari_sam_amg.plugin.batch.batch_choices import KEEP, LAYERS, REPLACE
from napari_sam_amg.plugin.batch.batch_layers import layer_images, raw_image
from napari_sam_amg.plugin.batch.batch_run import summary
from napari_sam_amg.plugin.batch.batch_work import DONE, FAILED, PARTLY, SKIPPED, Ended
from napari_sam_amg.plugin.choices import folders
from napari_sam_amg.plugin.choices.problems import RED
from napari_sam_amg.plugin.files.saved_reader import read_labels
from napari_sam_amg.plugin.running.runner import _running
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel
from tests.plugin.turns import Turns

TIMEOUT = 30_000  # ms
ONE, TWO = disc_image([(15, 15)]), disc_image([(15, 15), (45, 40)])
STACK = np.stack([disc_image([(15, 15 + 5 * plane), (45, 40)]) for plane in range(4)])


@pytest.fixture
def tab(plugin: Any) -> Any:
    plugin.docked.tabs.setCurrentWidget(plugin.docked.batch_tab)
    return plugin.docked.batch_tab


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", ONE)
    tifffile.imwrite(folder / "c.tif", TWO)
    return folder


def choose(tab: Any, paths: Path, output: Path) -> None:
    tab.choices.paths.setText(str(paths))
    tab.choices.output.setText(str(output))


def rows(tab: Any) -> list[tuple[str, str]]:
    items = (tab.images.topLevelItem(row) for row in range(tab.images.topLevelItemCount()))
    return [(item.text(0), item.text(1)) for item in items]


def run(plugin: Any, tab: Any) -> str:
    assert tab.run_button.isEnabled(), tab.message.text()
    tab.run_button.click()
    plugin.qtbot.waitUntil(lambda: tab.run_of is None, timeout=TIMEOUT)
    return str(tab.status.text())


def test_nothing_runs_before_images_and_a_folder_are_chosen(tab: Any, images: Path, tmp_path: Path) -> None:
    assert not tab.run_button.isEnabled()
    assert tab.message.text().splitlines() == ["Images: choose files or a folder.", "Results in: choose a folder."]
    parts = tab.choices.paths, tab.choices.output, tab.message
    assert not any(part.styleSheet() for part in parts)
    choose(tab, tmp_path / "absent", images / "a.tif")
    assert f"there is no {tmp_path / 'absent'}" in tab.message.text()
    assert f"{images / 'a.tif'} is a file" in tab.message.text()
    assert all(part.styleSheet() for part in parts)
    for folder in ("results", "~no_such_user/results"):
        choose(tab, images, Path(folder))
        assert tab.message.text() == f"Results in: {folder} is no whole path: choose the folder, or write all of it."
    choose(tab, images, tmp_path / "out")
    assert tab.run_button.isEnabled()
    tab.choices.formats["labels"].setChecked(False)
    assert tab.message.text() == "Write: choose at least one."
    tab.choices.what.setCurrentText(LAYERS)
    assert "there is no image layer" in tab.message.text()


def test_a_bad_field_under_segment_stops_a_batch_too(plugin: Any, tab: Any, images: Path, tmp_path: Path) -> None:
    choose(tab, images, tmp_path / "out")
    plugin.widget.form.fields["points_per_side"].widget.value = 0
    assert not tab.run_button.isEnabled()
    assert "Points per side" in tab.message.text()


def test_images_of_a_folder_are_listed_before_they_are_segmented(
    plugin: Any, tab: Any, images: Path, tmp_path: Path
) -> None:
    choose(tab, images, tmp_path / "out")
    plugin.qtbot.waitUntil(lambda: rows(tab) == [("a.tif", ""), ("c.tif", "")], timeout=TIMEOUT)


def test_a_folder_without_images_is_told_before_it_is_run_until_there_are_some(
    plugin: Any, tab: Any, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    choose(tab, empty, tmp_path / "out")
    plugin.qtbot.waitUntil(lambda: not tab.run_button.isEnabled(), timeout=TIMEOUT)
    assert tab.message.text() == f"Images: {empty}: no image in this folder."
    tifffile.imwrite(empty / "a.tif", ONE)
    tab.enterEvent(None)
    plugin.qtbot.waitUntil(tab.run_button.isEnabled, timeout=TIMEOUT)
    assert rows(tab) == [("a.tif", "")]


def test_a_folder_goes_to_files_as_the_command_does_it_and_what_fails_is_named(
    plugin: Any, tab: Any, model: HeldModel, images: Path, tmp_path: Path
) -> None:
    (images / "b.tif").write_text("no image")
    out = tmp_path / "out"
    choose(tab, images, out)
    for name in ("rois", "overlay"):
        tab.choices.formats[name].setChecked(True)
    tab.choices.tables.setChecked(True)
    turns = Turns(plugin.viewer)
    status = run(plugin, tab)
    worst, _ = turns.stop()
    assert worst.cpu < 0.1, worst
    assert status.startswith("2 of 3 images done; 1 failed: b.tif: ")
    assert "Not an image that can be read" in status
    assert [(name, state.partition(",")[0]) for name, state in rows(tab)] == [
        ("a.tif", "1 mask"), ("b.tif", rows(tab)[1][1].partition(",")[0]), ("c.tif", "2 masks"),
    ]  # fmt: skip
    assert "Not an image" in rows(tab)[1][1]
    assert [tab.images.topLevelItem(row).foreground(1).color().name() == RED for row in range(3)] == [
        False,
        True,
        False,
    ]
    written = {path.name for path in out.iterdir()}
    assert {
        "a_labels.tif",
        "a_features.csv",
        "a_rois.zip",
        "a_overlay.png",
        "a_run.json",
        "all_features.csv",
    } <= written
    batch = Batch(model, plugin.widget.form.parameters(), Options(quiet=True))
    batch.segment(InputFile(images / "c.tif", tmp_path / "command", "c"))
    there, command = (json.loads((folder / "c_run.json").read_text()) for folder in (out, tmp_path / "command"))
    assert there["settings"] == command["settings"]
    assert there["input"] == command["input"]
    assert (out / "c_labels.tif").read_bytes() == (tmp_path / "command" / "c_labels.tif").read_bytes()


def test_results_that_are_there_are_kept_replaced_or_said_to_be_others(
    plugin: Any, tab: Any, model: HeldModel, images: Path, tmp_path: Path
) -> None:
    choose(tab, images, tmp_path / "out")
    run(plugin, tab)
    asked = model.batches
    assert run(plugin, tab) == "2 of 2 images done; 2 of them before."
    assert (rows(tab)[0][1], model.batches) == (SKIPPED, asked)
    plugin.choose(overlap="large")
    status = run(plugin, tab)
    assert status.startswith("0 of 2 images done; 2 failed: a.tif: a_labels.tif is there already, of another image or")
    assert "--" not in status
    tab.choices.there.setCurrentText(REPLACE)
    assert run(plugin, tab) == "2 of 2 images done."
    assert model.batches > asked
    tab.choices.there.setCurrentText(KEEP)
    assert run(plugin, tab) == "2 of 2 images done; 2 of them before."


def test_what_fails_is_said_in_the_words_of_the_window(plugin: Any, tab: Any, images: Path, tmp_path: Path) -> None:
    plugin.widget.form.fields["link"].set("z")
    choose(tab, images / "a.tif", tmp_path / "out")
    assert "1 failed: a.tif: Objects: 'z' needs a stack, and this is a single plane" in run(plugin, tab)


def test_cancel_keeps_what_is_done_and_the_next_batch_goes_on(
    plugin: Any, tab: Any, model: HeldModel, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_work, "TOLD", 0)  # or a fast machine has told nothing when the model is held
    tifffile.imwrite(images / "b.tif", STACK, photometric="minisblack")
    out = tmp_path / "out"
    choose(tab, images, out)
    model.hold_after = 4 + 4 + 1  # one image, the first plane of the stack, and a batch of the second
    tab.run_button.click()
    plugin.qtbot.waitUntil(lambda: model.batches == 10, timeout=TIMEOUT)
    plugin.qtbot.waitUntil(lambda: rows(tab)[1][1].endswith("%"), timeout=TIMEOUT)
    assert tab.status.text() == "Image 2 of 3: b.tif"
    tab.cancel_button.click()
    assert tab.status.text() == "Cancelling..."
    tab.choices.recursive.click()
    assert not tab.cancel_button.isEnabled()  # whatever is chosen meanwhile
    tab.choices.recursive.click()
    model.release.set()
    plugin.qtbot.waitUntil(lambda: tab.run_of is None, timeout=TIMEOUT)
    assert tab.status.text() == "Cancelled: 1 of 3 images done."
    assert [state for _, state in rows(tab)][1:] == ["not done", ""]
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "a_labels.tif", "a_features.csv", "a_run.json",
    }  # fmt: skip
    model.hold_after = None
    assert run(plugin, tab) == "3 of 3 images done; 1 of them before."
    assert json.loads((out / "b_run.json").read_text())["parts_done_before"] == 1


def test_what_became_of_images_is_said_until_there_are_others(
    plugin: Any, tab: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(tab, images, tmp_path / "out")
    assert run(plugin, tab) == "2 of 2 images done."
    done, listed, take = rows(tab), [], tab._take_found
    monkeypatch.setattr(tab, "_take_found", lambda found: listed.append(take(found)))
    tab.choices.tables.setChecked(True)
    plugin.qtbot.waitUntil(lambda: bool(listed), timeout=TIMEOUT)
    assert (rows(tab), tab.status.text()) == (done, "2 of 2 images done.")
    plugin.viewer.add_image(ONE, name="alone")
    tab.choices.what.setCurrentText(LAYERS)
    plugin.qtbot.waitUntil(lambda: rows(tab) == [("alone", "")], timeout=TIMEOUT)
    assert not tab.status.text()
    assert tab.bar.value() < 0


def test_image_layers_keep_their_scale_units_and_names_of_axes(plugin: Any, tab: Any, tmp_path: Path) -> None:
    from napari_sam_amg.io.labels_zarr import LabelsZarr  # noqa: F401  # zarr is imported outside the run's time

    channels = np.stack([np.zeros_like(STACK), STACK], axis=1)  # z, c, y, x
    plugin.viewer.add_image(
        channels, name="cells/1", scale=(2000, 1, 500, 250), units=("nm", "pixel", "nm", "nm"),
        axis_labels=("z", "c", "y", "x"),
    )  # fmt: skip
    plugin.viewer.add_image(ONE, name="cells_1")
    plugin.viewer.add_labels(np.zeros((64, 80), int))
    tab.choices.what.setCurrentText(LAYERS)
    tab.choices.output.setText(str(tmp_path))
    tab.choices.formats["zarr"].setChecked(True)
    tab.choices.channel.setValue(1)
    status = run(plugin, tab)
    assert status.startswith("1 of 2 images done; 1 failed: cells_1: ")  # which has one channel
    assert "channel" in status.lower()
    ((labels, attributes, _),) = read_labels(str(tmp_path / "cells_1_2_labels.tif"))
    assert labels.shape == STACK.shape
    assert np.allclose(attributes["scale"], (2000, 500, 250))
    assert (attributes["units"], attributes["axis_labels"]) == (("nanometer",) * 3, ("z", "y", "x"))
    record = json.loads((tmp_path / "cells_1_2_run.json").read_text())
    assert (record["input"]["layer"], record["channel"]) == ("cells/1", 1)
    described = json.loads((tmp_path / "cells_1_2_labels.ome.zarr" / "zarr.json").read_text())
    (multiscale,) = described["attributes"]["ome"]["multiscales"]
    assert [axis.get("unit") for axis in multiscale["axes"]] == ["nanometer"] * 3


def test_contrast_limits_of_each_layer_are_used_where_they_are_chosen(plugin: Any, tab: Any, tmp_path: Path) -> None:
    plugin.viewer.add_image(ONE, name="dim", contrast_limits=(0, 500))  # discs of 200 are no objects then
    plugin.viewer.add_image(ONE, name="bright", contrast_limits=(0, 200))
    plugin.widget.image_box.intensities.setCurrentText("contrast limits")
    tab.choices.what.setCurrentText(LAYERS)
    tab.choices.output.setText(str(tmp_path))
    run(plugin, tab)
    records = [json.loads((tmp_path / f"{name}_run.json").read_text()) for name in ("dim", "bright")]
    assert [record["labels"] for record in records] == [0, 1]
    assert [record["intensities"]["high"] for record in records] == [500, 200]


def test_a_batch_and_a_run_wait_for_each_other(
    plugin: Any, tab: Any, model: HeldModel, images: Path, tmp_path: Path
) -> None:
    plugin.viewer.add_image(TWO, name="mine")
    choose(tab, images, tmp_path / "out")
    plugin.click_run_and_hold(model, 1)
    tab.run_button.click()
    assert tab.status.text() == "Waiting for another run..."
    assert not (tmp_path / "out").exists()
    model.hold_after = None
    model.release.set()
    plugin.wait()
    plugin.qtbot.waitUntil(lambda: tab.run_of is None, timeout=TIMEOUT)
    assert tab.status.text() == "2 of 2 images done."
    tab.choices.there.setCurrentText(REPLACE)
    tab.run_button.click()
    plugin.widget.run_button.click()
    assert plugin.widget.status.text() == "Waiting for another run..."
    plugin.wait()
    assert tab.run_of is None
    assert "2 masks" in plugin.widget.status.text()


def test_a_batch_that_waits_can_be_cancelled_and_a_closed_dock_ends_one(
    plugin: Any, tab: Any, model: HeldModel, images: Path, tmp_path: Path
) -> None:
    plugin.viewer.add_image(TWO, name="mine")
    choose(tab, images, tmp_path / "out")
    plugin.click_run_and_hold(model, 1)
    tab.run_button.click()
    tab.cancel_button.click()
    plugin.qtbot.waitUntil(lambda: tab.run_of is None, timeout=TIMEOUT)
    assert tab.status.text() == "Cancelled."
    assert len(_running) == 1
    assert not (tmp_path / "out").exists()
    model.release.set()
    plugin.wait()
    model.release.clear()
    model.hold_after = model.batches + 1
    tab.run_button.click()
    plugin.qtbot.waitUntil(lambda: model.batches == model.hold_after + 1, timeout=TIMEOUT)
    plugin.viewer.window.remove_dock_widget(plugin.docked.native)
    model.release.set()
    plugin.qtbot.waitUntil(lambda: not _running, timeout=TIMEOUT)
    assert not list((tmp_path / "out").glob("*_run.json"))


def test_the_folder_of_results_opens(
    plugin: Any, tab: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(folders.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or True)
    choose(tab, images, tmp_path / "out")
    assert not tab.folder_button.isEnabled()
    run(plugin, tab)
    tab.folder_button.click()
    assert opened == [str(tmp_path / "out")]


def test_the_end_is_said_in_a_sentence() -> None:
    names = tuple("abcdefgh")
    ended = {0: Ended(0, DONE, ""), 1: Ended(1, PARTLY, "1 of 2 planes failed: plane 1: bad")}
    ended |= {place: Ended(place, FAILED, "why.") for place in range(2, 7)}
    assert summary(names, ended, True) == (
        "Cancelled: 2 of 8 images done; 1 in part: b: 1 of 2 planes failed: plane 1: bad; "
        "5 failed: c: why; d: why; e: why; and 2 more."
    )
    assert summary(("a",), {0: Ended(0, DONE, "")}, True) == "1 of 1 image done."


def test_names_of_layers_become_names_of_files_that_differ(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    for name in ("a:b?", "A_b_", "..", "x" * 300):
        viewer.add_image(ONE, name=name)
    found = layer_images(list(viewer.layers))
    assert [image.name for image in found] == ["x" * 300, "..", "A_b_", "a:b?"]
    assert [image.file_name for image in found] == ["x" * 100, "image", "A_b_", "a_b__2"]


def test_a_list_that_is_found_late_does_not_replace_a_newer_one(
    plugin: Any, tab: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(tab, images, tmp_path / "out")
    monkeypatch.setattr(batch_tab, "_found", lambda asked, *_: (asked, ["late"], ""))
    tab._look()
    monkeypatch.setattr(batch_tab, "_found", lambda asked, *_: (asked, ["new"], ""))
    tab._look()
    plugin.qtbot.waitUntil(lambda: rows(tab) == [("new", "")], timeout=TIMEOUT)
    plugin.qtbot.wait(50)
    assert rows(tab) == [("new", "")]


def test_a_list_of_a_folder_that_is_not_chosen_any_more_says_nothing_of_the_one_that_is(
    plugin: Any, tab: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, has_looked = batch_tab._found, threading.Event()

    def find_and_tell(*of: Any) -> Any:
        found = find(*of)
        has_looked.set()
        return found

    monkeypatch.setattr(batch_tab, "_found", find_and_tell)
    (tmp_path / "empty").mkdir()
    choose(tab, tmp_path / "empty", tmp_path / "out")
    tab._look()
    assert has_looked.wait(30)
    tab.choices.paths.setText(str(images))  # before what was found is told
    plugin.qtbot.waitUntil(lambda: [name for name, _ in rows(tab)] == ["a.tif", "c.tif"], timeout=TIMEOUT)
    assert tab.run_button.isEnabled()


def test_axes_without_a_meaning_get_letters_that_differ(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    data = np.zeros((2, 2, 2, 16, 16), np.uint8)
    layer = viewer.add_image(data, axis_labels=("a", "z", "b", "y", "x"), scale=(3, 2, 1, 1, 1), contrast_limits=(0, 1))
    raw = raw_image(layer)
    assert raw.axes == "QZIYX"
    assert {letter: spacing.length for letter, spacing in raw.stated.items()} == {"Z": 2}
