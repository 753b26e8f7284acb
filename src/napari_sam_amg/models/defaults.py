"""Which AMG parameters suit a model: the one place that says so. Free of torch.

What is asked later wins: the general defaults of :mod:`napari_sam_amg.params`; those of models made by this project,
if the file is one (``OURS``); what its file says, under "amg"; those of a published model (``PUBLISHED``), known by
its name or by the hash of its file; the thresholds of an own model in ``models.toml``; and what the user gives.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models.archive import open_archive
from napari_sam_amg.models.our_format import amg_entry, is_ours
from napari_sam_amg.models.own_models import OwnModel, checked_thresholds
from napari_sam_amg.models.pickled import Made
from napari_sam_amg.models.pickled_tensors import in_line, kind_of
from napari_sam_amg.models.registry import (
    EMBEDDED,
    OTHER_MAPS,
    KnownModel,
    embedded_path,
    find_known,
    find_own,
    find_sha256,
    is_offline,
)
from napari_sam_amg.models.state_dict import recognise
from napari_sam_amg.paths import expanded

#: Of models made by this project's training, the embedded one too: parameters of which their files do not speak.
OURS: Mapping[str, Any] = {"point_search": "guided"}


def _thresholds(pred_iou: float, stability: float, smallest: int = 100) -> dict[str, Any]:
    return {
        "pred_iou_thresh": pred_iou,
        "stability_score_thresh": stability,
        "min_mask_region_area": smallest,  # px
    }


#: Objects in photographs are partly hidden by others, and lie around others.
_SAM = _thresholds(0.88, 0.95, 0) | {"label_pieces": "all", "max_ring_area": 0.0}
#: By name. Those of SAM for SAM's models, micro-sam's for its finetunes (SAM's thresholds reject everything that
#: an ``_lm`` model finds, micro-sam issue 384).
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "vit_t": _SAM,
    "vit_b": _SAM,
    "vit_l": _SAM,
    "vit_h": _SAM,
    "vit_t_lm": _thresholds(0.6, 0.65),
    "vit_b_lm": _thresholds(0.65, 0.7),
    "vit_l_lm": _thresholds(0.65, 0.73),
    "vit_t_em_organelles": _thresholds(0.75, 0.75),
    "vit_b_em_organelles": _thresholds(0.75, 0.75),
    "vit_l_em_organelles": _thresholds(0.8, 0.8),
}


def suited(published: str = "", content: Any = None, own: OwnModel | None = None) -> dict[str, Any]:
    """AMG parameters by name.

    ``published``: name of the published model that it is, if any; ``content``: what its file holds; ``own``: its
    entry in ``models.toml``. Raises ``ValueError`` if the file says what is not allowed, or what is not known here.
    """
    return {
        **(OURS if is_ours(content) else {}),
        **_of_file(content),
        **PUBLISHED.get(published, {}),
        **({} if own is None else own.thresholds),
    }


def _of_file(content: Any) -> dict[str, Any]:
    entry = amg_entry(content)
    for key, value in entry.items():
        if isinstance(value, Made):  # NumPy's numbers are objects, whose values nobody makes here
            raise ValueError(
                f"its AMG parameters: {in_line(key)} is a {kind_of(value)}: save a plain number, float(...)"
            )
    try:
        return checked_thresholds(entry)
    except ValueError as error:
        raise ValueError(f"its AMG parameters: {error}") from error


def model_defaults(model: str) -> dict[str, Any]:
    """As :func:`suited`, of a known name or the path of a checkpoint, without loading it.

    Known names are looked up at once; a foreign file may have to be hashed, which takes seconds. What is wrong
    with a file is not said here: loading it will.
    """
    own = find_own(model)
    if own is None and model in PUBLISHED:
        return suited(model)
    try:
        path = own.file if own is not None else embedded_path() if model == EMBEDDED else expanded(model)
        with open_archive(path) as archive:
            content = archive.content
        if own is not None or is_ours(content):
            return suited("", content, own)
        recognise(content)  # a file without a SAM is not worth the seconds that its hash takes
        return suited(_published_name(path), content)
    except (OSError, ValueError):
        return suited(own=own)


def _published_name(path: Path) -> str:
    """Of a published checkpoint under whatever name its file has here."""
    known = find_sha256(hash_file(path))
    return "" if known is None else known.name


def first_missing(model: str) -> KnownModel | None:
    """What of a known model is to be downloaded: all of it, or the decoder beside it; None if all is there."""
    try:
        known = find_known(model)
        return next((file for file in (known.files if known else ()) if not file.path.is_file()), None)
    except (OSError, ValueError):  # missing_reason says it
        return None


def no_decoder_reason(model: str) -> str:
    """Why a model has no segmentation decoder, as far as its name tells; empty if it may have one."""
    if model == EMBEDDED:
        return OTHER_MAPS
    try:
        known = None if find_own(model) is not None else find_known(model)
        if known is None:  # its file says it when it is loaded
            return ""
        if known.decoder is None:
            return "it was published without one"
        hint = known.decoder.by_hand if is_offline() else "press Download decoder"
        return "" if known.decoder.path.is_file() else f"its file is not on this computer: {hint}"
    except (OSError, ValueError):
        return ""


def missing_reason(model: str) -> str | None:
    """Why a model cannot be loaded, as far as a look at the disk tells; None if it seems fine."""
    if not model.strip():
        return "choose a checkpoint file"
    try:
        known = find_known(model)
        if known is not None:
            hint = known.by_hand if is_offline() else "press Download"
            return None if known.path.is_file() else f"{model!r} is not on this computer: {hint}"
        if own := find_own(model):
            return None if own.file.is_file() else f"there is no file {own.file}, which models.toml names"
        path = embedded_path() if model == EMBEDDED else expanded(model)
        return None if path.is_file() else f"there is no file {path}"
    except OSError as error:  # a name that is too long, or a folder that is not the user's
        return f"{error.filename} cannot be read ({error.strerror})"
    except ValueError as error:  # in the home folder of nobody
        return str(error)
