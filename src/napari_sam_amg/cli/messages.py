"""What the commands say, when something fails in one line each, the flags for it, and their exit statuses."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO, TextIOWrapper
from typing import Any, TextIO, cast

from napari_sam_amg.errors import explain

DONE, FAILED, INTERRUPTED = 0, 1, 130
_LONGEST_MESSAGE = 600  # characters


def add_message_flags(parser: Any) -> None:
    """To a parser of argparse, or a group of one."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summaries, errors only")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")


class _Nowhere(StringIO):
    def write(self, text: str) -> int:
        return len(text)


class LenientStream:
    """Standard output or error, whose failure ends no work: what cannot be written is dropped.

    They may be closed (None in Python), a pipe that nobody reads any more, a full disk, or a terminal that
    was hung up. Stands in for the stream in everything that prints, libraries too.
    """

    def __init__(self, stream: TextIO | None) -> None:
        if stream is None or stream.closed:
            stream = _Nowhere()
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal cannot show is escaped
        self._stream: TextIO = stream
        self.failure: OSError | None = None  # none of a pipe that has seen enough

    def write(self, text: str) -> int:
        # All of it, whatever was written: print and tqdm would take less for a reason to try again.
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:
            self._give_up()
        except OSError as error:
            self.failure = self.failure or error
            self._give_up()
        except ValueError:  # closed within Python
            pass

    def _give_up(self) -> None:
        """Send what is still to be printed nowhere, so that Python does not try again at its end."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lenient_streams() -> Iterator[LenientStream]:
    """Standard output, as it stands in for the real one; standard error likewise."""
    _open_descriptors()
    before = sys.stdout, sys.stderr
    stdout, stderr = LenientStream(sys.stdout), LenientStream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, stdout), cast(TextIO, stderr)
    try:
        yield stdout
    finally:
        stdout.flush()
        stderr.flush()
        sys.stdout, sys.stderr = before


def _open_descriptors() -> None:
    """Nowhere, in the place of those that the shell closed: else the next file that is opened would be one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def say(text: str) -> None:
    """Print a result at once."""
    print(text, flush=True)


def printable(text: object) -> str:
    """One line: a file name may hold the end of a line, the commands of a terminal, or bytes that are no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def report(name: object, error: Exception, debug: bool, when_out_of_memory: str = "") -> int:
    if debug:
        traceback.print_exception(error)
    print_error(name, explain(error, when_out_of_memory))
    return FAILED


def print_error(name: object, reason: str, kind: str = "error") -> None:
    line = printable(" ".join(reason.split()))
    print(f"{printable(name)}: {kind}: {line[:_LONGEST_MESSAGE]}", file=sys.stderr)
