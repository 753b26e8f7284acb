"""The command ``napari-sam-amg``: no traceback, one line for each failure, exit status 0, 1, 2 or 130."""

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from napari_sam_amg.cli import demo, segment
from napari_sam_amg.cli.flags import COMMANDS, parse
from napari_sam_amg.cli.messages import DONE, FAILED, INTERRUPTED, lenient_streams, print_error, report
from napari_sam_amg.models.registry import own_models
from napari_sam_amg.openmp import bound_spinning
from napari_sam_amg.paths import expanded
from napari_sam_amg.sam.precision import PrecisionWarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status. Wrong usage and --help exit by themselves, as in argparse.

    A standard output that cannot be written stops no work: it is said at the end, and counts as a failure.
    """
    bound_spinning()
    with lenient_streams() as stdout:
        try:
            status = _run(sys.argv[1:] if argv is None else argv)
        except SystemExit as exited:
            stdout.flush()
            if exited.code or stdout.failure is None:
                raise
            status = DONE
        stdout.flush()
        if stdout.failure is not None:
            print_error("napari-sam-amg", f"{stdout.failure.strerror}: standard output")
            status = status or FAILED
        return status


def _run(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    command = ({"segment": segment, "demo": demo} | COMMANDS)[arguments.command]
    for problem in own_models().problems:  # the other models are not concerned
        print_error("napari-sam-amg", problem, "warning")
    with _quiet_libraries(), _signals_interrupt():
        try:
            _expand(arguments)
            return command.run(arguments)
        except KeyboardInterrupt:
            kept = "; images and planes that were finished are kept" if arguments.command == "segment" else ""
            print(f"napari-sam-amg: interrupted{kept}", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            return report("napari-sam-amg", error, arguments.debug)


def _expand(arguments: argparse.Namespace) -> None:
    """Home folders in all paths, which no shell replaces in quotes or after "="; ``ValueError`` if there is none."""
    for name, value in vars(arguments).items():
        if isinstance(value, Path):
            setattr(arguments, name, expanded(value))
    if "inputs" in arguments:
        for place, path in enumerate(arguments.inputs):
            with suppress(ValueError):  # one of several: it will be said that there is no such file
                arguments.inputs[place] = expanded(path)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """No warnings of libraries between the lines, our own in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PrecisionWarning)
        warnings.showwarning = _print_warning
        yield


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """In the place of ``warnings.showwarning``, which says where in the program it was."""
    print(f"napari-sam-amg: {message}", file=sys.stderr)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """End as on Ctrl-C, cleaned up, on SIGTERM, which a cluster sends, and on SIGHUP, which a closed terminal does."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # nohup
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
