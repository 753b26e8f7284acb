"""Which files are compared with which."""

from pathlib import Path

import pytest

from napari_sam_amg.evaluation.pairs import base_name, find_pairs


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    folder.mkdir(exist_ok=True)
    return folder


def found_in(pred: Path, gt: Path) -> tuple[list[tuple[str, str, str, str]], list[tuple[str, str]]]:
    """Pairs as (data set, name, found, truth), failures as (file, reason)."""
    pairs, failures = find_pairs(pred, gt)
    texts = [
        (p.dataset, p.name, p.found.relative_to(pred).as_posix(), p.truth.relative_to(gt).as_posix()) for p in pairs
    ]
    return texts, [(failure.path.name, failure.reason) for failure in failures]


@pytest.mark.parametrize(
    "name",
    [
        "a_1.tif",
        "a_1.ome.tif",
        *(f"a_1{end}.png" for end in ("_labels", "_label", "_mask", "_masks", "_gt", "_cp_masks")),
    ],
)
def test_usual_endings_are_removed(name: str) -> None:
    assert base_name(Path(name)) == "a_1"


def test_endings_are_removed_and_never_the_whole_name() -> None:
    names = ("a_mask_labels.tif", "a_image_labels.tif", "a_img_cp_masks.png", "_gt.png", "a_masked.png")
    assert [base_name(Path(name)) for name in names] == ["a", "a", "a", "_gt", "a_masked"]


def test_names_of_the_cell_tracking_challenge_belong_together(tmp_path: Path) -> None:
    pred, gt = touch(tmp_path / "pred", "mask003.tif"), touch(tmp_path / "gt", "man_seg003.tif")
    assert found_in(pred, gt) == ([("gt", "003", "mask003.tif", "man_seg003.tif")], [])


def test_label_volumes_are_files_and_not_folders(tmp_path: Path) -> None:
    pred = touch(tmp_path / "pred", "a_labels.ome.zarr/zarr.json", "sub/b_labels.ome.zarr/zarr.json")
    touch(pred, "a_labels.ome.zarr/labels/c_labels.tif")
    gt = touch(tmp_path / "gt", "a.tif", "sub/b.zarr/.zgroup")
    pairs = [("gt", "a", "a_labels.ome.zarr", "a.tif"), ("sub", "b", "sub/b_labels.ome.zarr", "sub/b.zarr")]
    assert found_in(pred, gt) == ([(".", *pairs[0][1:]), pairs[1]], [])
    ((pair,), _) = find_pairs(pred / "a_labels.ome.zarr", gt / "a.tif")
    assert (pair.name, pair.features) == ("a", pred / "a_features.csv")
    with pytest.raises(ValueError, match=r"gt is a folder and .*a_labels.ome.zarr a file"):
        find_pairs(pred / "a_labels.ome.zarr", gt)


def test_of_a_run_that_wrote_labels_twice_the_tiff_counts(tmp_path: Path) -> None:
    pred = touch(tmp_path / "pred", "a_labels.ome.zarr/zarr.json", "a_labels.tif", "b_labels.ome.zarr/zarr.json")
    gt = touch(tmp_path / "gt", "a.tif", "b.tif")
    pairs = [("gt", "a", "a_labels.tif", "a.tif"), ("gt", "b", "b_labels.ome.zarr", "b.tif")]
    assert found_in(pred, gt) == (pairs, [])


def test_results_of_images_that_are_called_images(tmp_path: Path) -> None:
    """As ``segment`` names them, beside a truth that lies with its images."""
    pred = touch(tmp_path / "pred", "0_image_labels.tif", "0_image_features.csv")
    gt = touch(tmp_path / "gt", "0_image.png", "0_labels.png")
    ((pair,), failures) = find_pairs(pred, gt)
    assert (pair.truth, pair.features, failures) == (gt / "0_labels.png", pred / "0_image_features.csv", [])


def test_what_is_left_out_as_an_image_but_has_a_partner_is_said(tmp_path: Path) -> None:
    """A name that happens to end in _mask decides about the others in its folder."""
    pred = touch(tmp_path / "pred", "a.tif", "b_labels.tif", "face_mask.tif")
    gt = touch(tmp_path / "gt", "a.tif", "b.tif", "c.tif", "face_mask.tif")
    pairs, failures = found_in(pred, gt)
    assert [name for _, name, _, _ in pairs] == ["face"]
    assert [(name, reason.partition(":")[0]) for name, reason in failures] == [
        ("a.tif", "left out"), ("a.tif", "left out"), ("b.tif", "left out"),
    ]  # fmt: skip


def test_results_without_labels_are_hinted_at(tmp_path: Path) -> None:
    pred, gt = touch(tmp_path / "pred", "a_run.json", "a_masks.json"), touch(tmp_path / "gt", "a.tif")
    assert "segment --format labels writes them" in found_in(pred, gt)[1][0][1]


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    pred, real = touch(tmp_path / "pred", "x/a.png"), touch(tmp_path / "elsewhere", "a.png")
    gt = touch(tmp_path / "gt")
    (gt / "x").symlink_to(real)
    (real / "back").symlink_to(gt)
    assert found_in(pred, gt) == ([("x", "a", "x/a.png", "x/a.png")], [])


def test_files_of_a_folder_are_matched_by_name(tmp_path: Path) -> None:
    pred = touch(tmp_path / "pred", "b_labels.tif", "a_labels.tif")
    gt = touch(tmp_path / "truth", "a.png", "b.TIFF", ".c.png", "notes.txt")
    pairs, failures = found_in(pred, gt)
    assert pairs == [("truth", "a", "a_labels.tif", "a.png"), ("truth", "b", "b_labels.tif", "b.TIFF")]
    assert failures == []


def test_images_beside_their_labels_are_left_out(tmp_path: Path) -> None:
    pred = touch(tmp_path / "pred", "0_labels.tif", "0_overlay.png", "0_run.json", "0_features.csv", "0_masks/0.png")
    gt = touch(tmp_path / "gt", "0.png", "0_mask.png", "1_image.png")
    assert found_in(pred, gt) == ([("gt", "0", "0_labels.tif", "0_mask.png")], [])


def test_arrays_and_the_files_of_cellpose(tmp_path: Path) -> None:
    pred = touch(tmp_path / "pred", "a.tif", "a_cp_masks.png", "a_seg.npy")
    gt = touch(tmp_path / "gt", "a_labels.npy")
    assert found_in(pred, gt) == ([("gt", "a", "a_cp_masks.png", "a_labels.npy")], [])


def test_every_subfolder_is_a_data_set(tmp_path: Path) -> None:
    names = ("a.png", "x/a.png", "x/y/a.png")
    pred, gt = touch(tmp_path / "pred", *names), touch(tmp_path / "gt", *names)
    pairs, failures = found_in(pred, gt)
    assert [(dataset, found) for dataset, _, found, _ in pairs] == [
        (".", "a.png"),
        ("x", "x/a.png"),
        ("x/y", "x/y/a.png"),
    ]
    assert failures == []


def test_files_without_a_partner_are_named(tmp_path: Path) -> None:
    pred, gt = touch(tmp_path / "pred", "a.png", "x/b.png"), touch(tmp_path / "gt", "a.tif", "x/c_gt.png")
    pairs, failures = found_in(pred, gt)
    assert [name for _, name, _, _ in pairs] == ["a"]
    assert failures == [
        ("b.png", f"no partner: there is no label image of 'b' in {gt / 'x'}, called b.png, b_labels.tif or the like"),
        (
            "c_gt.png",
            f"no partner: there is no label image of 'c' in {pred / 'x'}, called c.png, c_labels.tif or the like",
        ),
    ]


def test_files_that_share_a_name_are_named(tmp_path: Path) -> None:
    pred, gt = touch(tmp_path / "pred", "a.png", "a.tif"), touch(tmp_path / "gt", "a.png")
    assert found_in(pred, gt) == ([], [("pred", "a.png, a.tif are all label images of 'a': keep one of them")])


def test_two_files_belong_together_whatever_their_names_are(tmp_path: Path) -> None:
    folder = touch(tmp_path, "first.png", "other_gt.tif", "first_features.csv")
    ((pair,), failures) = find_pairs(folder / "first.png", folder / "other_gt.tif")
    assert (pair.dataset, pair.name, pair.features, failures) == ("other", "other", folder / "first_features.csv", [])


def test_a_folder_and_a_file_are_no_pair(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"is a folder and .*a\.png a file: give two folders, or two files"):
        find_pairs(tmp_path / "a.png", tmp_path)
    with pytest.raises(ValueError, match=r"gone\.png: no such file or folder"):
        find_pairs(tmp_path / "a.png", tmp_path / "gone.png")
