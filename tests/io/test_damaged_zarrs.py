"""OME-Zarrs whose metadata are not as they should be: what is said names the field and what is allowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_sam_amg.io.images import open_image
from napari_sam_amg.plugin.files.image_reader import read
from tests.ome_zarrs import STACK, write

Metadata = dict[str, Any]
FIELD = r"its OME-Zarr metadata: multiscales\[0\]"
STEP = FIELD + r"\.datasets\[0\]\.coordinateTransformations"
NUMBERS = "it must be a list of 4 numbers, for the axes c, z, y, x"


def edit(path: Path, change: Callable[[Metadata], object]) -> None:
    """What the group says of images, in either version."""
    document = path / "zarr.json"
    document = document if document.exists() else path / ".zattrs"
    content = json.loads(document.read_text())
    attributes = content.get("attributes", content)
    change(attributes.get("ome", attributes))
    document.write_text(json.dumps(content))


def edit_array(path: Path, change: Callable[[Metadata], object]) -> None:
    """What the first array says of itself."""
    documents = [path / "s0" / name for name in ("zarr.json", ".zarray") if (path / "s0" / name).exists()]
    content = json.loads(documents[0].read_text())
    change(content)
    documents[0].write_text(json.dumps(content))


def image(said: Metadata) -> Metadata:
    first: Metadata = said["multiscales"][0]
    return first


def dataset(said: Metadata) -> Metadata:
    first: Metadata = image(said)["datasets"][0]
    return first


def step(said: Metadata) -> Metadata:
    first: Metadata = dataset(said)["coordinateTransformations"][0]
    return first


def instead(**others: Any) -> Callable[[Metadata], object]:
    """Something else than an image."""
    return lambda said: (said.pop("multiscales"), said.update(others))


DAMAGE: dict[str, tuple[Callable[[Metadata], object], str]] = {
    "no axes": (lambda m: image(m).pop("axes"), rf"{FIELD}\.axes is missing: it must be a list"),
    "axes": (lambda m: image(m).update(axes=3), rf"{FIELD}\.axes=3 is not allowed: it must be a list"),
    "an axis": (lambda m: image(m).update(axes=[3, 4, 5, 6]), rf"{FIELD}\.axes\[0\]=3 is not allowed: it must be a ta"),
    "nameless": (lambda m: image(m)["axes"][1].pop("name"), rf"{FIELD}\.axes\[1\]\.name is missing: it must be a nam"),
    "one name": (lambda m: image(m)["axes"][2].update(name="x"), rf"{FIELD}\.axes has the names c, z, x, x: they mus"),
    "fewer": (lambda m: image(m)["axes"].pop(), rf"{STEP}\[0\]\.scale=.*: it must be a list of 3 numbers, for the a"),
    "datasets": (lambda m: image(m).update(datasets="0"), rf"{FIELD}\.datasets='0' is not allowed: it must be a list"),
    "no datasets": (lambda m: image(m).pop("datasets"), rf"{FIELD}\.datasets is empty: it must hold the path of an a"),
    "names": (lambda m: image(m).update(datasets=["0"]), rf"{FIELD}\.datasets\[0\]='0' is not allowed: it must be a"),
    "no path": (lambda m: dataset(m).pop("path"), rf"{FIELD}\.datasets\[0\]\.path is missing: it must be a name"),
    "path": (lambda m: dataset(m).update(path="nope"), "its metadata name 'nope', which is not there"),
    "above": (lambda m: dataset(m).update(path="../a"), "its metadata name '../a', whose own metadata cannot be re"),
    "scale": (lambda m: step(m).update(scale=[1, 2]), rf"{STEP}\[0\]\.scale=\[1, 2\] is not allowed: {NUMBERS}"),
    "words": (lambda m: step(m).update(scale=["a"] * 4), rf"{STEP}\[0\]\.scale=\['a', 'a', 'a', 'a'\] is not allowed"),
    "text": (lambda m: step(m).update(scale="abcd"), rf"{STEP}\[0\]\.scale='abcd' is not allowed: {NUMBERS}"),
    "no scale": (lambda m: step(m).pop("scale"), rf"{STEP}\[0\]\.scale is missing: {NUMBERS}"),
    "steps": (lambda m: dataset(m).update(coordinateTransformations=3), rf"{STEP}=3 is not allowed: it must be a lis"),
    "a step": (lambda m: dataset(m).update(coordinateTransformations=["a"]), rf"{STEP}\[0\]='a' is not allowed: it m"),
    "empty": (lambda m: m.update(multiscales=[]), "its OME-Zarr metadata: multiscales is empty: it must hold an im"),
    "number": (lambda m: m.update(multiscales=3), "its OME-Zarr metadata: multiscales=3 is not allowed: it must be"),
    "nothing": (instead(), "a Zarr group without an image: an OME-Zarr has 'multiscales' in its metadata"),
    "plate": (instead(plate={"wells": [{"path": "A/1"}]}), "a plate of 1 wells is not read as a whole: give its im"),
    "bad plate": (instead(plate=3), "its OME-Zarr metadata: plate=3 is not allowed: it must be a table of names"),
    "wells": (instead(plate={"wells": ["A/1"]}), r"its OME-Zarr metadata: plate.wells\[0\]='A/1' is not allowed"),
    "well": (instead(well=3), "its OME-Zarr metadata: well=3 is not allowed: it must be a table of names"),
    "fields": (instead(well={"images": ["0"]}), r"its OME-Zarr metadata: well.images\[0\]='0' is not allowed"),
    "a field": (instead(well={"images": [{"path": "9"}]}), "its metadata name '9', which is not there"),
}  # fmt: skip
DAMAGED_ARRAYS: dict[str, tuple[Callable[[Metadata], object], str]] = {
    "shape": (lambda m: m.update(shape="abc"), "its metadata name 's0', whose own metadata cannot be read"),
    "negative": (lambda m: m.update(shape=[-1, 3, 40, 64]), "its metadata name 's0', whose own metadata cannot be r"),
    "type": (lambda m: m.update({"data_type" if "data_type" in m else "dtype": "quux"}), "cannot be read.*quux"),
    "format": (lambda m: m.update(zarr_format=9), "its metadata name 's0', whose own metadata cannot be read: .*9"),
}  # fmt: skip


@pytest.fixture(params=["0.4", "0.5"])
def path(request: Any, tmp_path: Path) -> Path:
    return write(tmp_path / "a b.ome.zarr", version=request.param)


def assert_said(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised, open_image(path):
        pass
    assert not any(name in str(raised.value) for name in ("Error", "' object", "<class"))
    with pytest.raises(ValueError, match=message) as raised:
        read(str(path))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(("change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_wrong_with_metadata_is_named(change: Callable[[Metadata], object], message: str, path: Path) -> None:
    edit(path, change)
    assert_said(path, message)


@pytest.mark.parametrize(("change", "message"), DAMAGED_ARRAYS.values(), ids=DAMAGED_ARRAYS)
def test_what_is_wrong_with_an_array_is_named(change: Callable[[Metadata], object], message: str, path: Path) -> None:
    edit_array(path, change)
    assert_said(path, message)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_metadata_that_are_no_json(text: str, path: Path) -> None:
    (path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")).write_text(text)
    assert_said(path, "the Zarr is damaged: its metadata cannot be read")


def test_arrays_that_are_no_images(tmp_path: Path) -> None:
    for name, shape, dtype in (("text", (20, 20), str), ("none", (0, 20), "u2"), ("line", (20,), "u2")):
        zarr.create_array(tmp_path / f"{name}.zarr", shape=shape, dtype=dtype)
    assert_said(tmp_path / "text.zarr", "an array of type .* is no image: allowed are numbers")
    assert_said(tmp_path / "none.zarr", r"an array of shape \(0, 20\) in chunks of .* has no pixels")
    assert_said(tmp_path / "line.zarr", r"an array of shape \(20,\) is no image: allowed are \(Y, X\)")


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(omero=3),
        lambda said: said.update(omero={"channels": ["a", "b"]}),
        lambda said: [axis.update(unit="furlong", type=["x"]) for axis in image(said)["axes"]],
        lambda said: image(said)["datasets"][1].update(path="nope"),  # a coarser level, of which nothing is read
        lambda said: step(said).update(scale=["1", "2", "3", "4"]),
        lambda said: step(said).update(scale=[1, -1, 0, float("inf")]),
    ],
)
def test_what_is_not_needed_may_be_anything(change: Callable[[Metadata], object], path: Path) -> None:
    edit(path, change)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.stack.plane((1,)), STACK[0, 1])
    assert read(str(path))[0][0].shape == STACK.shape


def test_names_of_axes_that_say_nothing_are_told_apart_by_their_order(path: Path) -> None:
    def rename(said: Metadata) -> None:
        for name, axis in zip(("one", "two", "three", "four"), image(said)["axes"], strict=True):
            axis.update(name=name, type="")

    edit(path, rename)
    with open_image(path) as source:
        assert source.stack.stack_shape == (2, 3)
        np.testing.assert_array_equal(source.stack.plane((1, 2)), STACK[1, 2])
