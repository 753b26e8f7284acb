"""Where labels lie, by world coordinates and by what napari slices; names and numbers from a layer's units."""

import itertools
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari_builtins.io import napari_get_reader
from scipy.spatial.transform import Rotation

from napari_sam_amg.plugin.placing import shown_position
from napari_sam_amg.plugin.running.layers import area_column, guess_channel_axis, shown_axes
from napari_sam_amg.plugin.running.source import Part, SourceLayer, make_labels, take

LENGTHS = {"t": 2, "z": 3, "c": 4, "y": 9, "x": 10}
ORDERS = ["".join((*before, "y", "x")) for count in range(4) for before in itertools.permutations("tzc", count)]


def image(**options: Any) -> Image:
    return Image(np.zeros((4, 20, 30)), contrast_limits=(0, 1), **options)


@pytest.mark.parametrize(
    ("unit", "column"),
    [("um", "area_um2"), ("micrometer", "area_um2"), ("nm", "area_nm2"), ("mm", "area_mm2"), ("pixel", "area_scaled")],
)
def test_the_column_of_areas_is_named_by_the_unit(unit: str, column: str) -> None:
    assert area_column(image(units=(unit,) * 3).units[-2]) == column


ROTATED = Rotation.from_euler("x", 30, degrees=True).as_matrix()  # turns the first axis out of its place, and z stays


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing is being requested")
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, None),
        ({"scale": (1, 2, 3)}, (2, 3)),
        ({"units": ("um",) * 3}, (1, 1)),
        ({"units": ("um", "um", "nm"), "scale": (1, 2, 500)}, (2, 0.5)),
        ({"scale": (1, -2, 3)}, (2, 3)),
        ({"affine": np.diag([1, 0.5, 0.5, 1]), "units": ("um",) * 3}, (0.5, 0.5)),
        ({"affine": np.diag([1, 0.5, 0.25, 1]), "scale": (7, 2, 3), "units": ("um",) * 3}, (1, 0.75)),
        ({"rotate": ROTATED}, None),
        ({"rotate": ROTATED, "scale": (5, 2, 3)}, (2, 3)),
        ({"shear": [0, 0, 0.75], "scale": (1, 2, 4)}, (1.6, 5)),  # a parallelogram; its area stays
        ({"affine": [[1, 3, 0, 0], [0, 4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, (5, 1)),  # tilted out of the plane
        ({"units": ("nm", "um", "um"), "affine": [[1, 3000, 0, 0], [0, 4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, (5, 1)),
        ({"units": ("s", "um", "um"), "affine": [[1, 3, 0, 0], [0, 4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, (4, 1)),
        ({"units": ("um", "s", "um")}, None),  # no area
    ],
)
def test_pixel_size_is_in_the_unit_of_y(options: dict[str, Any], size: tuple[float, float] | None) -> None:
    found = take(image(**options)).pixel_size
    assert found == (size if size is None else pytest.approx(size))


def test_pixel_size_is_of_the_axes_that_are_segmented() -> None:
    layer = Image(np.zeros((8, 9, 10)), contrast_limits=(0, 1), scale=(5, 2, 3), units=("um",) * 3)
    source = take(layer, plane=(0, 2))
    assert source.pixel_size == pytest.approx((5, 3))


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


def coded(axes: str) -> np.ndarray:
    """Every plane has a pattern of its own, the same in all channels."""
    sizes = [1 if axis == "c" else LENGTHS[axis] for axis in axes]
    pixels = np.arange(1, np.prod(sizes) + 1, dtype=np.int32).reshape(sizes)
    return np.broadcast_to(pixels, [LENGTHS[axis] for axis in axes]).copy()


def labelled(source: SourceLayer) -> Labels:
    """Labels that equal the image, made plane by plane as a run does."""
    labels = np.zeros(source.labels_shape, np.int32)
    for index in source.stack.indices:
        labels[source.place(index)] = source.stack.plane(index)
    return make_labels(labels, source)


def transforms(ndim: int) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(ndim)
    plain = {"scale": 1 + np.arange(ndim) / 4, "translate": 10.0 * np.arange(1, ndim + 1), "units": ("um",) * ndim}
    rotation = np.eye(ndim)
    rotation[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]
    shear = np.eye(ndim)
    shear[-2, -1] = 0.25
    affine = np.eye(ndim + 1)
    affine[:ndim, :ndim] = np.diag(generator.uniform(0.5, 2, ndim))
    affine[:ndim, ndim] = generator.uniform(-5, 5, ndim)
    yield {}
    yield plain
    yield plain | {"rotate": rotation, "shear": shear}
    yield plain | {"affine": affine}


@pytest.mark.parametrize("axes", ORDERS)
def test_labels_are_seen_on_their_plane_in_every_channel(axes: str) -> None:
    """One plane of an image that is rotated and sheared, all planes of one with an affine; the rest once."""
    several = list(transforms(len(axes)))
    for number, options in enumerate(several if axes == "zcyx" else several[-2:]):
        viewer = ViewerModel()
        layer = viewer.add_image(coded(axes), axis_labels=tuple(axes), contrast_limits=(0, 1), **options)
        _check_every_slider_position(viewer, layer, axes, one_plane=number % 2 == 0)


def _check_every_slider_position(viewer: ViewerModel, layer: Image, axes: str, one_plane: bool) -> None:
    channel = guess_channel_axis(layer)
    assert channel == (axes.index("c") if "c" in axes else None)
    chosen = {axis: LENGTHS[axis] - 1 for axis in axes[:-2]}
    at = tuple(chosen[axis] for axis in axes[:-2] if axis != "c") if one_plane else None
    labels = viewer.add_layer(
        labelled(take(layer, None if channel is None else (channel, 1), Part(at), single=one_plane))
    )
    assert labels.axis_labels == tuple(axes)
    for position in np.ndindex(*(LENGTHS[axis] for axis in axes[:-2])):
        viewer.dims.set_current_step(list(range(len(position))), list(position))
        there = dict(zip(axes, position, strict=False))
        assert shown_position(layer, viewer.dims)[: len(position)] == position
        seen = labels._slice.image.raw
        if one_plane and any(there[axis] != chosen[axis] for axis in there if axis != "c"):
            assert not seen.any()
            continue
        np.testing.assert_array_equal(seen, layer._slice.image.raw)
        world = layer.data_to_world((*position, 4, 7))
        assert labels.get_value(world, world=True) == layer.data[(*position, 4, 7)]


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing is being requested")
@pytest.mark.parametrize("axes", ORDERS)
def test_world_coordinates_are_those_of_the_image_whatever_mixes_axes(axes: str) -> None:
    """Rotation, shear and affine of all axes; the middle of the channels is that of a label."""
    ndim = len(axes)
    generator = np.random.default_rng(3)
    rotation = np.linalg.qr(generator.normal(size=(ndim, ndim)))[0]
    affine = np.eye(ndim + 1)
    affine[:ndim] += generator.uniform(-0.3, 0.3, (ndim, ndim + 1))
    shear = np.eye(ndim) + np.triu(generator.uniform(-0.3, 0.3, (ndim, ndim)), 1)
    scale = generator.uniform(0.5, 2, ndim)
    layer = Image(coded(axes), scale=scale, rotate=rotation, shear=shear, affine=affine, translate=scale)
    channel = axes.index("c") if "c" in axes else None
    at = tuple(LENGTHS[axis] - 1 for axis in axes[:-2] if axis != "c")
    for fixed in (None, at):
        labels = make_labels(*_empty(take(layer, None if channel is None else (channel, 1), Part(fixed), single=True)))
        inside, outside = [0.0] * (ndim - 2), [0.0] * (ndim - 2)
        for axis, name in enumerate(axes[:-2]):
            outside[axis] = (LENGTHS["c"] - 1) / 2 if name == "c" else LENGTHS[name] - 1
            inside[axis] = 0 if name == "c" or fixed is not None else LENGTHS[name] - 1
        np.testing.assert_allclose(labels.data_to_world((*inside, 4, 7)), layer.data_to_world((*outside, 4, 7)))


def _empty(source: SourceLayer) -> tuple[np.ndarray, SourceLayer]:
    return np.zeros(source.labels_shape, np.int32), source


@pytest.mark.parametrize("axes", ["zyx", "zcyx", "cyx", "tczyx"])
def test_planes_of_any_two_axes_are_those_in_sight(axes: str) -> None:
    """For every two axes that a viewer can show, whichever comes first."""
    viewer = ViewerModel()
    layer = viewer.add_image(coded(axes) % 251, axis_labels=tuple(axes), contrast_limits=(0, 1))
    channel = guess_channel_axis(layer)
    space = [axis for axis in range(len(axes)) if axis != channel]
    for plane in itertools.permutations(space, 2):
        hidden = [axis for axis in range(len(axes)) if axis not in plane]
        viewer.dims.order = (*hidden, *plane)
        found = shown_axes(layer, viewer.dims, channel)
        assert found.plane == tuple(sorted(plane))
        if min(layer.data.shape[axis] for axis in plane) < 8:
            continue
        labels = viewer.add_layer(labelled(take(layer, None if channel is None else (channel, 0), Part(), found.plane)))
        for position in np.ndindex(*(layer.data.shape[axis] for axis in hidden)):
            viewer.dims.set_current_step(hidden, list(position))
            np.testing.assert_array_equal(labels._slice.image.raw, layer._slice.image.raw)
        viewer.layers.remove(labels)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "rgb", "multiscale"])
@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
def test_lazy_data_of_every_kind_give_the_same_planes(kind: str, plane: tuple[int, int]) -> None:
    data = np.random.default_rng(0).integers(0, 255, (9, 10, 11, 3) if kind == "rgb" else (9, 10, 11)).astype(np.uint8)
    chunks = (3, 10, 11)
    lazy: Any = {"dask": lambda: da.from_array(data, chunks), "zarr": lambda: zarr.array(data, chunks=chunks)}
    given = [data, data[::2, ::2, ::2]] if kind == "multiscale" else lazy.get(kind, lambda: data)()
    layer = Image(given, rgb=kind == "rgb", contrast_limits=(0, 255), multiscale=kind == "multiscale")
    source = take(layer, None, Part(), plane)
    (other,) = source.axes.stack
    for position in range(data.shape[other]):
        np.testing.assert_array_equal(source.stack.plane((position,)), data.take(position, axis=other))
        single = take(layer, None, Part((position,)), plane)
        assert single.stack.indices == [(position,)]
        np.testing.assert_array_equal(single.stack.plane((position,)), data.take(position, axis=other))
    assert source.labels_shape == (9, 10, 11)


def test_channels_may_come_last() -> None:
    data = np.random.default_rng(0).integers(0, 255, (2, 9, 10, 3)).astype(np.uint8)
    viewer = ViewerModel()
    layer = viewer.add_image(data, rgb=False, axis_labels=("z", "y", "x", "c"), contrast_limits=(0, 255))
    axes = shown_axes(layer, viewer.dims, guess_channel_axis(layer))
    source = take(layer, (3, 2), Part(), axes.plane)
    assert (axes.plane, axes.stack, source.labels_shape) == ((1, 2), (0,), (2, 9, 10, 1))
    np.testing.assert_array_equal(source.stack.plane((1,)), data[1, ..., 2])
    assert source.record()["channel"] == {"3": 2}


def test_a_layer_with_fewer_axes_than_the_viewer() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 3, 4, 9, 10)), contrast_limits=(0, 1))
    layer = viewer.add_image(coded("zyx")[:, :, :], contrast_limits=(0, 1), scale=(1.0, 2, 2))
    viewer.dims.set_current_step(2, 2)
    assert shown_position(layer, viewer.dims)[0] == 2
    viewer.dims.order = (0, 1, 3, 2, 4)
    assert shown_axes(layer, viewer.dims, None).plane == (0, 2)


def test_in_3d_the_plane_is_the_one_of_2d() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(coded("tzyx"), contrast_limits=(0, 1))
    viewer.dims.set_current_step([0, 1], [1, 2])
    viewer.dims.ndisplay = 3
    assert shown_axes(layer, viewer.dims, None).plane == (2, 3)
    assert shown_position(layer, viewer.dims)[:2] == (1, 2)


@pytest.mark.parametrize("axes", ["tczyx", "zcyx", "czyx", "tzcyx"])
def test_in_3d_labels_fill_the_volume_of_their_image(axes: str) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(coded(axes), axis_labels=tuple(axes), contrast_limits=(0, 1))
    labels = viewer.add_layer(labelled(take(layer, (axes.index("c"), 0))))
    order = (*(axes.index(axis) for axis in axes if axis not in "zyx"), *(axes.index(axis) for axis in "zyx"))
    viewer.dims.order = order
    viewer.dims.ndisplay = 3
    for position in np.ndindex(*(layer.data.shape[axis] for axis in order[:-3])):
        viewer.dims.set_current_step(list(order[:-3]), list(position))
        np.testing.assert_array_equal(labels._slice.image.raw, layer._slice.image.raw)


@pytest.mark.parametrize("axes", ["zcyx", "tczyx"])
def test_labels_are_painted_where_they_are_seen(axes: str) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(coded(axes), axis_labels=tuple(axes), contrast_limits=(0, 1))
    labels = viewer.add_layer(labelled(take(layer, (axes.index("c"), 1))))
    for channel in range(LENGTHS["c"]):
        position = [1 if axis == "c" else 0 for axis in axes[:-2]]
        position[axes.index("c")] = channel
        viewer.dims.set_current_step(list(range(len(position))), position)
        label = 10_000 + channel
        labels.brush_size = 1
        labels.paint(labels.world_to_data(layer.data_to_world((*position, 3, 5))), label)
        assert labels._slice.image.raw[3, 5] == label
        assert labels.get_value(layer.data_to_world((*position, 3, 5)), world=True) == label


def test_an_imagej_hyperstack_as_napari_reads_it(tmp_path: Any) -> None:
    """Its axes are T, Z, C, Y, X, and napari's reader does not split channels."""
    data = coded("tzcyx").astype(np.uint16)
    tifffile.imwrite(tmp_path / "hyper.tif", data, imagej=True, metadata={"axes": "TZCYX"})
    viewer = ViewerModel()
    path = str(tmp_path / "hyper.tif")
    read = napari_get_reader(path)
    assert read is not None
    ((pixels, *_),) = read(path)
    layer = viewer.add_image(pixels)
    assert layer.data.shape == data.shape
    labels = viewer.add_layer(labelled(take(layer, (2, 3))))
    for position in np.ndindex(data.shape[:3]):
        viewer.dims.set_current_step([0, 1, 2], list(position))
        np.testing.assert_array_equal(labels._slice.image.raw, data[position])
