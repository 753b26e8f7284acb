"""What holds for every file of a batch, and which files that makes of each."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.batch.image import Reading
from napari_sam_amg.checks import check_kind, check_whole, shown
from napari_sam_amg.io.discover import (
    CHALLENGE_ENDING,
    FEATURES_ENDING,
    FORMATS,
    LABELS_ENDING,
    MASKS_ENDING,
    OBJECTS_ENDING,
    OVERLAY_ENDING,
    RECORD_ENDING,
    TRACKS_ENDING,
    ZARR_ENDING,
)
from napari_sam_amg.io.label_volume import VERSIONS
from napari_sam_amg.io.raw_image import Geometry
from napari_sam_amg.io.rois import ROIS_ENDING

COCO_ENDING = "_masks.json"


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every file of a batch, besides the model and the parameters."""

    formats: frozenset[str] = frozenset({"labels"})
    overlay: bool = False
    channel: int | None = None
    series: int | None = None  # None: the main image of a file
    geometry: Geometry = Geometry()  # what is not as the file says
    intensities: IntensityRange | None = None  # None: percentiles of each image
    ngff_version: str = VERSIONS[0]
    overwrite: bool = False
    skip_existing: bool = False
    resume: bool = True  # keep the work of a stack until its outputs are there, and go on with it
    quiet: bool = False

    @property
    def reading(self) -> Reading:
        return Reading(self.channel, self.series, self.geometry)

    def __post_init__(self) -> None:
        """``ValueError`` for what is not allowed: a run would write nothing of what was meant, or the wrong thing."""
        for name in ("overlay", "overwrite", "skip_existing", "resume", "quiet"):
            check_kind(name, getattr(self, name), bool, "True or False")
        for name in ("channel", "series"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_whole(name, getattr(self, name)))
        check_kind("geometry", self.geometry, Geometry, "a Geometry")
        check_kind("intensities", self.intensities, (IntensityRange, type(None)), "IntensityRange(black, white)")
        if self.ngff_version not in VERSIONS:
            raise ValueError(
                f"ngff_version={shown(self.ngff_version)} is not allowed: choose from {', '.join(VERSIONS)}"
            )
        check_kind("formats", self.formats, Collection, "a set of formats")
        given: Any = self.formats
        names = [given] if isinstance(given, str) else list(given)
        for name in names:
            if name not in FORMATS:
                raise ValueError(f"formats={name!r} is not allowed: choose from {', '.join(FORMATS)}")
        object.__setattr__(self, "formats", frozenset(names))  # a list or a single name serves as well

    def endings(self, link: str) -> tuple[str, ...]:
        """Of the files that are written for each input, the record last: it says that the others are there."""
        has_tables = bool(self.formats & {"labels", "zarr"})
        wanted = {
            LABELS_ENDING: "labels" in self.formats,
            ZARR_ENDING: "zarr" in self.formats,
            FEATURES_ENDING: has_tables,
            OBJECTS_ENDING: has_tables and link != "none",
            TRACKS_ENDING: has_tables and link == "t",
            CHALLENGE_ENDING: has_tables and link == "t",
            COCO_ENDING: "coco-rle" in self.formats,
            MASKS_ENDING: "masks" in self.formats,
            ROIS_ENDING: "rois" in self.formats,
            OVERLAY_ENDING: self.overlay,
            RECORD_ENDING: True,
        }
        return tuple(ending for ending, is_wanted in wanted.items() if is_wanted)


#: Of all files that a run may write for an input.
ENDINGS = Options(frozenset(FORMATS), overlay=True).endings("t")
