"""Which part of every plane: all of it, the field in view, or shapes that were drawn."""

from dataclasses import dataclass

import numpy as np
from napari.layers import Image, Shapes
from napari.utils.events import Event
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFormLayout

from napari_sam_amg.amg.field import Field, field_of
from napari_sam_amg.plugin.choices.rows import add_row, combo, show_row
from napari_sam_amg.plugin.placing import corners_of_view, to_data, to_world
from napari_sam_amg.plugin.running.layers import Axes, full_resolution

WHOLE, VIEW = "The whole image", "The field in view"
HELP = (
    "Segment a part only, to try settings or because the rest does not matter: what the window shows of the image, "
    "or rectangles, ellipses and polygons of a Shapes layer, all of them or those that are selected. It is the same in "
    "all planes, and as bright as in the whole."
)
OUTLINES = ("rectangle", "polygon", "ellipse")
STANDS = 200  # ms after which the camera has come to a stand
ROUND = 64  # corners of an ellipse
NO_SHAPE = "draw a rectangle or a polygon in '{name}' first"
NONE_SELECTED = "no shape of '{name}' is selected"
NO_AREA = "it has no area in the planes that are segmented: choose it in these planes"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Shapes of a layer."""

    layer: Shapes
    selected: bool = False  # these alone

    def shapes(self) -> list[int]:
        """Which they are. ``ValueError`` if there are none, or if one has no area."""
        which = sorted(self.layer.selected_data) if self.selected else list(range(self.layer.nshapes))
        if not which:
            raise ValueError((NONE_SELECTED if self.selected else NO_SHAPE).format(name=self.layer.name))
        for kind in (self.layer.shape_type[shape] for shape in which):
            if kind not in OUTLINES:
                raise ValueError(f"a {kind} has no area: draw a rectangle or a polygon")
        return which

    def corners(self, shape: int) -> NDArray[np.float64]:
        """(n, D) in the data of the layer."""
        corners = np.asarray(self.layer.data[shape], float)
        return _ellipse(corners) if self.layer.shape_type[shape] == "ellipse" else corners


def _offered(layer: Shapes) -> list[tuple[str, Drawn]]:
    """What can be chosen of a layer: which of several shapes is said."""
    if layer.nshapes < 2:
        return [(layer.name, Drawn(layer))]
    both = (f"all {layer.nshapes} shapes", Drawn(layer)), ("selected shapes", Drawn(layer, selected=True))
    return [(f"{layer.name}: {which}", drawn) for which, drawn in both]


class RegionRows(QObject):
    """A row of the form; follows the viewer's Shapes layers."""

    changed = Signal()

    def __init__(self, viewer: Viewer, form: QFormLayout) -> None:
        super().__init__()
        self._viewer, self._form = viewer, form
        self._watched: list[Shapes] = []
        self._earlier: tuple[str, Field] | None = None  # of results whose settings were taken, and how it is called
        self.region = combo([])
        add_row(form, "Region", self.region, HELP)
        self.region.currentIndexChanged.connect(lambda *_: self.changed.emit())
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self._list)
        self._moved = QTimer(self)
        self._moved.setSingleShot(True)
        self._moved.setInterval(STANDS)
        self._moved.timeout.connect(self.changed)
        camera = getattr(viewer, "scene", viewer).camera  # the scene's since napari 0.9
        for event in (camera.events.center, camera.events.zoom, viewer.dims.events.ndisplay):
            event.connect(self._see)
        self._list()

    def _see(self, event: Event) -> None:
        """Whether the field in view is one is told when the camera stands."""
        is_there: bool = isalive(self.region)  # type: ignore[no-untyped-call]
        if is_there and self.region.currentData() == VIEW:
            self._moved.start()

    def _list(self, event: Event | None = None) -> None:
        """What can be chosen, keeping what is."""
        before = self.region.currentData()
        shapes = [layer for layer in reversed(self._viewer.layers) if isinstance(layer, Shapes)]
        self._watch(shapes)
        self.region.blockSignals(True)
        self.region.clear()
        items: list[tuple[str, object]] = [(WHOLE, WHOLE), (VIEW, VIEW)]
        items += [item for layer in shapes for item in _offered(layer)]
        items += [self._earlier] if self._earlier else []
        for text, data in items:
            self.region.addItem(text, data)
        if isinstance(before, Drawn) and before.layer.nshapes < 2:
            before = Drawn(before.layer)
        found = [row for row, (_, data) in enumerate(items) if data == before]
        self.region.setCurrentIndex(found[0] if found else 0)
        self.region.blockSignals(False)
        if event is not None:
            self.changed.emit()

    def _watch(self, shapes: list[Shapes]) -> None:
        for layer in self._watched:
            layer.events.name.disconnect(self._list)
            layer.events.data.disconnect(self._list)
            layer.events.highlight.disconnect(self._selected)
        for layer in shapes:
            layer.events.name.connect(self._list)
            layer.events.data.connect(self._list)
            layer.events.highlight.connect(self._selected)
        self._watched = shapes

    def _selected(self, event: Event) -> None:
        """Other shapes; it is told of every look that napari gives them, too."""
        if self.region.currentData() == Drawn(event.source, selected=True):
            self.changed.emit()

    def take(self, field: Field | None, name: str) -> None:
        """Choose the region of earlier results."""
        self._earlier = None if field is None else (f"Region of '{name}'", field)
        self._list()
        self.region.setCurrentIndex(0 if field is None else self.region.count() - 1)

    def show(self, layer: Image | None) -> None:
        """The row only where there is an image."""
        show_row(self._form, self.region, layer is not None)

    def field(self, layer: Image, axes: Axes) -> Field | None:
        """The region in planes of ``axes``; None for all of them. ``ValueError`` if what is chosen is no region."""
        chosen, shape = self.region.currentData(), full_resolution(layer).shape
        height, width = (int(shape[axis]) for axis in axes.plane)
        if chosen == WHOLE or chosen is None:
            return None
        if isinstance(chosen, Field):
            if chosen.rows[1] > height or chosen.columns[1] > width:
                raise ValueError(f"the region does not fit an image of {height} x {width} pixels")
            return chosen
        shapes = [_seen(layer, self._viewer)] if chosen == VIEW else _drawn(chosen, layer, self._viewer)
        flat = [corners[:, list(axes.plane)] for corners in shapes]
        if not all(np.ptp(corners, axis=0).all() for corners in flat):
            raise ValueError(NO_AREA if len(flat) == 1 else NO_AREA.replace("it has", "one of the shapes has"))
        field = field_of(flat, (height, width))
        return None if field.size == (height, width) and not field.outlines else field


def _seen(layer: Image, viewer: Viewer) -> NDArray[np.float64]:
    """Data coordinates (4, D) of a box around what is seen, so that a turned image has no slanted edges."""
    if viewer.dims.ndisplay != 2:
        raise ValueError("the field in view is that of 2D: show planes")
    corners = corners_of_view(layer, viewer)
    low, high = corners.min(axis=0), corners.max(axis=0)
    first, second = sorted(np.argsort(high - low)[-2:].tolist())  # what is not displayed has no length
    box = np.tile(low, (4, 1))
    box[[1, 2], first], box[[2, 3], second] = high[first], high[second]
    return box


def _drawn(drawn: Drawn, layer: Image, viewer: Viewer) -> list[NDArray[np.float64]]:
    """Data coordinates (n, D) of the image at the corners of each shape."""
    return [
        to_data(layer, viewer.dims, to_world(drawn.layer, viewer.dims, drawn.corners(shape)))
        for shape in drawn.shapes()
    ]


def _ellipse(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the ellipse in a box of four corners."""
    middle, across, down = box.mean(axis=0), (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    return middle + np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
