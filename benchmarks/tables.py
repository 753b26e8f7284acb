"""Markdown tables of the results, and their places in docs/performance.md."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agreement import agreement
from benchmarks.approximate import approximate_table
from benchmarks.cases import CURVES, DECODE, FIRST_RUN, MATMUL, OURS, PEERS, REFILTER, RELABEL, SETS, Case, unique
from benchmarks.cells import NOT_MEASURED, gigabytes, markdown_table, ratio, seconds, share
from benchmarks.results import Results, Summary

#: Arithmetic of a run that keeps the image tokens of every prompt, float32 (multiply-adds): the encoder, each
#: prompt's way through the re-associated transformer, and the upscaler of each prompt that survives.
ENCODER_GMAC = {"vit_t": 39, "vit_b": 486, "vit_l": 1493, "vit_h": 2981}
PROMPT_MMAC = 369
UPSCALER_MMAC = 403


def tflop(model: str, prompts: int, survivors: int) -> float:
    """The arithmetic of a whole run on one crop, in 10**12 operations."""
    decoder = PROMPT_MMAC * prompts + UPSCALER_MMAC * survivors
    return 2 * (ENCODER_GMAC[model] * 1e9 + decoder * 1e6) / 1e12


@dataclass(frozen=True, slots=True)
class Pair:
    """Ours and one peer on the same case."""

    case: Case
    peer: Summary
    ours: Summary


def pairs(results: Results, kind: str, cases: Iterable[Case] | None = None) -> list[Pair]:
    """What both have measured, in the order of the sets."""
    found = []
    for case in cases if cases is not None else known_cases():
        ours = results.newest(case.name, OURS)
        if case.kind != kind or ours is None:
            continue
        peers = [results.newest(case.peers_name, peer) for peer in PEERS]
        found += [Pair(case, peer, ours) for peer in peers if peer is not None]
    return found


def known_cases() -> list[Case]:
    return unique([case for cases in SETS.values() for case in cases])


def machine_table(results: Results) -> str:
    measured = results.read()
    if not measured:
        return NOT_MEASURED
    last = measured[-1]
    rows = [
        ("CPU", last.condition.cpu),
        ("threads", str(last.condition.threads)),
        ("torch", last.torch),
        ("measured", f"{min(m.date for m in measured)[:10]} to {max(m.date for m in measured)[:10]}"),
    ]
    speed = matmul_gflops(results)
    if speed is not None:
        rows.append((f"product of two float32 matrices of {MATMUL.size} x {MATMUL.size}", f"{speed:.0f} GFLOP/s"))
    return markdown_table(("what", "value"), rows)


def matmul_gflops(results: Results) -> float | None:
    summary = results.newest(MATMUL.name, OURS)
    return None if summary is None else 2 * MATMUL.size**3 / summary.seconds / 1e9


RUN_HEADER = (
    "case", "peer", "peer s", "ours s", "ratio", "peer GB", "ours GB", "ratio", "prompts", "surviving",
    "masks peer/ours", "matched", "close", "box px", "score", "repeats", "load",
)  # fmt: skip


def run_table(results: Results) -> str:
    return markdown_table(RUN_HEADER, [run_row(pair, results) for pair in pairs(results, "amg")])


def run_row(pair: Pair, results: Results) -> tuple[str, ...]:
    peer, ours = pair.peer, pair.ours
    names = (pair.case.peers_name, pair.case.name)
    masks = (results.masks(name, one.last.condition) for name, one in zip(names, (peer, ours), strict=True))
    found = agreement(*masks)
    return (
        pair.case.name,
        peer.last.condition.engine,
        seconds(peer),
        seconds(ours),
        ratio(peer.seconds, ours.seconds),
        gigabytes(peer),
        gigabytes(ours),
        ratio(peer.peak_bytes, ours.peak_bytes),
        str(ours.last.prompts),
        share(ours.last.surviving),
        f"{found.counts[0]}/{found.counts[1]}",
        share(found.matched),
        share(found.close),
        f"{found.box_error:g}",
        f"{found.score_error:.0e}",
        f"{peer.repeats}/{ours.repeats}",
        f"{ours.last.load[0]:.1f} to {ours.last.load[1]:.1f}",
    )


def decode_table(results: Results) -> str:
    """Time a prompt without the encoder's, in SAM's dimensions."""
    header = ("case", "peer", "peer ms", "ours ms", "ratio", "surviving")
    rows = []
    for pair in pairs(results, "amg", [DECODE]):
        peer, ours = (1000 * (one.seconds - one.encoder_seconds) / one.last.prompts for one in (pair.peer, pair.ours))
        names = (pair.case.name, pair.peer.last.condition.engine)
        rows.append((*names, f"{peer:.1f}", f"{ours:.1f}", ratio(peer, ours), share(pair.ours.last.surviving)))
    return markdown_table(header, rows)


def refilter_table(results: Results) -> str:
    """Other thresholds on stored candidates, against the run that made them."""
    first, rows = results.newest(FIRST_RUN.name, OURS), []
    for name, case in ((FIRST_RUN.name, REFILTER), (f"{FIRST_RUN.name}, labels and table", RELABEL)):
        again = results.newest(case.name, OURS)
        if first is not None and again is not None:
            ms, of_first = f"{1000 * again.seconds:.0f}", share(again.seconds / first.seconds)
            rows.append((name, seconds(first), ms, of_first, str(again.last.masks)))
    return markdown_table(("case", "first run s", "refiltering ms", "share", "masks"), rows) if rows else NOT_MEASURED


def encoder_table(results: Results) -> str:
    header = ("encoder", "peer s", "ours s", "ratio", "peer GB", "ours GB")
    rows = [
        (
            pair.case.name.removeprefix("encoder-"),
            seconds(pair.peer),
            seconds(pair.ours),
            ratio(pair.peer.seconds, pair.ours.seconds),
            gigabytes(pair.peer),
            gigabytes(pair.ours),
        )
        for pair in pairs(results, "encoder")
    ]
    return markdown_table(header, rows)


def limit_table(results: Results) -> str:
    """Time of our whole runs against their arithmetic at the speed of a large matrix product."""
    speed = matmul_gflops(results)
    rows = []
    for case in known_cases() if speed is not None else []:
        ours = results.newest(case.name, OURS)
        counted = case.kind == "amg" and case.model in ENCODER_GMAC and not case.crops and case.precision == "exact"
        if not counted or ours is None:
            continue
        work = tflop(case.model, ours.last.prompts, ours.last.survivors)
        limit = 1000 * work / (speed or math.nan)
        rows.append((case.name, f"{work:.2f}", f"{limit:.1f}", seconds(ours), ratio(ours.seconds, limit)))
    return markdown_table(("case", "TFLOP", "limit s", "ours s", "times the limit"), rows)


def scaling_table(results: Results) -> str:
    """Time and memory of this engine, one curve after another."""
    header = ("curve", "case", "s", "of which encoder", "GB", "prompts", "surviving", "masks")
    rows = []
    for curve, cases in CURVES.items():
        for case in cases:
            ours = results.newest(case.name, OURS)
            if ours is None:
                continue
            figures = (seconds(ours), f"{ours.encoder_seconds:.2f}", gigabytes(ours))
            counts = (str(ours.last.prompts), share(ours.last.surviving), str(ours.last.masks))
            rows.append((curve, case.name, *figures, *counts))
    return markdown_table(header, rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine_table,
    "runs": run_table,
    "decode": decode_table,
    "refilter": refilter_table,
    "encoders": encoder_table,
    "limit": limit_table,
    "scaling": scaling_table,
    "approximate": approximate_table,
}


def with_tables(text: str, results: Results) -> str:
    """The text with every table between its two marks. Raises ``ValueError`` if a mark is missing."""
    for name, table in TABLES.items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
        if start not in text:
            raise ValueError(f"the document has no line {start.strip()!r}, where a table belongs")
        before, rest = text.split(start, 1)
        if end not in rest:
            raise ValueError(f"the document has no {end!r} after {start.strip()!r}")
        text = f"{before}{start}{table(results)}{end}{rest.split(end, 1)[1]}"
    return text


def write_tables(path: Path, results: Results) -> None:
    """Rewrite a document's tables."""
    text = with_tables(path.read_text(encoding="utf-8"), results)
    fresh = path.with_name(path.name + ".part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
