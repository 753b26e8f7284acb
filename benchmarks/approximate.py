"""The approximate search beside the exact one: the same model, image and parameters, both by this engine."""

from collections.abc import Iterable
from dataclasses import replace

from benchmarks.agreement import share_found
from benchmarks.cases import APPROXIMATE, OURS, Case
from benchmarks.cells import markdown_table, seconds, share
from benchmarks.results import Results

IOUS = (0.9, 0.75)
HEADER = (
    "case", "exact s", "approximate s", "ratio", "points exact", "approximate", "masks exact", "approximate",
    *(f"{measure} at IoU {iou:g}" for measure in ("recall", "precision") for iou in IOUS),
)  # fmt: skip


def approximate_rows(results: Results, cases: Iterable[Case] = APPROXIMATE) -> list[tuple[str, ...]]:
    """A row for each approximate case of ``cases`` of which both are measured.

    Recall is the share of the exact masks that the approximate result has, precision the share of its masks that
    the exact result has.
    """
    rows = []
    for case in cases:
        exact_case = replace(case, search="grid")
        exact, ours = (results.newest(one.name, OURS) for one in (exact_case, case))
        if case == exact_case or exact is None or ours is None:
            continue
        wanted, found = (results.masks(one.last.case, one.last.condition) for one in (exact, ours))
        rows.append((
            case.name,
            seconds(exact),
            seconds(ours),
            f"{exact.seconds / ours.seconds:.2f}",
            str(exact.last.prompts),
            str(ours.last.prompts),
            str(exact.last.masks),
            str(ours.last.masks),
            *(share(share_found(wanted, found, iou)) for iou in IOUS),
            *(share(share_found(found, wanted, iou)) for iou in IOUS),
        ))  # fmt: skip
    return rows


def approximate_table(results: Results) -> str:
    return markdown_table(HEADER, approximate_rows(results))
