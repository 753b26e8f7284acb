"""Runs that meet others, that are given up, and in which something fails: each ends once, and says how it ended."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.utils.progress import progress
from superqt.utils import WorkerBase

import napari_sam_amg.run
from napari_sam_amg.plugin.panel import SegmentPanel
from napari_sam_amg.plugin.running import run_progress
from napari_sam_amg.plugin.running.collector import collector
from napari_sam_amg.plugin.running.interruptible import Reins
from napari_sam_amg.plugin.running.live import METADATA_KEY, LiveLabels
from napari_sam_amg.plugin.running.runner import _running
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel

STACK = np.stack([disc_image([(15, 15 + 5 * plane), (45, 40)]) for plane in range(6)])
BATCHES = 4  # of a plane
LONG = 30_000  # ms
WAITING = "Waiting for another run..."


@pytest.fixture
def running(plugin: Any, model: HeldModel) -> Any:
    """A run of all planes that waits in the third."""
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 2 * BATCHES + 1)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: runner.layer in plugin.viewer.layers, timeout=LONG)
    return runner


@pytest.fixture
def open_another(plugin: Any) -> Callable[[Any], SegmentPanel]:
    """Open a second widget, set like the first, in a viewer."""

    def open_in(viewer: Any) -> SegmentPanel:
        _, docked = viewer.window.add_plugin_dock_widget("napari-sam-amg", "Segment everything")
        panel: SegmentPanel = docked.panel
        for name, field in plugin.widget.form.fields.items():
            panel.form.fields[name].widget.value = field.widget.value
        panel.image_box.planes.setCurrentText("All planes")
        return panel

    return open_in


@pytest.fixture
def second(plugin: Any, running: Any, make_napari_viewer: Callable[..., Any], open_another: Any) -> Iterator[Any]:
    """A run in a second viewer, which waits for the first."""
    viewer = make_napari_viewer(show=False)  # vispy errs in one shown viewer after another was closed
    viewer.add_image(STACK, name="other")
    panel = open_another(viewer)
    panel.run_button.click()
    assert panel.status.text() == WAITING
    return panel


def state(layer: Any) -> tuple[str, int, int]:
    record = layer.metadata[METADATA_KEY]
    return record["state"], record["planes_done"], record["planes"]


def wait_for_all(plugin: Any) -> None:
    plugin.qtbot.waitUntil(lambda: not _running, timeout=LONG)


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_second_viewers_run_waits_and_is_whole(
    plugin: Any, model: HeldModel, running: Any, second: SegmentPanel, cancelled: bool
) -> None:
    waiting = second.runner
    assert waiting is not None
    plugin.qtbot.wait(100)
    assert model.batches == 2 * BATCHES + 2
    if cancelled:
        plugin.widget.cancel_button.click()
    model.release.set()
    wait_for_all(plugin)
    assert state(running.layer) == (("cancelled", 2, 6) if cancelled else ("finished", 6, 6))
    assert state(waiting.layer) == ("finished", 6, 6)
    assert all(plane.any() for plane in waiting.layer.data)
    assert waiting.layer.metadata[METADATA_KEY]["started"]
    assert second.status.text().startswith("12 masks found")
    assert second.run_button.isEnabled()
    assert plugin.messages == []


def test_a_waiting_run_is_cancelled_at_once(plugin: Any, model: HeldModel, running: Any, second: SegmentPanel) -> None:
    second.cancel_button.click()
    plugin.qtbot.waitUntil(lambda: second.runner is None, timeout=LONG)
    assert second.status.text() == "Cancelled."
    assert second.run_button.isEnabled()
    assert _running == [running]
    assert collector()._runs == {running}  # the other goes on
    model.release.set()
    plugin.wait()
    assert state(running.layer) == ("finished", 6, 6)


def test_the_next_run_begins_though_the_one_before_it_was_cancelled(
    plugin: Any, model: HeldModel, running: Any, second: SegmentPanel, open_another: Any
) -> None:
    """Three runs, the one in the middle cancelled in the moment in which its turn comes."""
    third = open_another(plugin.viewer)
    third.image_box.image.setCurrentText("mine")
    third.run_button.click()
    last = third.runner
    running.finished.connect(lambda _: second.cancel_button.click())
    model.release.set()
    wait_for_all(plugin)
    assert state(last.layer) == ("finished", 6, 6)
    assert second.status.text() == "Cancelled."
    assert not collector()._runs


def test_a_dock_closed_and_opened_again_during_a_run(
    plugin: Any, model: HeldModel, running: Any, open_another: Any
) -> None:
    plugin.viewer.window.remove_dock_widget(plugin.docked.native)
    panel = open_another(plugin.viewer)
    panel.run_button.click()
    runner = panel.runner
    model.release.set()
    wait_for_all(plugin)
    assert state(running.layer) == ("cancelled", 2, 6)
    assert state(runner.layer) == ("finished", 6, 6)
    assert [layer.name for layer in plugin.viewer.layers] == ["mine", "mine masks", "mine masks [1]"]


def test_closing_a_viewer_whose_run_waits(plugin: Any, model: HeldModel, running: Any, second: SegmentPanel) -> None:
    second._viewer.close()
    plugin.qtbot.waitUntil(lambda: _running == [running], timeout=LONG)
    model.release.set()
    plugin.wait()
    assert state(running.layer) == ("finished", 6, 6)


def test_cancel_and_run_again_at_once(plugin: Any, model: HeldModel, running: Any) -> None:
    plugin.widget.cancel_button.click()
    assert not plugin.widget.run_button.isEnabled()
    plugin.widget.run()  # by whatever way
    assert _running == [running]
    model.release.set()
    plugin.wait()
    plugin.click_run()
    again = plugin.widget.runner
    plugin.wait()
    assert state(again.layer) == ("finished", 6, 6)


def test_cancel_while_the_model_is_loaded(plugin: Any, model: HeldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loading = []

    def load(*_: str) -> HeldModel:
        loading.append(True)
        assert model.release.wait(timeout=60)
        return model

    monkeypatch.setattr("napari_sam_amg.plugin.running.work.loaded_model", load)
    plugin.viewer.add_image(STACK[0])
    plugin.click_run()
    plugin.qtbot.waitUntil(lambda: bool(loading), timeout=LONG)
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    assert plugin.widget.status.text() == "Cancelled."
    assert (model.embedded, len(plugin.viewer.layers), plugin.messages) == ([], 1, [])


def test_napari_quits_while_the_worker_is_held(plugin: Any, model: HeldModel, running: Any) -> None:
    """napari then waits for all workers, in the main thread, which lets nobody go any more."""
    running._reins.hold()
    model.release.set()
    WorkerBase.await_workers(10_000)
    wait_for_all(plugin)
    assert model.batches == 2 * BATCHES + 2


def test_nothing_is_collected_at_rest_during_a_run(
    plugin: Any, model: HeldModel, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full collection stops the worker, too, and the window waits for it."""
    monkeypatch.setattr("napari_sam_amg.plugin.running.collector.REST", 50)
    gone = Cycle()
    here, gone.itself = weakref.ref(gone), gone
    gc.freeze()
    del gone
    collector().collect_soon()
    plugin.qtbot.wait(300)
    assert here() is not None
    model.release.set()
    plugin.wait()
    plugin.qtbot.waitUntil(lambda: here() is None, timeout=LONG)


class Cycle:
    itself: Any = None


class BusyModel(HeldModel):
    """Computes all the time; ``beats`` is how often it was seen to."""

    beats = 0

    def decode(self, embedding: Any, points: np.ndarray, keep: Any) -> Any:
        for _ in range(20):
            BusyModel.beats += 1
            time.sleep(0.002)
        return super().decode(embedding, points, keep)


def test_nothing_is_computed_while_the_layer_is_added(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing a new layer beside a computing torch was seen to crash: the worker is asked, and answers first."""
    monkeypatch.setattr("napari_sam_amg.plugin.running.work.loaded_model", lambda *_: BusyModel())
    seen: list[int] = []

    def watch(_: Any) -> None:
        if plugin.viewer.layers[-1].name.endswith("masks"):
            before = BusyModel.beats
            time.sleep(0.3)
            seen.append(BusyModel.beats - before)

    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.viewer.layers.events.inserted.connect(watch)
    layer = plugin.run()
    assert seen == [0]
    assert state(layer) == ("finished", 6, 6)


def test_the_first_plane_is_shown_before_the_second_is_computed(plugin: Any, model: HeldModel) -> None:
    """However long that takes, and whether or not the worker looks at its reins meanwhile."""
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, BATCHES)
    assert [layer.name for layer in plugin.viewer.layers] == ["mine", "mine masks"]


def test_the_layer_waits_for_a_worker_that_computes(
    plugin: Any, model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not stand still by itself here; it is asked, and answers at its next look. The window lives."""
    hold, show, main = Reins.hold, LiveLabels._show, threading.get_ident()
    monkeypatch.setattr(Reins, "hold", lambda reins: hold(reins) if threading.get_ident() == main else None)

    def show_once_it_computes(live: LiveLabels) -> None:
        """Between two planes it stands still, and the layer may come: that is not what is looked at here."""
        computes = model.batches > BATCHES
        live._later(0 if computes else 5, lambda: show(live) if computes else show_once_it_computes(live))

    monkeypatch.setattr(LiveLabels, "_show", show_once_it_computes)
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, BATCHES)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: runner.layer is not None, timeout=LONG)
    plugin.qtbot.wait(300)
    assert len(plugin.viewer.layers) == 1
    model.release.set()
    plugin.wait()
    assert [layer.name for layer in plugin.viewer.layers] == ["mine", "mine masks"]
    assert state(runner.layer) == ("finished", 6, 6)


def test_an_error_in_the_main_thread_ends_the_run_in_words(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is raised; the run after it is whole."""

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("x")

    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    ours = [(LiveLabels, place) for place in ("begin", "describe", "add", "_make", "_refresh", "finish")]
    for owner, place in (*ours, (run_progress, "progress"), (type(plugin.viewer), "add_layer")):
        for layer in plugin.viewer.layers[1:]:  # results of the run before would be filled, and no layer added
            plugin.viewer.layers.remove(layer)
        with monkeypatch.context() as patch:
            patch.setattr(owner, place, fail)
            plugin.click_run()
            plugin.wait()
        assert "stopped unexpectedly (KeyError" in plugin.widget.status.text(), place
        assert [message.severity.value for message in plugin.messages] == ["error"], place
        plugin.messages.clear()
        assert plugin.widget.run_button.isEnabled()
        assert (collector()._runs, progress._all_instances) == (set(), set()), place
    assert state(plugin.run()) == ("finished", 6, 6)


def test_planes_that_are_missing_are_no_finished_run(
    plugin: Any, model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = napari_sam_amg.run.segment_planes

    def half(*given: Any, **named: Any) -> Iterator[Any]:
        yield from (step for step in whole(*given, **named) if step.done <= 2 * BATCHES)

    monkeypatch.setattr(napari_sam_amg.run, "segment_planes", half)
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    assert state(layer) == ("failed", 2, 6)
    assert plugin.widget.status.text() == "The run ended before all planes were done. (2 of 6 planes finished)"


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, ...]]:
    """The planes, by index, that cannot be read."""
    planes: set[tuple[int, ...]] = set()
    whole = napari_sam_amg.run.segment_planes

    def some_fail(*given: Any, **named: Any) -> Iterator[Any]:
        for step in whole(*given, **named):
            if step.result is not None and step.result.index in planes:
                empty, features = np.zeros_like(step.result.labels), step.result.features.iloc[:0]
                failed = replace(step.result, labels=empty, features=features, problem="the file is cut off")
                yield replace(step, result=failed)
            else:
                yield step

    monkeypatch.setattr(napari_sam_amg.run, "segment_planes", some_fail)
    return planes


def test_a_plane_that_failed_is_said_and_recorded(plugin: Any, unreadable: set[tuple[int, ...]]) -> None:
    unreadable |= {(0,), (4,)}
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    words = "2 of 6 planes could not be segmented: plane 0: the file is cut off; plane 4: the file is cut off"
    found, _, problem = plugin.widget.status.text().split("\n")
    assert found.startswith("8 masks found")
    assert problem == words
    assert [(message.severity.value, message.message) for message in plugin.messages] == [("warning", words)]
    assert state(layer) == ("finished", 6, 6)
    assert layer.metadata[METADATA_KEY]["failed_planes"] == [
        {"plane": [index], "problem": "the file is cut off"} for index in (0, 4)
    ]


def test_a_run_whose_every_plane_failed_is_an_error(plugin: Any, unreadable: set[tuple[int, ...]]) -> None:
    unreadable |= {(), *((index,) for index in range(6))}
    plugin.viewer.add_image(STACK, name="mine")
    for planes in ("This plane", "All planes"):
        plugin.widget.image_box.planes.setCurrentText(planes)
        plugin.click_run()
        plugin.wait()
        assert "could not be segmented: " in plugin.widget.status.text()
        assert [message.severity.value for message in plugin.messages] == ["error"]
        plugin.messages.clear()
        assert [layer.name for layer in plugin.viewer.layers] == ["mine"]
        assert plugin.widget.run_button.isEnabled()


def test_how_many_pixels_have_no_data_is_said(plugin: Any) -> None:
    image = STACK.astype(np.float32)
    image[2, 3, 3:7], image[4, 60, 60] = np.inf, np.nan
    plugin.viewer.add_image(image, name="ratio", contrast_limits=(0, 255))
    plugin.run()
    assert "5 pixels are NaN or infinite in 2 planes, which is taken for no data: gaps" in plugin.widget.status.text()
    assert plugin.viewer.layers[-1].metadata[METADATA_KEY]["intensities"]["pixels_without_data"] == 5
    plugin.widget.image_box.intensities.setCurrentText("contrast limits")
    plugin.run()
    assert "NaN" not in plugin.widget.status.text()
