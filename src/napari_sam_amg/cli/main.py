"""The command ``napari-sam-amg``: no traceback, one line for each failure, exit status 0, 1, 2 or 130."""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import TextIO

from napari_sam_amg.cli import demo, segment
from napari_sam_amg.cli.flags import COMMANDS, parse
from napari_sam_amg.cli.messages import DONE, INTERRUPTED, print_error, report, stop_printing
from napari_sam_amg.models.registry import own_models
from napari_sam_amg.sam.precision import PrecisionWarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status. Wrong usage and --help exit by themselves, as in argparse."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    command = ({"segment": segment, "demo": demo} | COMMANDS)[arguments.command]
    for problem in own_models().problems:  # the other models are not concerned
        print_error("napari-sam-amg", problem, "warning")
    with _quiet_libraries(), _terminated_as_interrupted():
        try:
            status = command.run(arguments)
            if sys.stdout is not None:  # which it is where the shell closed it
                sys.stdout.flush()
            return status
        except BrokenPipeError:  # who read the output, "head" for one, has seen enough
            stop_printing()
            return DONE
        except KeyboardInterrupt:
            kept = "; images that were finished are kept" if arguments.command == "segment" else ""
            print(f"napari-sam-amg: interrupted{kept}", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            return report("napari-sam-amg", error, arguments.debug)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """No warnings of libraries between the lines, our own in one line; what the terminal cannot show is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
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
def _terminated_as_interrupted() -> Iterator[None]:
    """End on SIGTERM, which a cluster sends, as on Ctrl-C: cleaned up."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
