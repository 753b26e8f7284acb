"""What a run has found so far, counted plane by plane."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running.outcome import FailedPlane

if TYPE_CHECKING:
    from napari_sam_amg.run import PlaneResult


@dataclass(slots=True)
class SoFar:
    """``planes``: finished, those that were done before the run among them; of ``total``."""

    total: int
    planes: int = 0
    masks: int = 0  # labels; of the planes that were done before, too
    cut: int = 0  # perhaps cut by the edge of a crop
    objects: int | None = None  # through the stack, complete; None if planes are not linked
    too_large: int = 0  # objects that may be missing since no crop holds them
    hidden: int = 0  # masks without a label, since others lie over them
    params: AmgParameters | None = None  # those that were used, once a plane is finished
    nothing: list[str] = field(default_factory=list)  # why, of each plane with nothing in it
    failed: list[FailedPlane] = field(default_factory=list)  # among the finished ones
    has_results: bool = False  # whether any plane was segmented, or some rows of one
    seconds: float = 0.0  # that it took, those of the parts that were done before among them

    def going_on(self, done: int) -> "SoFar":
        """For a run that does what is missing: of ``done`` planes nothing is counted anew but their labels."""
        return replace(self, planes=done, masks=0, nothing=list(self.nothing), failed=[])

    @property
    def is_complete(self) -> bool:
        return self.planes == self.total

    def take(self, result: "PlaneResult") -> None:
        """One plane, or some rows of one."""
        self.planes += result.is_last
        self.has_results |= not result.problem or len(result.features) > 0
        if result.problem:
            self.failed.append((result.index, result.problem))
        self.masks += len(result.features)
        self.hidden += 0 if result.problem else max(0, len(result.masks) - len(result.features))
        self.nothing += filter(None, [result.nothing])
        self.cut += int(result.features["cut_by_crop"].sum())
        self.too_large += result.too_large
        if result.objects is not None:
            self.objects = (self.objects or 0) + len(result.objects)
        self.params = result.params

    def record(self) -> dict[str, Any]:
        """As the layer's metadata have it."""
        return {
            "masks": self.masks + self.hidden,
            "hidden_by_overlap": self.hidden,
            "planes_done": self.planes,
            "planes": self.total,
            "failed_planes": [{"plane": list(index), "problem": problem} for index, problem in self.failed],
        }
