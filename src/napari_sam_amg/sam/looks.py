"""Whoever computes for long looks now and then whether anybody wants it to stop; free of torch.

A layer of ViT-H takes seconds of one core, and a watershed knows no layers. What is called is the thread's own: others
compute with the same model meanwhile.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

BETWEEN_LOOKS = 0.05  # s, while others compute

Result = TypeVar("Result")

_THREAD = threading.local()


def look() -> None:
    """Call what this thread is watched by, if anything; what that raises ends the work."""
    watcher: Callable[[], object] | None = getattr(_THREAD, "watcher", None)
    if watcher is not None:
        watcher()


@contextmanager
def watched_by(watcher: Callable[[], object]) -> Iterator[None]:
    """Until the end ``watcher`` is called at every look of this thread."""
    before = getattr(_THREAD, "watcher", None)
    _THREAD.watcher = watcher
    try:
        yield
    finally:
        _THREAD.watcher = before


def while_looking(compute: Callable[[], Result]) -> Result:
    """``compute()`` of something that cannot look itself, since it is one call of a library that lets others run.

    It is done in a thread of its own, which is left to its end if a look raises. Without a watcher in this one.
    """
    if getattr(_THREAD, "watcher", None) is None:
        return compute()
    found: Future[Result] = Future()

    def run() -> None:
        try:
            found.set_result(compute())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            return found.result(timeout=BETWEEN_LOOKS)
        except TimeoutError:
            if found.done():  # it is what was raised
                raise
            look()
