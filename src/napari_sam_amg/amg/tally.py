"""What a run came to before duplicates were removed. Free of torch, so that a window may count."""

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tally:
    """Counts up while regions come: in the thread of the run, to be read in any.

    A run that goes on goes on counting: a region that it does again, since its plane was not finished, counts once.
    """

    counted: set[Hashable] = field(default_factory=set)  # planes, or tiles of planes
    crops: int = 0  # of the region that has most
    points: int = 0  # that the model was asked
    candidates: int = 0  # masks that passed both thresholds
    is_complete: bool = True  # whether all that is counted said how many points it was asked

    @property
    def regions(self) -> int:
        return len(self.counted)

    def record(self) -> dict[str, int]:
        """As JSON has it."""
        points = {"points_asked": self.points} if self.is_complete else {}
        return {"crops": self.crops, **points, "candidates": self.candidates} if self.crops else {}
