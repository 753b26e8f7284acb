"""What is finished is kept, and not measured again."""

from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.cases import Case
from benchmarks.results import Condition, Results, engine_version
from benchmarks.runner import Options, pending
from tests.benchmarks.measurements import measurement

CASES = [Case(size=256, points=8), Case(kind="planes", planes=2, engines=("ours",))]
OPTIONS = Options(("ours", "reference"), repeats=3, peer_repeats=2, threads=2)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "not there yet")


@pytest.fixture(autouse=True)
def one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "condition", lambda engine, threads: Condition(engine, "v1", "a CPU", threads))


def turns(results: Results, options: Options = OPTIONS) -> list[tuple[str, str]]:
    return [(turn.case.kind, turn.engine) for turn in pending(CASES, options, results)]


def test_engines_take_turns_and_one_that_takes_long_has_fewer(results: Results) -> None:
    amg = [("amg", engine) for engine in ("ours", "reference", "ours", "reference", "ours")]
    assert turns(results) == amg + [("planes", "ours")] * 3


def test_a_resumed_set_measures_what_is_missing(results: Results) -> None:
    name = CASES[0].name
    for engine in ("ours", "reference", "ours"):
        results.append(measurement(name, engine))
    assert turns(results)[:2] == [("amg", "reference"), ("amg", "ours")]
    results.append(measurement(CASES[1].name, version="an older engine"))
    assert turns(results).count(("planes", "ours")) == 3


def test_measurements_are_read_as_they_were_written(results: Results) -> None:
    written = [measurement("a", others=0.5), measurement("b", "reference", load=(0.25, 2.0))]
    for one in written:
        results.append(one)
    assert results.read() == written


def test_a_line_that_was_cut_off_is_measured_again(results: Results) -> None:
    results.append(measurement("a"))
    with results.path.open("a") as file:
        file.write('{"case": "b", "cond')
    assert [one.case for one in results.read()] == ["a"]
    results.append(measurement("c"))
    assert [one.case for one in results.read()] == ["a", "c"]


def test_a_damaged_line_is_named(results: Results) -> None:
    results.append(measurement("a"))
    with results.path.open("a") as file:
        file.write('{"case": "b"}\n')
    with pytest.raises(ValueError, match=r"measurements.jsonl, line 2 is no measurement .*condition"):
        results.read()


def test_the_median_counts_of_the_newest_version_only(results: Results) -> None:
    for seconds, version in ((100.0, "v1"), (3.0, "v2"), (1.0, "v2"), (2.5, "v2")):
        results.append(measurement("a", version=version, seconds=seconds))
    newest = results.newest("a", "ours")
    assert newest is not None
    assert (newest.seconds, newest.repeats) == (2.5, 3)
    assert results.newest("a", "reference") is None


def test_our_version_is_not_the_reference_s() -> None:
    assert engine_version("ours") != engine_version("reference")
