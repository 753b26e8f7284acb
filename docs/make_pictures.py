"""Make the pictures of the documentation and the README, each of the whole window, as a user gets there.

``xvfb-run -a -s "-screen 0 1400x1000x24" python docs/make_pictures.py`` makes all of them, with names those alone.
``--check`` makes them into another folder and says which of those here do not show what the window says now: the texts
of the widget are kept in every picture. Fonts and colours may differ from machine to machine, and are not compared.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
from PIL import Image, PngImagePlugin
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QGroupBox, QLabel, QScrollArea, QTabWidget, QWidget

PLUGIN, WIDGET = "napari-sam-amg", "Segment everything"
FOLDER = Path(__file__).parent / "pictures"
WINDOW = (1280, 800)  # px
TIMEOUT = 600  # s
TEXTS = "texts"  # of the widget, in the file of a picture
COLOURS = 192  # of a picture, for the sake of its size


class Window:
    """A viewer with the widget in it."""

    def __init__(self, sample: str = "") -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window._qt_window.resize(*WINDOW)
        if sample:
            self.viewer.open_sample(PLUGIN, sample)
        _, self.dock = self.viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        self.panel = self.dock.panel
        wait(0.5)

    def run(self) -> None:
        self.panel.run_button.click()
        wait_until(lambda: self.panel.runner is None)
        wait(0.5)

    def show(self, tab: str) -> None:
        tabs = self.dock.tabs
        tabs.setCurrentIndex([tabs.tabText(place) for place in range(tabs.count())].index(tab))
        wait(0.3)

    def scroll_to(self, box: QWidget) -> None:
        """As far down as it takes to see all of a part of the tab Results."""
        wait(0.3)
        scroll = self.dock.results_tab.findChild(QScrollArea)
        assert scroll is not None
        scroll.ensureWidgetVisible(box, 0, 0)
        wait(0.3)

    def save(self, path: Path) -> None:
        wait(1)
        pixels = Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
        about = PngImagePlugin.PngInfo()
        about.add_text(TEXTS, "\n".join(texts(self.dock.native)))
        path.parent.mkdir(exist_ok=True)
        pixels.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True, pnginfo=about)


def first_screen() -> Window:
    return Window()


def first_run() -> Window:
    window = Window("nuclei")
    window.run()
    window.panel.table_button.click()
    window.viewer.layers.selection.active.selected_label = 5
    window.viewer.reset_view()
    return window


def stack() -> Window:
    """Objects through z, in 3D."""
    window = Window("nuclei_stack")
    window.panel.image_box.planes.setCurrentText("All planes")
    window.panel.form.fields["link"].set("z")
    window.run()
    window.viewer.dims.ndisplay = 3
    getattr(window.viewer, "scene", window.viewer).camera.angles = (10, 30, 140)  # the scene's since napari 0.9
    return window


def results() -> Window:
    """The tab of what is done with the results of a run."""
    window = Window("nuclei")
    window.run()
    window.show("Results")
    return window


def thresholds() -> Window:
    """Moved after a run."""
    window = results()
    box = window.dock.thresholds_box
    box.form.area.slider.setValue((500, 960))
    box.form.iou.field.setValue(0.6)
    wait_until(lambda: box.refilter.is_idle and box.refilter.waiting == 0)
    return window


def measuring() -> Window:
    """Objects that a filter has found, one of them chosen."""
    window = results()
    box = window.dock.objects_box
    box.table_button.click()
    box.filter.setText("area > 700 and predicted_iou > 0.9")
    box.filter.returnPressed.emit()
    box.alone.setChecked(True)
    wait(0.5)
    box.next_button.click()
    window.scroll_to(box)
    return window


def why() -> Window:
    """A place between the objects that were found."""
    window = results()
    box = window.dock.why_box
    box.pick_button.click()
    box._picked((260.0, 352.0))  # as a click on the image tells it
    wait(2)
    window.scroll_to(box)
    return window


def batch() -> Window:
    """Of all image layers, before it is run."""
    window = Window("nuclei")
    window.viewer.open_sample(PLUGIN, "tissue")
    window.show("Batch")
    choices = window.dock.batch_tab.choices
    choices.what.setCurrentIndex(choices.what.count() - 1)
    choices.output.setText("~/results")
    wait(1)
    return window


#: By the name of the file, without its ending.
PICTURES: dict[str, Callable[[], Window]] = {
    "first_screen": first_screen,
    "first_run": first_run,
    "stack": stack,
    "thresholds": thresholds,
    "measuring": measuring,
    "why": why,
    "batch": batch,
}


def texts(widget: QWidget) -> list[str]:
    """What can be read in a widget now, numbers left out: times and counts differ from run to run."""
    found = []
    for part in widget.findChildren(QWidget):
        if not part.isVisibleTo(widget):
            continue
        if isinstance(part, QLabel | QAbstractButton):
            found.append(part.text())
        elif isinstance(part, QGroupBox):
            found.append(part.title())
        elif isinstance(part, QComboBox):
            found.append(part.currentText())
        elif isinstance(part, QTabWidget):
            found += [part.tabText(place) for place in range(part.count())]
    return sorted({_without_numbers(text) for text in found if text.strip()})


def _without_numbers(text: str) -> str:
    text = re.sub(r"(\d+ (h|min|s)\b ?)+", "# s", text)
    return re.sub(r"\d+([.,]\d+)?", "#", text).replace("\n", " ")


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came within {TIMEOUT} s")
        QApplication.processEvents()
        time.sleep(0.005)


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end)


def make(names: list[str], folder: Path) -> None:
    for name in names:
        window = PICTURES[name]()
        window.save(folder / f"{name}.png")
        window.viewer.close()
        wait(0.2)
        print(folder / f"{name}.png")


def out_of_step(names: list[str], fresh: Path) -> list[str]:
    """Which pictures say something else than fresh ones, and what."""
    problems = []
    for name in names:
        ours, theirs = (_texts_in(folder / f"{name}.png") for folder in (FOLDER, fresh))
        if ours != theirs:
            problems.append(f"{name}.png: {sorted(ours ^ theirs)}")
    return problems


def _texts_in(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with Image.open(path) as picture:
        return set(str(picture.info.get(TEXTS, "")).split("\n"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--check", action="store_true", help="whether the pictures here are in step")
    arguments = parser.parse_args()
    names = arguments.names or list(PICTURES)
    if unknown := set(names) - set(PICTURES):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
    if not arguments.check:
        make(names, FOLDER)
        return
    with tempfile.TemporaryDirectory() as fresh:
        make(names, Path(fresh))
        if problems := out_of_step(names, Path(fresh)):
            sys.exit("Make these pictures again, they are out of step with the window:\n" + "\n".join(problems))


if __name__ == "__main__":
    main()
