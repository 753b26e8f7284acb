"""The command: ``python -m benchmarks --help``."""

import argparse
import fnmatch
import importlib.util
import os
import signal
import sys
from pathlib import Path

from benchmarks import machine
from benchmarks.approximate import HEADER, approximate_rows
from benchmarks.cases import ENGINES, MICRO_SAM, OURS, REFERENCE, SETS, Case, unique
from benchmarks.results import Measurement, Results
from benchmarks.runner import ROOT, Options, Turn, measure, pending
from benchmarks.tables import RUN_HEADER, known_cases, pairs, run_row, write_tables


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this engine beside others.")
    parser.add_argument("--set", action="append", choices=SETS, default=[], help="cases to measure; repeat for several")
    parser.add_argument(
        "--quick", action="append_const", const="quick", dest="set", help="one tiny case, as --set quick"
    )
    parser.add_argument(
        "--case", action="append", default=[], metavar="PATTERN", help="cases of any set by name: 'vit_b-1024px-*'"
    )
    parser.add_argument("--engine", action="append", choices=ENGINES, help=f"default: {OURS} and {REFERENCE}")
    parser.add_argument("--repeats", type=_positive, default=3, help="of every measurement (3); their median counts")
    parser.add_argument(
        "--peer-repeats", type=_positive, help="of those of other engines, which take long; default: as --repeats"
    )
    parser.add_argument("--threads", type=_positive, default=os.cpu_count() or 1)
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results so far"
    )
    parser.add_argument("--allow-busy", action="store_true", help="measure although others use the processor")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: cases of its own; of the other options --case"
    )
    parser.add_argument(
        "--operations", action="store_true",
        help="count what a GPU would be told, without one; of the other options --case",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="say what would be measured, and stop")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the tables into this document, docs/performance.md"
    )
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" or chosen.operations:
        return chosen
    if MICRO_SAM in (chosen.engine or ()) and importlib.util.find_spec("micro_sam") is None:
        parser.error("--engine micro-sam needs the package: pip install micro-sam")
    unknown = [pattern for pattern in chosen.case if not fnmatch.filter([c.name for c in known_cases()], pattern)]
    if unknown:
        parser.error(f"--case {unknown[0]!r} is the name of no case: see --list --case '*'")
    if not chosen.set and not chosen.case and chosen.write is None:
        parser.error(f"give --set ({', '.join(SETS)}), --case or --write")
    return chosen


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not allowed: it must be at least 1")
    return value


def chosen_cases(sets: list[str], patterns: list[str]) -> list[Case]:
    by_name = [case for case in known_cases() if any(fnmatch.fnmatch(case.name, pattern) for pattern in patterns)]
    return unique([case for name in sets for case in SETS[name]] + by_name)


def describe(measurement: Measurement) -> str:
    m = measurement
    others = "" if m.others is None or m.others <= machine.BUSY_CORES else f", BUSY: others used {m.others:.1f} cores"
    return (
        f"{m.case:32} {m.condition.engine:10} {m.seconds:8.2f} s {m.peak_bytes / 1e9:6.2f} GB {m.masks:5} masks, "
        f"{m.survivors} of {m.prompts} prompts survive, load {m.load[0]:.1f} to {m.load[1]:.1f}{others}"
    )


def run_all(turns: list[Turn], options: Options, results: Results) -> int:
    """Measure, print, and go on after a failure; how many failed."""
    failed = 0
    for number, turn in enumerate(turns, 1):
        try:
            print(f"[{number}/{len(turns)}] {describe(measure(turn, options, results))}", flush=True)
        except RuntimeError as error:
            failed += 1
            print(f"[{number}/{len(turns)}] failed: {error}", file=sys.stderr, flush=True)
    return failed


def print_comparison(cases: list[Case], results: Results) -> None:
    for pair in pairs(results, "amg", cases):
        cells = zip(RUN_HEADER[1:], run_row(pair, results)[1:], strict=True)
        print(f"{pair.case.name}: {', '.join(f'{name} {value}' for name, value in cells)}")
    for row in approximate_rows(results, cases):
        print(f"{row[0]}: {', '.join(f'{name} {value}' for name, value in zip(HEADER[1:], row[1:], strict=True))}")


def main(arguments: list[str] | None = None) -> int:
    chosen = parse_arguments(arguments)
    if chosen.device == "cuda":
        from benchmarks import cuda  # with torch, which the command itself does without

        for line in cuda.lines(chosen.repeats, tuple(chosen.case)):
            print(line, flush=True)
        return 0
    if chosen.operations:
        from benchmarks import operations  # likewise

        for line in operations.lines(tuple(chosen.case)):
            print(line, flush=True)
        return 0
    engines = tuple(chosen.engine or (OURS, REFERENCE))
    options = Options(engines, chosen.repeats, chosen.peer_repeats or chosen.repeats, chosen.threads)
    cases, results = chosen_cases(chosen.set, chosen.case), Results(chosen.results)
    turns = list(pending(cases, options, results))
    if chosen.list:
        print("\n".join(f"{turn.case.name:32} {turn.engine}" for turn in turns))
        return 0
    if turns and not quiet_enough(chosen.allow_busy):
        return 1
    failed = run_all(turns, options, results)
    print_comparison(cases, results)
    if chosen.write is not None:
        write_tables(chosen.write, results)
    return 1 if failed else 0


def quiet_enough(allow_busy: bool) -> bool:
    """Whether to measure: nobody else uses the processor, or that is allowed."""
    others = machine.others_now()
    print(f"{machine.cpu_name()}, load average {machine.load_average():.1f}, others use {others:.1f} cores")
    if others <= machine.BUSY_CORES:
        return True
    outcome = "the times will mean nothing" if allow_busy else "wait, or add --allow-busy"
    print(f"the machine is busy (more than {machine.BUSY_CORES} cores): {outcome}", file=sys.stderr)
    return allow_busy


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)  # so that the measuring process ends too
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; what is finished is kept, the same command goes on from there")
