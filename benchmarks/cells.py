"""What the cells of the tables say."""

import math
from collections.abc import Sequence

from benchmarks.machine import BUSY_CORES
from benchmarks.results import Summary

NOT_MEASURED = "Not measured yet.\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return NOT_MEASURED
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def seconds(summary: Summary) -> str:
    """With a mark where others used the processor meanwhile."""
    return f"{summary.seconds:.2f}{' (busy)' if summary.others > BUSY_CORES else ''}"


def gigabytes(summary: Summary) -> str:
    return f"{summary.peak_bytes / 1e9:.2f}"


def ratio(a: float, b: float) -> str:
    return f"{a / b:.1f}" if b > 0 else "-"


def share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"
