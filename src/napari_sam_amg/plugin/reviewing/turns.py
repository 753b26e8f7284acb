"""Long work of the main thread in short turns of the event loop."""

import time
from collections.abc import Callable, Iterator

from qtpy.QtCore import QTimer

TURN = 0.03  # s: what a turn takes at most, and a step of the work more


def in_turns(work: Iterator[object], done: Callable[[], None], failed: Callable[[Exception], None]) -> None:
    """Begun at once: what takes no longer than a turn is over when this returns."""
    ends = time.perf_counter() + TURN
    try:
        for _ in work:
            if time.perf_counter() > ends:
                QTimer.singleShot(0, lambda: in_turns(work, done, failed))
                return
        done()
    except Exception as error:
        failed(error)
