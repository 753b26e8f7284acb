"""How long a run will take, from what it has done so far."""

import math

FIRST = 0.5  # s; nothing is said of what was measured for less
FEWEST = 2  # steps, before a plane is done
#: An estimate that is longer than the one before by less than this much is none: it would only jump about.
JUMP = 1.3
SMALLEST_SHARE = 0.98  # of the whole; a part as large as that needs no estimate


class TimeLeft:
    """Told of every step. Times are in seconds of one clock.

    Planes that are done say more than steps: a search asks fewer points than there might be, and planes with nothing in
    them take no time.
    """

    def __init__(self, began: float) -> None:
        self._began = self._plane_ended = began
        self._planes = 0
        self._ends: float | None = None  # when the run will end

    def note(self, now: float, done: int, total: int, planes: int, of_planes: int) -> None:
        """``done`` of ``total`` steps, and ``planes`` of ``of_planes`` planes."""
        if planes > self._planes:
            self._planes, self._plane_ended = planes, now
        left = self._estimate(now, done, total, of_planes)
        if left is None:
            return
        before = math.inf if self._ends is None else max(0.0, self._ends - now)
        if left < before or left > JUMP * before + 1:
            self._ends = now + left

    def _estimate(self, now: float, done: int, total: int, of_planes: int) -> float | None:
        elapsed = now - self._began
        if 0 < self._planes < of_planes:
            one = (self._plane_ended - self._began) / self._planes
            rest = (of_planes - self._planes) * one - (now - self._plane_ended)
            # the plane in work may take longer than those before it; the others will take as long as they did
            return max(rest, (of_planes - self._planes - 1) * one)
        if done < FEWEST or elapsed < FIRST:
            return None
        return elapsed / done * (total - done)

    def words(self, now: float) -> str:
        """As "about 3 min left"; empty while nothing is known."""
        return "" if self._ends is None else f"{about(max(0.0, self._ends - now))} left"


def about(seconds: float) -> str:
    """As one says it of what is not known well: a few seconds, about 20 s, about 3 min, about 1 h 10 min."""
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 55:
        return f"about {5 * round(seconds / 5) if seconds < 30 else 10 * round(seconds / 10)} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 10:
        return f"about {minutes} min"
    minutes = 5 * round(minutes / 5)
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60:02} min"


def of_the_whole(seconds: float, share: float, planes: int, is_region: bool = False) -> str:
    """What a part of the image that took so long says of all of it; empty if it is all of it.

    ``share``: of all pixels of all ``planes``; objects are looked for in fields of one size, so time goes with pixels.
    ``is_region``: of planes; a small one is seen larger than it is within the whole, so all of it may take less.
    """
    if not 0 < share < SMALLEST_SHARE:
        return ""
    what = f"The whole image (all {planes} planes)" if planes > 1 else "The whole image"
    return f"{what} would take {'up to ' * is_region}{about(seconds / share)}."
