"""What became of one input file, for the summary and the record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from napari_sam_amg.amg.planes import Index, may_tile
from napari_sam_amg.io.discover import InputFile
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import PlaneResult

SAID = 3  # planes that are named in a line; the record names all
MOSTLY = 0.5  # of the objects through time, the share in one plane alone above which they seem to be lost


@dataclass(frozen=True, slots=True)
class Done:
    """What is said of one file."""

    summary: str
    failed: str = ""  # planes without a result, in words; empty if all have one
    found: str = ""  # how much, in words
    skipped: bool = False  # the results were there already


@dataclass(slots=True)
class Outcome:
    """Counts up while planes come."""

    planes: int  # all of them
    asked: AmgParameters
    continued: int = 0  # planes or tiles that an earlier run had done
    used: AmgParameters | None = None  # see PlaneResult; None until there is a plane
    masks: int = 0  # before overlaps were resolved
    labels: int = 0
    objects: int | None = None  # through the stack; None if planes were not linked
    fleeting: int = 0  # objects through time in one plane alone
    cut: int = 0  # labels that the edge of a crop may have cut
    too_large: int = 0  # objects without a label, larger than the crops
    empty: dict[Index, str] = field(default_factory=dict)  # planes with nothing in them, and what is all there is
    problems: dict[Index, str] = field(default_factory=dict)  # planes that failed, and why
    seconds: float = 0.0
    began: float = field(default_factory=perf_counter)

    def add(self, result: PlaneResult) -> None:
        self.used = result.params
        self.masks += len(result.masks)
        self.labels += len(result.features)
        if result.objects is not None:
            self.objects = (self.objects or 0) + len(result.objects)
            self.fleeting += int((result.objects["planes"] == 1).sum())
        self.cut += int(result.features["cut_by_crop"].sum())
        self.too_large += result.too_large
        if result.nothing:
            self.empty[result.index] = result.nothing
        if result.problem:
            self.problems[result.index] = result.problem

    def end(self) -> None:
        self.seconds = perf_counter() - self.began

    @property
    def params(self) -> AmgParameters:
        """Those that were used."""
        return self.used or self.asked

    @property
    def failed(self) -> str:
        """Which planes failed and why, the first of them if they are many."""
        if not self.problems:
            return ""
        some = [
            f"plane {', '.join(map(str, index))}: {why}" if index else why
            for index, why in list(self.problems.items())[:SAID]
        ]
        more = [f"and {len(self.problems) - SAID} more"] if len(self.problems) > SAID else []
        return f"{len(self.problems)} of {_count(self.planes, 'plane')} failed: {', '.join([*some, *more])}"

    def summary(self, file: InputFile, source: SourceImage, targets: Sequence[Path], more: str = "") -> str:
        """A line on what was read, found and written, and all that a reader might not expect, ``more`` of it."""
        height, width = source.stack.plane_size
        size = f"{height} x {width} pixels, {_count(self.planes, 'plane')}"
        found = f"{self.found()} in {self.seconds:.1f} s"
        written = ", ".join([str(targets[0]), *(target.name for target in targets[1:])])
        notes = "; ".join(note for note in (source.note, *self._notes(source.stack.plane_size), more) if note)
        return f"{file.path}: {size}, {found} -> {written}" + (f" ({notes})" if notes else "")

    def found(self) -> str:
        if self.objects is None:
            return f"{_count(self.masks, 'mask')}, {_count(self.labels, 'label')}"
        through = "time" if self.params.link == "t" else "z"
        return f"{_count(self.objects, 'object')} through {through}, {_count(self.labels, 'cross-section')}"

    def _losses(self) -> str:
        """What there is to say where most objects are not found again."""
        if self.params.link != "t" or self.planes < 2 or self.fleeting <= MOSTLY * (self.objects or 0):
            return ""
        return (
            f"{self.fleeting} of {_count(self.objects or 0, 'object')} are in one plane only: "
            "what moves by more than its size from plane to plane is not followed"
        )

    def _notes(self, size: tuple[int, int]) -> tuple[str, ...]:
        """What was chosen, where that is not what one expects; why masks may be missing, or cut."""
        used = self.params
        layer = f"crop layer {used.crop_n_layers}" if used.crop_layers == "last" and used.crop_n_layers else ""
        tiles = f"tiles of {used.tile_size} pixels" if used.tile_size and may_tile(size, used) else ""
        edge = "tile" if tiles else "crop"
        cut = f"{_count(self.cut, 'label')} may be cut by the edge of a {edge}" if self.cut else ""
        missing = f"{_count(self.too_large, 'object')} too large for the {edge}s may be missing" * bool(self.too_large)
        continued = f"goes on from {_count(self.continued, 'part')} done before" * bool(self.continued)
        search = "approximate" if used.approximate else self.asked.note_on(used)
        search = "AIS" if used.mode == "ais" else search
        return continued, tiles, layer, search, self._losses(), cut, missing, self._emptiness(), self.failed

    def _emptiness(self) -> str:
        """Why there is no mask at all."""
        if len(self.empty) + len(self.problems) == self.planes:
            return f"nothing in it: {', '.join(list(dict.fromkeys(self.empty.values()))[:SAID])}" if self.empty else ""
        if self.params.link == "z" and not self.masks:
            return "lower --pred-iou-thresh, --link-iou or --min-planes to find more"
        if self.params.mode == "ais":
            return "" if self.masks else "the segmentation decoder shows no object"
        return "" if self.masks else "lower --pred-iou-thresh or --stability-score-thresh to find more"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
