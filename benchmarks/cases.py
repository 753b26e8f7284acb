"""What is measured: the cases, and the sets of them that the command line names."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

OURS, REFERENCE, MICRO_SAM = "ours", "reference", "micro-sam"
PEERS = (REFERENCE, MICRO_SAM)
ENGINES = (OURS, *PEERS)

#: "small" is the widened embedded model (see widen.py): SAM's decoder behind a small encoder. The
#: vit models are the same with the vision transformer's work done before it, on random weights.
VITS = ("vit_t", "vit_b", "vit_h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to measure; ``engines`` can do it."""

    kind: str = "amg"  # or "refilter", "relabel", "planes", "encoder", "matmul"
    model: str = "embedded"
    image: str = "nuclei"  # a sample image
    size: int = 512  # px a side; of a matmul: rows
    points: int = 32  # a side
    crops: int = 0  # layers
    planes: int = 1
    pred_iou_thresh: float | None = None  # None: the model's own
    precision: str = "exact"  # of ours; peers have "exact" alone
    search: str = "grid"  # or "hierarchical", "guided"
    engines: tuple[str, ...] = (OURS, REFERENCE)

    @property
    def name(self) -> str:
        """What ``--case`` selects and the results are filed under."""
        if self.kind == "matmul":
            return f"matmul-{self.size}"
        if self.kind == "encoder":
            return f"encoder-{self.model}" + ("" if self.precision == "exact" else f"-{self.precision}")
        parts = [self.model, f"{self.size}px", f"{self.points}x{self.points}", f"{self.crops}crops"]
        if self.kind in ("refilter", "relabel"):
            parts.append(self.kind)
        elif self.kind == "planes":
            parts.append(f"{self.planes}planes")
        elif self.image != "nuclei":
            parts.append(self.image)
        if self.pred_iou_thresh is not None:
            parts.append(f"iou{self.pred_iou_thresh:g}")
        if self.precision != "exact":
            parts.append(self.precision)
        if self.search != "grid":
            parts.append(self.search)
        return "-".join(parts)

    @property
    def peers_name(self) -> str:
        """The case that peers measure, to be compared with this one."""
        return replace(self, precision="exact").name


MATMUL = Case(kind="matmul", model="none", size=4096, engines=(OURS,))
#: Decoding and post-processing a prompt in SAM's dimensions: its time without the encoder's.
DECODE = Case(model="small", size=1024, points=16)
#: Other thresholds on the candidates of the embedded model's run.
FIRST_RUN = Case(model="embedded", size=512)
REFILTER = Case(kind="refilter", model="embedded", size=512, engines=(OURS,))
RELABEL = Case(
    kind="relabel", model="embedded", size=512, engines=(OURS,)
)  # the same to labels and table, as sliders do


def _ours(**values: Any) -> Case:
    return Case(**values, engines=(OURS,))


_FULL = [
    Case(model=model, size=size, points=points, crops=crops)
    for crops, points, size, model in product((0, 1), (16, 32), (512, 1024, 2048), ("embedded", "vit_t", "vit_b"))
]
_FULL.append(Case(image="tissue"))

#: Time and memory of this engine against one thing at a time.
CURVES: dict[str, tuple[Case, ...]] = {
    "points": tuple(_ours(points=points) for points in (8, 16, 32, 64)),
    "crop layers": tuple(_ours(points=16, crops=crops) for crops in (0, 1, 2)),
    "image size": tuple(_ours(points=16, size=size) for size in (512, 1024, 2048, 4096)),
    "image size, SAM's decoder": tuple(_ours(model="small", points=16, size=size) for size in (512, 1024, 2048, 4096)),
    "masks, by threshold": tuple(_ours(points=32, pred_iou_thresh=value) for value in (0.2, 0.4, 0.6, 0.8)),
    "planes": tuple(_ours(kind="planes", points=16, planes=planes) for planes in (1, 2, 4, 8)),
}
#: The approximate search; each is compared with the same case without it.
APPROXIMATE: tuple[Case, ...] = (
    *(_ours(image=image, points=n, search="hierarchical") for image in ("nuclei", "tissue") for n in (32, 64)),
    *(_ours(image=image, search="guided") for image in ("nuclei", "tissue")),
)
_ENCODERS = [Case(kind="encoder", model=model, size=1024) for model in VITS]
_ENCODERS += [_ours(kind="encoder", model=model, size=1024, precision="fast") for model in VITS]
#: What decides whether the engine is as fast as it should be.
_MARKS = [
    MATMUL,
    DECODE,
    FIRST_RUN,
    REFILTER,
    RELABEL,
    _ours(size=1024, points=16),
    _ours(size=4096, points=16),
    Case(model="vit_b", size=1024),
    _ours(model="vit_b", size=1024, precision="fast"),
]

SETS: dict[str, tuple[Case, ...]] = {
    "quick": (Case(size=256, points=8),),
    "marks": tuple(_MARKS),
    "large": (
        Case(model="vit_b", size=2048),
        _ours(model="vit_b", size=2048, precision="fast"),
        Case(model="vit_t", size=1024),
        Case(model="vit_h", size=1024),
    ),
    "encoders": tuple(_ENCODERS),
    "scaling": tuple(case for curve in CURVES.values() for case in curve),
    "approximate": tuple(
        case for approximate in APPROXIMATE for case in (replace(approximate, search="grid"), approximate)
    ),
    "full": (MATMUL, DECODE, *_ENCODERS, *_FULL),
}


def unique(cases: list[Case]) -> list[Case]:
    """Cases by name, in order; one that several sets share has the engines of all."""
    merged: dict[str, Case] = {}
    for case in cases:
        before = merged.get(case.name)
        if before is None or len(case.engines) > len(before.engines):
            merged[case.name] = case
    return list(merged.values())
