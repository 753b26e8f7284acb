"""One thing at a time: a labels layer is added, or masks are computed beside a run.

For a new layer Mesa compiles shaders, and a process in which torch computed meanwhile was seen to crash.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 5.0  # s; no layer takes as long, and a window that was closed meanwhile lets nobody go

_changed = threading.Condition()
_adding: set[object] = set()
_computing: set[object] = set()


@contextmanager
def not_while_adding() -> Iterator[None]:
    """In a worker: around what it computes. Waits while a layer is added, or is about to be."""
    me, until = object(), time.monotonic() + LONGEST
    with _changed:
        while _adding and time.monotonic() < until:
            _changed.wait(LONGEST)
        _computing.add(me)
    try:
        yield
    finally:
        with _changed:
            _computing.discard(me)


def may_add(who: object) -> bool:
    """In the main thread: whether nothing is computed. From now on nothing more is begun, before :func:`added`."""
    with _changed:
        _adding.add(who)
        return not _computing


def added(who: object) -> None:
    """The layer is painted, or will not be added."""
    with _changed:
        _adding.discard(who)
        _changed.notify_all()
