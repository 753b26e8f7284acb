"""What the commands say, when something fails in one line each, the flags for it, and their exit statuses."""

import os
import sys
import traceback
from typing import Any

from napari_sam_amg.errors import explain

DONE, FAILED, INTERRUPTED = 0, 1, 130
_LONGEST_MESSAGE = 600  # characters


def add_message_flags(parser: Any) -> None:
    """To a parser of argparse, or a group of one."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summaries, errors only")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")


def say(text: str) -> None:
    """Print a result. Who reads it, "head" for one, may have seen enough; that is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        stop_printing()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def stop_printing() -> None:
    """Send what is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(name: object, error: Exception, debug: bool, when_out_of_memory: str = "") -> int:
    if debug:
        traceback.print_exception(error)
    print_error(name, explain(error, when_out_of_memory))
    return FAILED


def print_error(name: object, reason: str, kind: str = "error") -> None:
    line = " ".join(reason.split())
    print(f"{name}: {kind}: {line[:_LONGEST_MESSAGE]}", file=sys.stderr)
