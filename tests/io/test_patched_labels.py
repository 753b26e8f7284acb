"""A label volume with other labels over some of its planes."""

import gc
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_sam_amg.io import label_volume
from napari_sam_amg.io.label_files import empty_copy, fresh_levels
from napari_sam_amg.io.label_volume import VERSIONS, LabelVolume
from napari_sam_amg.io.patched_labels import PackedPlane, PatchedLabels

SHAPE = (2, 3, 71, 93)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelVolume:
    """Of several levels, whose finest has chunks of 32 x 32 pixels, filled at random."""
    monkeypatch.setattr(label_volume, "COARSEST", 40)
    return filled(tmp_path / "a_labels.ome.zarr", VERSIONS[0])


def filled(path: Path, version: str) -> LabelVolume:
    volume = LabelVolume.create(path, SHAPE, "TZYX", version=version, side=32)
    for number, index in enumerate(np.ndindex(SHAPE[:-2])):
        volume.write_plane(index, labels_of(number))
        volume.reduce_plane(index)
    return volume


def labels_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 70_000, SHAPE[-2:]).astype(np.int32)


def test_planes_over_the_file_are_seen_in_all_levels(volume: LabelVolume) -> None:
    shown = PatchedLabels(volume.path)
    before = [np.asarray(level) for level in shown.levels()]
    for level, stored in zip(before, volume.levels, strict=True):
        np.testing.assert_array_equal(level, stored[:])
    assert len(before) == 3
    new = labels_of(99)
    old = shown.levels()
    shown.put({(1, 2): PackedPlane.of(new)})
    expected = before[0].copy()
    expected[1, 2] = new
    levels = shown.levels()
    for step, level in zip((1, 2, 4), levels, strict=True):
        np.testing.assert_array_equal(np.asarray(level), expected[..., ::step, ::step])
        assert level.dtype == np.uint32
    for was, level in zip(before, old, strict=True):  # those that were taken before stay as they were
        np.testing.assert_array_equal(np.asarray(level), was)
    np.testing.assert_array_equal(volume.levels[0][:], before[0])
    # whatever part is asked for
    whole = levels[0]
    for where in np.s_[1, 2], np.s_[1, 2, 40], np.s_[:, 2, 5:50, 90], np.s_[1, 1:3, ::7, 33:34], np.s_[1:1]:
        np.testing.assert_array_equal(np.asarray(whole[where]), expected[where])
    assert {level.name for level in levels}.isdisjoint(level.name for level in shown.levels())
    shown.clear()
    np.testing.assert_array_equal(np.asarray(shown.levels()[0]), before[0])


def test_beyond_the_budget_planes_are_in_files_which_go_with_them(volume: LabelVolume) -> None:
    planes = {index: PackedPlane.of(labels_of(50 + n)) for n, index in enumerate(np.ndindex(SHAPE[:-2]))}
    size = planes[0, 0].size
    shown = PatchedLabels(volume.path, budget=2 * size + 100)
    shown.put(planes)
    folder = shown.folder
    assert folder is not None
    assert len(list(folder.iterdir())) == 4
    np.testing.assert_array_equal(np.asarray(shown.levels()[0])[1, 2], labels_of(55))
    shown.put({(1, 2): PackedPlane.of(np.zeros(SHAPE[-2:], np.int32))})
    del planes
    gc.collect()
    assert len(list(folder.iterdir())) == 4  # the new one is in a file, the old one's is gone
    assert not np.asarray(shown.levels()[0])[1, 2].any()
    shown.clear()
    gc.collect()
    assert list(folder.iterdir()) == []
    del shown
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_copy_has_all_but_the_labels(tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_volume, "COARSEST", 40)
    path, target = tmp_path / "a_labels.ome.zarr", tmp_path / "b" / "a_labels.ome.zarr"
    volume = filled(path, version)
    zarr.open_group(path, mode="r+").attrs["mine"] = [1, 2]
    copy = empty_copy(path, target)
    assert copy.axes == volume.axes
    assert [(level.shape, level.chunks) for level in copy.levels] == [(v.shape, v.chunks) for v in volume.levels]
    assert not any(np.asarray(level).any() for level in fresh_levels(target))
    assert dict(zarr.open_group(target, mode="r").attrs) == dict(zarr.open_group(path, mode="r").attrs)
    copy.write_plane((0, 0), labels_of(0))
    np.testing.assert_array_equal(np.asarray(fresh_levels(target)[0])[0, 0], labels_of(0))
    assert np.asarray(fresh_levels(path)[0])[1, 2].any()
