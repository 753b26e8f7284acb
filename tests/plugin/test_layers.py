"""Names and numbers that come from a layer's units."""

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam_amg.plugin.layers import area_column, shown_position, take


def image(**options: Any) -> Image:
    return Image(np.zeros((4, 20, 30)), contrast_limits=(0, 1), **options)


@pytest.mark.parametrize(
    ("unit", "column"),
    [("um", "area_um2"), ("micrometer", "area_um2"), ("nm", "area_nm2"), ("mm", "area_mm2"), ("pixel", "area_scaled")],
)
def test_the_column_of_areas_is_named_by_the_unit(unit: str, column: str) -> None:
    assert area_column(image(units=(unit,) * 3).units[-2]) == column


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, None),
        ({"scale": (1, 2, 3)}, (2, 3)),
        ({"units": ("um",) * 3}, (1, 1)),
        ({"units": ("um", "um", "nm"), "scale": (1, 2, 500)}, (2, 0.5)),
        ({"scale": (1, -2, 3)}, (2, 3)),
    ],
)
def test_pixel_size_is_in_the_unit_of_y(options: dict[str, Any], size: tuple[float, float] | None) -> None:
    found = take(image(**options), None, None).pixel_size
    assert found == (size if size is None else pytest.approx(size))


def test_the_shown_plane_is_found_in_the_layers_own_pixels() -> None:
    viewer = ViewerModel()
    layer = viewer.add_layer(image(scale=(2.5, 1, 1), translate=(10, 0, 0), units=("um",) * 3))
    viewer.add_image(np.zeros((20, 20, 30)), contrast_limits=(0, 1), units=("nm",) * 3)
    for plane in range(4):
        viewer.dims.set_point(0, _in_viewer_units(viewer, layer.data_to_world((plane, 0, 0))[0]))
        assert shown_position(layer, viewer.dims)[0] == plane


def _in_viewer_units(viewer: ViewerModel, micrometres: float) -> float:
    """napari shows layers of several units in one of them."""
    units = getattr(viewer.dims, "units", None)
    return micrometres * 1000 if units and str(units[0]) == "nanometer" else micrometres
