"""Every parameter of automatic mask generation: its default, range and help text, once.

The form of the widget, the flags of the command line, the validation and the table in the README
are all made from the fields of :class:`AmgParameters`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from napari_sam_amg.checks import shown

CropLayers = Literal["all", "last", "auto"]
Mode = Literal["amg", "ais"]
PointSearch = Literal["grid", "hierarchical", "guided"]
OverlapPolicy = Literal["score", "small", "large"]
LabelPieces = Literal["largest", "all"]
Link = Literal["none", "z", "t"]
SMALLEST_TILE = 32  # px
Grids = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Allowed values of a parameter, and the step of its spin box."""

    low: float
    high: float
    step: float

    def __str__(self) -> str:
        return f"{self.low:.10g} to {self.high:.10g}"


def _parameter(
    default: Any,
    help: str,
    allowed: Range | None = None,
    basic: bool = False,
    title: str = "",
    words: Mapping[str, str] | None = None,
) -> Any:
    """``title`` and ``words``: what the form calls it and its choices, where that is not as Python does."""
    about = {"help": help, "range": allowed, "basic": basic, "title": title, "words": words or {}}
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True, kw_only=True)
class AmgParameters:
    """Parameters of automatic mask generation.

    Names and defaults are those of ``segment_anything.SamAutomaticMaskGenerator``, followed by our
    own. NumPy scalars and arrays are taken as the plain numbers and tuples that they hold, and kept as
    such. A value out of range raises ``ValueError`` naming the parameter, the value and what is allowed.
    """

    points_per_side: int | None = _parameter(
        32,
        "Point prompts along each side of the image. More points find more small objects and take longer.",
        Range(1, 512, 1),
        basic=True,
    )
    points_per_batch: int = _parameter(
        64, "Point prompts between two progress steps; Cancel takes effect after one batch.", Range(1, 4096, 1)
    )
    pred_iou_thresh: float = _parameter(
        0.88,
        "Drop masks that the model itself rates at or below this quality (its predicted IoU). 0: keep all.",
        Range(0.0, 1.0, 0.01),
        basic=True,
    )
    stability_score_thresh: float = _parameter(
        0.95,
        "Drop masks less stable than this when the mask threshold moves (1: the outline stays put). 0: keep all.",
        Range(0.0, 1.0, 0.01),
        basic=True,
    )
    stability_score_offset: float = _parameter(
        1.0, "How far the mask threshold is moved, both ways, to measure stability.", Range(0.0, 100.0, 0.1)
    )
    box_nms_thresh: float = _parameter(
        0.7, "Of two masks whose boxes overlap by more than this IoU, the worse one is dropped.", Range(0.0, 1.0, 0.05)
    )
    crop_n_layers: int = _parameter(
        0,
        "Repeat on 4, 16, ... enlarged crops of the image to find small objects: 1 layer adds 4 crops, 2 add 20.",
        Range(0, 5, 1),
    )
    crop_nms_thresh: float = _parameter(
        0.7, "As box_nms_thresh, between masks of different crops; the smaller crop wins.", Range(0.0, 1.0, 0.05)
    )
    crop_overlap_ratio: float = _parameter(
        512 / 1500,
        "Overlap of neighbouring crops as a share of the image's shorter side, halved in each layer.",
        Range(0.0, 1.0, 0.01),
    )
    crop_n_points_downscale_factor: int = _parameter(
        1, "Divide the points per side by this, once for every crop layer.", Range(1, 16, 1)
    )
    point_grids: Grids | None = _parameter(
        None,
        "Explicit point grids, one per crop layer, (x, y) in 0..1; replaces points_per_side (Python and CLI only).",
    )
    min_mask_region_area: int = _parameter(
        0,
        "Remove holes and separate pieces of masks smaller than this many pixels. 0: off.",
        Range(0, 100_000_000, 10),
        basic=True,
    )
    # ours, not the reference's
    mode: Mode = _parameter(
        "amg",
        "How objects are found. 'amg': the model draws masks at many points. 'ais': a watershed on the maps of the "
        "model's segmentation decoder, which finetunes of micro-sam have; no points are asked, and of the other "
        "parameters only min_mask_region_area (smaller objects are dropped), crop_n_layers (maps of the crops of the "
        "last layer are joined), crop_layers='auto' and crop_overlap_ratio act.",
    )
    crop_layers: CropLayers = _parameter(
        "all",
        "Which crops are used. 'all': the image and every crop layer, as Segment Anything does. 'last': those of the "
        "last layer only. 'auto': the one layer that suits the size of the objects, by the model's own maps or by "
        "trying a few points (crop_n_layers is then not used).",
    )
    point_search: PointSearch = _parameter(
        "grid",
        "Which points are asked. 'grid': all of the grid. 'hierarchical': approximate, and faster where objects hold "
        "many points: a coarse grid first, then only points that lie in no mask of which the model is sure. May miss "
        "objects inside such a mask (parts, touching neighbours) and the best of several outlines. 'guided': "
        "approximate, and much faster: the centres of the objects that the model's own maps show, then a coarse grid "
        "where no sure mask lies, and finer ones only while they find objects. Needs a model with such maps (the "
        "embedded one, finetunes of micro-sam with their decoder); with any other the grid is asked, which is said.",
    )
    coarse_points_per_side: int = _parameter(
        8,
        "How many of points_per_side are asked after the centres of the objects, with point_search 'guided'. More find "
        "more objects of kinds that the model does not know. 0: the centres alone.",
        Range(0, 512, 1),
    )
    min_area: int = _parameter(
        0,
        "Drop masks of fewer pixels than this, before duplicates are removed and overlaps resolved. 0: off.",
        Range(0, 100_000_000, 10),
    )
    max_area: int = _parameter(
        0,
        "Drop masks of more pixels than this, before duplicates are removed and overlaps resolved, so that smaller "
        "objects under them come up. 0: off.",
        Range(0, 100_000_000, 10),
    )
    overlap: OverlapPolicy = _parameter(
        "score",
        "Which mask owns a pixel that several claim: 'score' the best predicted IoU, 'small' the smallest, "
        "'large' the largest.",
    )
    min_visible_fraction: float = _parameter(
        0.5,
        "Drop a label of which less than this share is left after overlaps are resolved (no slivers). 0: keep all.",
        Range(0.0, 1.0, 0.05),
    )
    label_pieces: LabelPieces = _parameter(
        "largest",
        "What a label keeps of a mask in several pieces: 'largest' that piece alone, so that every label is one object "
        "in one piece, 'all' also the others that are not small.",
    )
    min_label_region_area: int = _parameter(
        30,
        "Fill holes and remove separate pieces of labels smaller than this many pixels, after overlaps are resolved; "
        "min_mask_region_area if that is more. The largest piece stays. 0: off.",
        Range(0, 100_000_000, 10),
    )
    max_ring_area: float = _parameter(
        2.0,
        "Drop a label that lies like a ring around another one, a double of it, and has less than this many times its "
        "pixels. 0: keep all.",
        Range(0.0, 100.0, 0.5),
    )
    link: Link = _parameter(
        "none",
        "What is one object in a stack. 'none': every plane has its own. 'z': planes are joined to objects through z. "
        "'t': objects are followed through time, and may divide.",
        basic=True,
        title="Objects",
        words={"none": "per plane", "z": "through z", "t": "through time"},
    )
    link_iou: float = _parameter(
        0.0,
        "Overlap (IoU) of an object with itself in the next plane, at least. 0: by itself, .6 through z and .2 through "
        "time.",
        Range(0.0, 1.0, 0.05),
    )
    link_gap: int = _parameter(
        0,
        "Planes that an object may be missing in and is drawn into, if it has nearly the same outline (an IoU of .8) "
        "before and after. 0: an object ends where it is not seen.",
        Range(0, 1, 1),
    )
    min_planes: int = _parameter(
        3, "Objects through z in fewer planes than this are dropped. 1: keep all.", Range(1, 1000, 1)
    )

    tile_size: int = _parameter(
        0,
        "Take planes larger than this tile by tile: pixels along each side of a tile, without its halo. 0: by itself, "
        "with crop_layers='auto' and planes of more than 2048 pixels a side, in tiles that suit the objects.",
        Range(0, 1_000_000, 64),
    )
    tile_halo: int = _parameter(
        0,
        "How many pixels around it a tile sees, for objects at its edges; at most half of tile_size. 0: by itself, a "
        "sixth of tile_size.",
        Range(0, 1_000_000, 8),
    )

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):  # frozen for everybody else
            object.__setattr__(self, spec.name, check_value(spec.name, getattr(self, spec.name)))
        if (self.points_per_side is None) == (self.point_grids is None):
            raise ValueError(
                "exactly one of points_per_side and point_grids must be given, got "
                f"points_per_side={self.points_per_side!r} and point_grids="
                f"{'None' if self.point_grids is None else 'a list'}"
            )

        if self.max_area and self.min_area > self.max_area:
            raise ValueError(f"min_area={self.min_area} is more than max_area={self.max_area}: no mask would be kept")
        if self.tile_size and self.tile_size < SMALLEST_TILE:
            raise ValueError(
                f"tile_size={self.tile_size} is not allowed: choose 0, so that tiles suit the objects, or at least "
                f"{SMALLEST_TILE} pixels"
            )
        if self.tile_halo > self.tile_size / 2:
            allowed = f"0 to {self.tile_size // 2}, half of it" if self.tile_size else "0, unless tile_size is given"
            raise ValueError(
                f"tile_halo={self.tile_halo} is not allowed with tile_size={self.tile_size}: allowed is {allowed}"
            )

    @property
    def approximate(self) -> bool:
        """Whether masks may be missing that asking every point would find."""
        return self.mode == "amg" and self.point_search != "grid"

    @property
    def smallest_piece(self) -> int:
        """Pixels that a piece of a label has at least, if it is not the largest, and a hole that stays one.

        Who asks for larger pieces of masks gets no smaller ones of labels. 0: labels stay as they were painted.
        """
        return max(self.min_label_region_area, self.min_mask_region_area) if self.min_label_region_area else 0

    def note_on(self, used: "AmgParameters") -> str:
        """What whoever asked for these must know of those that were used instead; empty if nothing."""
        unguided = self.point_search == "guided" and used.point_search == "grid"
        return "the model has no maps of objects, so the grid was asked" if unguided else ""


def needs_decoder(model: str, reason: str) -> str:
    """What is said where ``mode="ais"`` cannot be had with a model of this name."""
    return (
        f"mode='ais' needs a segmentation decoder, as finetunes of micro-sam have it, and there is none for {model}: "
        f"{reason}; choose mode='amg', or another model"
    )


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> AmgParameters:
    """The reference's defaults, then those that belong to a model, then what was given.

    Who gives point grids or a number of crop layers means SAM's crop layers, not those that a model's
    ``crop_layers="auto"`` would choose instead.
    """
    given = given or {}
    check_names(given)
    values = {**whole_numbers(defaults), **given}
    if values.get("point_grids") is not None and "points_per_side" not in given:
        values["points_per_side"] = None
    if {"point_grids", "crop_n_layers"} & given.keys() and "crop_layers" not in given:
        values["crop_layers"] = "all"
    return AmgParameters(**values)


def check_names(given: Iterable[str]) -> None:
    """``ValueError`` for a name that no parameter has."""
    names = [spec.name for spec in dataclasses.fields(AmgParameters)]
    for name in given:
        if name not in names:
            raise ValueError(f"{name!r} is no parameter: allowed are {', '.join(names)}")


def whole_numbers(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters out of a file, by name: there 16.0 is a whole number, too, as programs and people write it."""
    return {name: _whole(name, value) for name, value in defaults.items()}


def _whole(name: str, value: Any) -> Any:
    is_whole = name in _hints() and parameter_type(name) is int and isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(AmgParameters)


def parameter_type(name: str) -> type:
    """The plain type of a parameter: int, float, str, or tuple for the point grids."""
    hint = _hints()[name]
    if isinstance(hint, UnionType):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if get_origin(hint) is Literal:
        return str
    return get_origin(hint) or hint


def parameter_choices(name: str) -> tuple[str, ...]:
    """The allowed words of a parameter, empty if it is not one of words."""
    hint = _hints()[name]
    return get_args(hint) if get_origin(hint) is Literal else ()


def parameter_spec(name: str) -> "dataclasses.Field[Any]":
    """The field of a parameter; its metadata holds "help", "range" and "basic"."""
    return next(spec for spec in dataclasses.fields(AmgParameters) if spec.name == name)


def check_value(name: str, value: Any) -> Any:
    """What is kept for the parameter ``name``: a plain int, float, text, tuple of grids, or None.

    Raises ``ValueError`` naming the parameter, the value and what is allowed.
    """
    value = _plain(value)
    if value is None and type(None) in get_args(_hints()[name]):
        return None
    if name == "point_grids":
        return _grids(value)
    if choices := parameter_choices(name):
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{name}={shown(value)} is not allowed: choose one of {', '.join(choices)}")
        return choices[choices.index(value)]
    return _number(name, value)


def _plain(value: Any) -> Any:
    """What an array or a scalar of NumPy (or torch) holds, as Python has it; anything else as it is."""
    tolist = getattr(value, "tolist", None)
    return value if tolist is None else tolist()


def _number(name: str, value: Any) -> int | float:
    kind, allowed = parameter_type(name), parameter_spec(name).metadata["range"]
    # 16.0 points are a mistake of whoever computed them, and the next result may be 16.5
    fits = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if not fits or value != value:  # NaN differs from itself
        no_float = ", and no float" if kind is int and isinstance(value, float) else ""
        raise ValueError(
            f"{name}={shown(value)} is not allowed: it must be {_KIND_WORDS[kind]} from {allowed}{no_float}"
        )
    if not allowed.low <= value <= allowed.high:
        raise ValueError(f"{name}={shown(value)} is out of range: allowed is {allowed}")
    number: int | float = kind(value)
    return number


_KIND_WORDS = {int: "a whole number", float: "a number"}


def _grids(grids: Any) -> Grids:
    layers = _entries("point_grids", grids, "a list of grids, one for each crop layer")
    if not layers:
        raise ValueError("point_grids is empty: give one list of (x, y) points in 0..1 per crop layer")
    if _is_point(layers[0]):  # a grid alone, as files may hold it too
        layers = [layers]
    return tuple(_grid(f"point_grids[{layer}]", grid) for layer, grid in enumerate(layers))


def _grid(name: str, grid: Any) -> tuple[tuple[float, float], ...]:
    points = [_point(entry) for entry in _entries(name, grid, "a list of points (x, y) with both in 0..1")]
    for point in points:
        if not _is_point(point) or not all(0 <= coordinate <= 1 for coordinate in point):
            raise ValueError(f"{name} holds {shown(point)}: points are (x, y) with both in 0..1")
    return tuple((float(x), float(y)) for x, y in points)


def _entries(name: str, value: Any, expected: str) -> list[Any]:
    value = _plain(value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{name}={shown(value)} is not allowed: it must be {expected}")
    return list(value)


def _point(value: Any) -> Any:
    """An entry of a grid, with plain numbers if it is a pair or the like."""
    value = _plain(value)
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value


def _is_point(value: Any) -> bool:
    """Whether this is a pair of numbers."""
    point = _point(value)
    if not isinstance(point, tuple) or len(point) != 2:
        return False
    return all(isinstance(number, Real) and not isinstance(number, bool) for number in point)
