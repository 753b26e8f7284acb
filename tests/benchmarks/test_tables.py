import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from benchmarks.agreement import agreement, share_found
from benchmarks.approximate import approximate_table
from benchmarks.cases import APPROXIMATE, DECODE, MATMUL, SETS, unique
from benchmarks.cells import NOT_MEASURED
from benchmarks.results import Results
from benchmarks.tables import TABLES, decode_table, limit_table, run_table, tflop, with_tables
from tests.benchmarks.measurements import measurement

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
QUICK = SETS["quick"][0].name


def record(x: int, y: int, side: int, score: float = 0.9) -> dict:
    frame = np.zeros((40, 40), np.uint8, order="F")
    frame[y : y + side, x : x + side] = 1
    rle = coco.encode(frame)
    segmentation = {**rle, "counts": rle["counts"].decode()}
    box = [x, y, side - 1, side - 1] if side else [0, 0, 0, 0]
    return {
        "segmentation": segmentation, "area": side * side, "bbox": box, "predicted_iou": score, "stability_score": 1.0,
    }  # fmt: skip


def nearly_whole() -> dict:
    """A square of 30 px less a column of 30 px: an IoU of 29/30 with it."""
    frame = np.zeros((40, 40), np.uint8, order="F")
    frame[:30, :29] = 1
    return coco.encode(frame)


def measured(results: Results, name: str, engine: str, masks: list[dict], **values) -> None:
    one = measurement(name, engine, masks=len(masks), **values)
    path = results.masks_path(name, one.condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        json.dump(masks, file)
    results.append(one)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def test_agreement_pairs_equal_masks_by_their_scores() -> None:
    theirs = [record(0, 0, 10, 0.8), record(0, 0, 10, 0.9), record(20, 20, 5), record(0, 0, 0)]
    found = agreement(theirs, [theirs[1], record(0, 0, 0), theirs[0], record(21, 20, 5)])
    assert found.counts == (4, 4)
    assert (found.matched, found.box_error, found.score_error) == (0.75, 0, 0)


def test_agreement_counts_masks_that_are_close() -> None:
    found = agreement([record(0, 0, 30), record(5, 5, 5)], [{**record(0, 0, 30), "segmentation": nearly_whole()}])
    assert (found.matched, found.close) == (0, 0.5)


def test_agreement_measures_the_largest_difference() -> None:
    found = agreement([record(0, 0, 10, 0.80), record(20, 20, 5)], [record(0, 0, 10, 0.81), record(20, 20, 5)])
    assert found.matched == 1
    assert found.score_error == pytest.approx(0.01)


def test_agreement_with_nothing() -> None:
    assert agreement([record(0, 0, 10)], []).matched == 0
    assert math.isnan(agreement([], [record(0, 0, 10)]).matched)


def test_a_row_of_a_whole_run(results: Results) -> None:
    measured(results, QUICK, "reference", [record(0, 0, 10)], seconds=12.0, peak_bytes=3 * 10**9)
    assert run_table(results) == NOT_MEASURED
    measured(results, QUICK, "ours", [record(0, 0, 10)], seconds=1.5, peak_bytes=3 * 10**8, others=1.0)
    row = run_table(results).splitlines()[2]
    assert row == (
        f"| {QUICK} | reference | 12.00 | 1.50 (busy) | 8.0 | 3.00 | 0.30 | 10.0 | 100 | 40.0 % | 1/1 | 100.0 % "
        "| 100.0 % | 0 | 0e+00 | 1/1 | 0.0 to 1.0 |"
    )


def test_fast_precision_is_compared_with_the_exact_run_of_a_peer(results: Results) -> None:
    fast = next(case for case in SETS["marks"] if case.precision == "fast")
    measured(results, fast.peers_name, "reference", [record(0, 0, 10)], seconds=30.0)
    measured(results, fast.name, "ours", [record(0, 0, 10)], seconds=2.0)
    assert fast.name.endswith("-fast")
    assert run_table(results).splitlines()[2].startswith(f"| {fast.name} | reference | 30.00 | 2.00 | 15.0 |")


def test_time_a_prompt_leaves_the_encoder_out(results: Results) -> None:
    measured(results, DECODE.name, "reference", [], seconds=20.0, encoder_seconds=10.0)
    measured(results, DECODE.name, "ours", [], seconds=10.0, encoder_seconds=9.0)
    assert decode_table(results).splitlines()[2] == f"| {DECODE.name} | reference | 100.0 | 10.0 | 10.0 | 40.0 % |"


@pytest.mark.parametrize(("model", "total"), [("vit_b", 2.14), ("vit_t", 1.24), ("vit_h", 7.13)])
def test_the_arithmetic_of_a_run(model: str, total: float) -> None:
    assert tflop(model, 1024, 512) == pytest.approx(total, abs=0.01)


def test_the_limit_needs_the_speed_of_the_machine(results: Results) -> None:
    measured(results, "vit_b-1024px-32x32-0crops", "ours", [], prompts=1024, survivors=512, seconds=21.4)
    assert limit_table(results) == NOT_MEASURED
    measured(results, MATMUL.name, "ours", [], seconds=2 * MATMUL.size**3 / 200e9)
    assert limit_table(results).splitlines()[2].endswith("| 2.14 | 10.7 | 21.40 | 2.0 |")


def test_the_share_of_masks_that_were_found() -> None:
    wanted = [record(0, 0, 20), record(20, 20, 10), record(0, 30, 5), record(0, 0, 0)]
    found = [record(0, 0, 19), record(20, 20, 9), record(0, 0, 0)]  # IoUs .9025 and .81
    assert [share_found(wanted, found, iou) for iou in (0.95, 0.9, 0.75)] == [0.25, 0.5, 0.75]
    assert [share_found(found, wanted, iou) for iou in (0.9, 0.75)] == [pytest.approx(2 / 3), 1]
    assert share_found(wanted, [], 0.5) == 0
    assert math.isnan(share_found([], found, 0.5))


def test_the_approximate_search_beside_the_exact_one(results: Results) -> None:
    exact, approximate = SETS["approximate"][:2]
    assert (exact.search, approximate) == ("grid", APPROXIMATE[0])
    masks = [record(0, 0, 20), record(20, 20, 10), record(0, 30, 5), record(30, 0, 5)]
    measured(results, approximate.name, "ours", [record(0, 0, 19), record(20, 20, 9)], seconds=1.6, prompts=60)
    assert approximate_table(results) == NOT_MEASURED
    measured(results, exact.name, "ours", masks, seconds=2.0)
    assert approximate_table(results).splitlines()[2] == (
        f"| {approximate.name} | 2.00 | 1.60 | 1.25 | 100 | 60 | 4 | 2 | 25.0 % | 50.0 % | 50.0 % | 100.0 % |"
    )


def test_empty_tables_say_so_and_the_text_around_them_stays(results: Results) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = with_tables(text, results)
    assert written.count(NOT_MEASURED) == len(TABLES)
    assert with_tables(written, results) == written
    assert written.split("<!-- table")[0] == text.split("<!-- table")[0]
    assert written.rsplit("<!-- end of table -->", 1)[1] == text.rsplit("<!-- end of table -->", 1)[1]


def test_a_document_without_a_place_for_a_table_is_refused(results: Results) -> None:
    with pytest.raises(ValueError, match="has no line '<!-- table: machine -->'"):
        with_tables("# Nothing here\n", results)


def test_names_of_cases_are_unique() -> None:
    cases = [case for cases in SETS.values() for case in cases]
    assert len({case.name for case in cases}) == len(unique(cases)) == len({repr(case) for case in unique(cases)})
