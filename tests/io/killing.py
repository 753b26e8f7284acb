"""A process that writes a set of outputs is killed at every step, over and over: what is left must be whole.

Run by ``test_staging.py`` as a process of its own, which forks fast since it has imported little.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock  # noqa: F401  # before the forks, each of which would import it
import pytest

from napari_sam_amg.io.staging import settle, staged

NAMES = ("a_labels.tif", "a_masks", "a_features.csv", "a_run.json")
#: Everything that changes what is on the disk.
STEPS = ("rename", "replace", "link", "unlink", "rmdir", "mkdir", "fsync", "open")
KILLED = 9


def publish(folder: Path, content: str, without: tuple[str, ...] = ()) -> None:
    """Write a set of outputs, one of them a folder, the record last; those ``without`` which it is are removed."""
    names = [name for name in NAMES if name not in without]
    with staged([folder / name for name in names], [folder / name for name in without]) as stage:
        for name in names:
            file = stage / name
            if name == "a_masks":
                file.mkdir()
                file /= "0.png"
            file.write_text(content)


def found(folder: Path) -> dict[str, str | None]:
    """The content of every output, None where it is not there."""
    files = {name: folder / name / "0.png" if name == "a_masks" else folder / name for name in NAMES}
    return {name: file.read_text() if file.exists() else None for name, file in files.items()}


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Do the work in a process that is ended before its ``step``-th step; whether it came so far."""
    child = os.fork()
    if not child:
        left = iter(range(step))

        def counted(original: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                if next(left, None) is None:
                    os._exit(KILLED)
                return original(*arguments, **options)

            return call

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED)
    return status == KILLED


def every_kill(folder: Path, before: str | None, without: tuple[str, ...] = ()) -> Iterator[int]:
    """Kill a process at every step in which it replaces the outputs ``before`` by "new"."""
    step = -1
    while True:
        step += 1
        (folder / str(step)).mkdir()
        if before is not None:
            publish(folder / str(step), before)
        if not killed_at(step, lambda step=step: publish(folder / str(step), "new", without)):  # type: ignore[misc]
            assert step > 20
            return
        yield step


def check_killed(folder: Path, before: str | None) -> None:
    contents = found(folder)
    assert set(contents.values()) <= {None, before, "new"}
    if contents["a_run.json"] is not None:
        assert set(contents.values()) == {contents["a_run.json"]}, "the record vouches for what is not there"
    if before is not None:
        assert None not in (contents["a_labels.tif"], contents["a_features.csv"])


def sweep(top: Path, before: str | None) -> None:
    """After a kill at any moment the outputs are the old or the new ones, as soon as somebody looks."""
    outcomes = set()
    for step in every_kill(top, before):
        folder = top / str(step)
        check_killed(folder, before)
        settle([folder / name for name in NAMES])
        (content,) = set(found(folder).values())
        outcomes.add(content)
        assert sorted(os.listdir(folder)) == ([] if content is None else sorted(NAMES))
        publish(folder, "newer")
        assert set(found(folder).values()) == {"newer"}
    assert outcomes == {before, "new"}


def sweep_twice(top: Path) -> None:
    """The process that settles is killed as well."""
    for step in every_kill(top, "old"):
        if step % 3:
            continue
        outputs = [top / str(step) / name for name in NAMES]
        second = 0
        while killed_at(second, lambda outputs=outputs: settle(outputs)):  # type: ignore[misc]
            check_killed(top / str(step), "old")
            second += 3  # each attempt may begin where the one before ended
        assert set(found(top / str(step)).values()) in ({"old"}, {"new"})
        assert sorted(os.listdir(top / str(step))) == sorted(NAMES)


def sweep_fewer(top: Path) -> None:
    """What the new run does not write goes with the record that vouched for it, neither sooner nor later."""
    outcomes = []
    for step in every_kill(top, "old", ("a_masks", "a_features.csv")):
        folder = top / str(step)
        if found(folder)["a_run.json"] == "old":
            assert set(found(folder).values()) == {"old"}
        if step % 2:  # the process that settles may be killed as well
            killed_at(step % 11, lambda folder=folder: settle([folder / "a_run.json"]))  # type: ignore[misc]
        settle([folder / name for name in NAMES])
        outcomes.append(found(folder))
        assert sorted(os.listdir(folder)) == sorted(name for name, content in outcomes[-1].items() if content)
    old, new = dict.fromkeys(NAMES, "old"), dict.fromkeys(NAMES, "new")
    assert [
        outcome for outcome in outcomes if outcome not in (old, new | {"a_masks": None, "a_features.csv": None})
    ] == []
    assert outcomes[0] == old
    assert outcomes[-1] != old


def change_after_the_kill(top: Path) -> None:
    """What somebody wrote in the place of an output that was about to be replaced is not replaced."""
    about_to = {**dict.fromkeys(NAMES, "old"), "a_run.json": None}
    step = next(step for step in every_kill(top, "old") if found(top / str(step)) == about_to)
    labels = top / str(step) / "a_labels.tif"
    labels.write_text("corrected by hand")
    with pytest.raises(
        ValueError, match=r"a_labels.tif was changed after a run .* was killed: delete .*\.part to keep"
    ):
        settle([labels.with_name(name) for name in NAMES])
    assert labels.read_text() == "corrected by hand"


SWEEPS: dict[str, Callable[[Path], None]] = {
    "first": lambda top: sweep(top, None),
    "again": lambda top: sweep(top, "old"),
    "twice": sweep_twice,
    "fewer": sweep_fewer,
    "changed": change_after_the_kill,
}

if __name__ == "__main__":
    os.fsync = lambda _descriptor: None  # it takes most of the time, and nobody pulls the plug here
    for name, work in SWEEPS.items():
        (Path(sys.argv[1]) / name).mkdir()
        work(Path(sys.argv[1]) / name)
