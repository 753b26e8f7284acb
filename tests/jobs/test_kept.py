"""Runs that end before their end, and are continued."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from napari_sam_amg import AmgParameters, PlaneStack, segment_planes
from napari_sam_amg.amg import planes
from napari_sam_amg.amg.preprocess import IntensityRange, survey
from napari_sam_amg.amg.region import whole_plane
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.jobs.identity import identity_of
from napari_sam_amg.jobs.kept import KeptRun, OtherRun, count_units, drop_work
from tests.disc_model import BlobModel, blobs

PARAMS = AmgParameters(points_per_side=16, stability_score_thresh=0.6)
PLANES = np.stack([blobs(), np.zeros((96, 128), np.uint8), blobs(discs=((40, 40, 10),)), blobs(discs=((90, 60, 13),))])
IDENTITY = identity_of(PARAMS, input={"sha256": "0"})


def run(folder, model=None, params=PARAMS, planes=PLANES, identity=IDENTITY, stop_after=None, **options):
    """The results of a run, which ends after so many planes; and the model, which knows what it was asked."""
    model = model or BlobModel()
    with KeptRun(folder, identity, **options) as kept:
        stack = PlaneStack(planes)
        surveyed = kept.surveyed(lambda: survey(stack))
        steps = segment_planes(stack, model, params, surveyed=surveyed, work=kept.over(ModelWork(model)))
        results = []
        for step in steps:
            results += [step.result] if step.result is not None else []
            if len(results) == stop_after:
                break
    return results, model


def equal(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a.labels, b.labels)
        and a.features.equals(b.features)
        and (a.index, a.nothing) == (b.index, b.nothing)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_a_run_that_is_continued_gives_what_an_uninterrupted_one_gives(done, tmp_path):
    whole, model = run(tmp_path / "whole")
    run(tmp_path / "kept", stop_after=done)
    assert count_units(tmp_path / "kept") == done
    continued, second = run(tmp_path / "kept")
    assert equal(continued, whole)
    assert len(model.embedded) == 3
    assert len(second.embedded) == [2, 2, 1, 0][done - 1]  # of planes with something in them that were not done


def test_nothing_is_kept_of_a_run_that_has_done_nothing(tmp_path):
    with pytest.raises(OSError, match="no model"), KeptRun(tmp_path / "kept", IDENTITY):
        raise OSError("no model")
    assert list(tmp_path.iterdir()) == []


def test_what_was_decided_is_decided_once(tmp_path):
    auto = replace(PARAMS, crop_layers="auto", points_per_side=8)
    identity = identity_of(auto, input={"sha256": "0"})
    whole, _ = run(tmp_path / "whole", params=auto, identity=identity)
    run(tmp_path / "kept", params=auto, identity=identity, stop_after=3)
    dark = np.where(PLANES == 200, 100, PLANES)  # another look would see another range and another layer
    continued, second = run(tmp_path / "kept", params=auto, identity=identity, planes=dark, stop_after=3)
    assert continued[0].params == whole[0].params != auto
    assert second.embedded == []
    with KeptRun(tmp_path / "kept", identity) as kept:
        seen = kept.surveyed(lambda: pytest.fail("a second look"))
    expected = survey(PlaneStack(PLANES))
    assert seen.pixels is None
    for name in ("intensities", "shown", "planes", "step", "fullest", "problems"):
        assert getattr(seen, name) == getattr(expected, name)


def test_a_survey_that_was_not_needed_is_not_made_later(tmp_path):
    for _ in range(2):
        with KeptRun(tmp_path, IDENTITY) as kept:
            assert kept.surveyed(lambda: None) is None
            kept.note({"unit": "plane_0"})


def test_units_that_are_lost_or_damaged_are_done_again(tmp_path):
    whole, _ = run(tmp_path)
    (tmp_path / "units" / "plane_0.npz").unlink()
    damaged = tmp_path / "units" / "plane_3.npz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    again, model = run(tmp_path)
    assert equal(again, whole)
    assert len(model.embedded) == 2
    assert equal(run(tmp_path, model=None)[0], whole)


class Unreadable:
    """A stack of which a plane cannot be read, for now."""

    def __init__(self, lost):
        self.lost, self.shape, self.dtype = lost, PLANES.shape, PLANES.dtype

    def __getitem__(self, where):
        if where[0] in self.lost:
            raise OSError(f"plane {where[0]} is out of reach")
        return PLANES[where]


def test_a_plane_that_failed_is_tried_again_and_the_others_are_not(tmp_path):
    whole, _ = run(tmp_path / "whole")
    identity = identity_of(PARAMS)
    first, _ = run(tmp_path / "kept", planes=Unreadable({2}), identity=identity)
    assert [plane.problem for plane in first] == ["", "", "OSError: plane 2 is out of reach", ""]
    assert count_units(tmp_path / "kept") == 3
    second, model = run(tmp_path / "kept", identity=identity)
    assert equal(second, whole)
    assert len(model.embedded) == 1


def test_images_are_read_again_where_they_are_wanted(tmp_path):
    whole, _ = run(tmp_path)
    without, _ = run(tmp_path)
    assert [plane.image for plane in without] == [None] * 4
    wanted, model = run(tmp_path, wants_images=True)
    assert all(np.array_equal(one.image, other.image) for one, other in zip(wanted, whole, strict=True))
    assert model.embedded == []
    unreadable, _ = run(tmp_path, planes=Unreadable({2}), wants_images=True)
    assert [plane.image is None for plane in unreadable] == [False, False, True, False]
    assert equal(unreadable, whole)


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (identity_of(replace(PARAMS, points_per_side=8), input={"sha256": "0"}), "points_per_side was 16, now it is 8"),
        (identity_of(PARAMS, input={"sha256": "1"}), 'sha256 was "0", now it is "1"'),
        (identity_of(PARAMS, input={"sha256": "0"}, model="x"), 'model was null, now it is "x"'),
    ],
)
def test_the_work_of_another_run_is_refused_in_words_and_stays(identity, said, tmp_path):
    run(tmp_path, stop_after=2)
    with pytest.raises(OtherRun, match=rf"2 units of it, is kept here: {said}"):
        KeptRun(tmp_path, identity)
    assert count_units(tmp_path) == 2


def test_what_differs_in_two_parts_alike_is_said_once(tmp_path):
    named, other = (identity_of(PARAMS, input={"axes": axes}, settings={"axes": axes}) for axes in ("ZYX", "TYX"))
    run(tmp_path, identity=named, stop_after=2)
    with pytest.raises(OtherRun, match=r'kept here: axes was "ZYX", now it is "TYX"$'):
        KeptRun(tmp_path, other)


def test_parameters_that_act_on_candidates_may_change(tmp_path):
    other = replace(PARAMS, overlap="small", min_mask_region_area=30, box_nms_thresh=0.5)
    assert identity_of(other, input={"sha256": "0"}) == IDENTITY
    whole, _ = run(tmp_path / "whole", params=other)
    run(tmp_path / "kept", stop_after=2)
    continued, _ = run(tmp_path / "kept", params=other)
    assert equal(continued, whole)
    assert continued[0].params == other
    ais = replace(PARAMS, mode="ais")  # these masks are what the watershed makes, with its smallest size
    assert identity_of(ais) != identity_of(replace(ais, min_mask_region_area=30))


def test_a_folder_without_its_journal_is_begun_anew(tmp_path):
    run(tmp_path, stop_after=2)
    (tmp_path / "journal.jsonl").write_bytes(b'{"run": "cut off')
    _, model = run(tmp_path)
    assert len(model.embedded) == 3


DAMAGE = [
    ("identity", b"\x00\xff\n", 3),  # whose work it is cannot be told: all is done again
    ("identity", b'{"run": 3, "identity": "x"}\n', 3),
    ("survey", b'{"survey": {"shown": 3}}\n', 1),
    ("survey", b'{"survey": [1]}\n', 1),
    ("decided", b'{"decided": {"oops": 1}}\n', 1),
    ("decided", b'{"decided": {"points_per_side": -4}}\n', 1),
    ("decided", b'{"decided": 5}\n', 1),
    ("unit", b'{"unit": ["a"]}\n', 3),
]


@pytest.mark.parametrize(("line", "instead", "asked"), DAMAGE)
def test_what_a_damaged_line_told_of_is_done_again(line, instead, asked, tmp_path):
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "kept", stop_after=3)
    journal = tmp_path / "kept" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    is_named = [f'"{line}": '.encode() in text for text in lines]
    assert any(is_named)
    journal.write_bytes(b"".join(instead if named else text for named, text in zip(is_named, lines, strict=True)))
    continued, model = run(tmp_path / "kept")
    assert equal(continued, whole)
    assert len(model.embedded) == asked
    assert equal(run(tmp_path / "kept")[0], whole)


def test_a_file_of_another_run_is_not_taken_for_one_of_this(tmp_path):
    """As a process that was thought dead may write it."""
    run(tmp_path, stop_after=1)
    stray = (tmp_path / "units" / "plane_0.npz").read_bytes()
    drop_work(tmp_path)
    with KeptRun(tmp_path, identity_of(PARAMS, input={"sha256": "1"})) as kept:
        (kept.units / "plane_0.npz").write_bytes(stray)
        kept.note({"unit": "plane_0", "bytes": len(stray), "crc32": zlib.crc32(stray)})
        assert kept.read(whole_plane((0,), (96, 128))) is None


def test_progress_goes_on_where_it_was(tmp_path):
    run(tmp_path, stop_after=3)
    with KeptRun(tmp_path, IDENTITY) as kept:
        steps = list(
            segment_planes(
                PlaneStack(PLANES), BlobModel(), PARAMS, intensities=IntensityRange(0, 255),
                work=kept.over(ModelWork(BlobModel())),
            )
        )  # fmt: skip
    assert [step.done for step in steps] == [4, 8, 12, 13, 14, 15, 16, 16]


def test_tiles_are_chosen_by_what_the_first_look_has_kept(tmp_path, monkeypatch):
    """As it was, also where the run ended before they were chosen."""
    monkeypatch.setattr(planes, "LARGE_SIDE", 128)
    image = np.zeros((640, 160), np.uint8)
    image[400:560] = blobs((160, 160), [(x, y, 5) for x in range(12, 150, 24) for y in range(12, 150, 24)])
    params = replace(PARAMS, crop_layers="auto")
    identity = identity_of(params)
    whole, _ = run(tmp_path / "whole", params=params, planes=image[None], identity=identity)
    assert whole[0].params.tile_size
    assert count_units(tmp_path / "whole") > 1
    with KeptRun(tmp_path / "kept", identity) as kept:
        seen = kept.surveyed(lambda: survey(PlaneStack(image[None])))
        assert len(seen.parts) > 0
        kept.note({"unit": "of another age"})  # so that it stays
    with KeptRun(tmp_path / "kept", identity) as kept:
        back = kept.surveyed(lambda: pytest.fail("a second look"))
        assert [part.tolist() for part in back.parts] == [part.tolist() for part in seen.parts]
        assert back.margins == seen.margins
    monkeypatch.setitem(run.__globals__, "survey", lambda stack: pytest.fail("a second look"))
    again, _ = run(tmp_path / "kept", params=params, planes=image[None], identity=identity)
    assert again[0].params == whole[0].params
    assert equal(again, whole)


def test_a_look_whose_pixels_were_lost_is_taken_again(tmp_path, monkeypatch):
    monkeypatch.setattr(planes, "LARGE_SIDE", 128)
    stack = PlaneStack(np.tile(blobs((160, 160)), (1, 2))[None])
    for _ in range(2):
        with KeptRun(tmp_path, IDENTITY) as kept:
            seen = kept.surveyed(lambda: survey(stack))
            assert len(seen.parts) > 0
            kept.note({"unit": "plane_0"})
        (tmp_path / "parts.npz").write_bytes(b"PK")
    with KeptRun(tmp_path, IDENTITY) as kept:
        kept.decided(PARAMS, lambda: PARAMS)
        assert kept.surveyed(lambda: pytest.fail("nothing depends on it any more")).parts == ()
