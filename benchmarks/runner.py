"""Runs what is not finished yet, each measurement in a process of its own, engines taking turns."""

import dataclasses
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.cases import MICRO_SAM, OURS, REFERENCE, Case
from benchmarks.results import Condition, Measurement, Results, engine_version

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Options:
    engines: tuple[str, ...]
    repeats: int
    peer_repeats: int
    threads: int

    def repeats_of(self, engine: str) -> int:
        return self.repeats if engine == OURS else self.peer_repeats


@dataclass(frozen=True, slots=True)
class Turn:
    case: Case
    engine: str


def engines_of(case: Case, engines: Sequence[str]) -> list[str]:
    """Those of ``engines`` that the case is for; micro-sam does what the reference does in whole runs."""
    able = set(case.engines)
    if REFERENCE in able and case.kind == "amg" and case.image == "nuclei":
        able.add(MICRO_SAM)
    return [engine for engine in engines if engine in able]


def condition(engine: str, threads: int) -> Condition:
    return Condition(engine, engine_version(engine), machine.cpu_name(), threads)


def pending(cases: Sequence[Case], options: Options, results: Results) -> Iterator[Turn]:
    """The measurements that are missing: all repeats of a case before the next, A B A B."""
    finished = [(m.case, m.condition) for m in results.read()]
    for case in cases:
        engines = engines_of(case, options.engines)
        done = {engine: finished.count((case.name, condition(engine, options.threads))) for engine in engines}
        for repeat in range(max(options.repeats, options.peer_repeats)):
            for engine in engines:
                if done[engine] <= repeat < options.repeats_of(engine):
                    yield Turn(case, engine)


def measure(turn: Turn, options: Options, results: Results) -> Measurement:
    """One measurement in a new process, appended to the results. Raises ``RuntimeError`` if that fails."""
    conditions = condition(turn.engine, options.threads)
    masks = results.masks_path(turn.case.name, conditions)
    masks.parent.mkdir(parents=True, exist_ok=True)
    request = {
        "case": dataclasses.asdict(turn.case),
        "engine": turn.engine,
        "threads": options.threads,
        "masks": str(masks.absolute()),
    }
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
        check=False,
    )
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:] or ["no message: out of memory?"]
        raise RuntimeError(f"{turn.case.name} by {turn.engine} ended with status {process.returncode}: {reason[0]}")
    figures = json.loads(process.stdout.splitlines()[-1])
    figures["load"] = tuple(figures["load"])
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    measurement = Measurement(case=turn.case.name, condition=conditions, date=date, **figures)
    results.append(measurement)
    return measurement
