"""What a run is known by: all that decides about what the model finds, as JSON has it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.stored import FREE
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import search_thresholds, versions

FORMAT = "napari-sam-amg work 1"
Identity = Mapping[str, Any]


def identity_of(params: AmgParameters, **parts: Any) -> dict[str, Any]:
    """Of a run with these parameters; ``parts`` are what else decides about its candidates.

    Parameters that act on candidates alone are no part of it: they may change when a run is continued. Of ``link`` that
    is not quite so: objects through z need weaker candidates than are kept otherwise.
    """
    free = may_change(params)
    decisive = {name: value for name, value in dataclasses.asdict(params).items() if name not in free}
    if "link" in free:
        parts = {"link": "z" if params.link == "z" else "none or t"} | parts
    identity: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, "parameters": decisive} | parts))
    return identity


def made_by(model: Model) -> dict[str, Any]:
    """The parts of an identity that say which model, and with which packages."""
    info = model.info
    about: dict[str, Any] = {"name": info.name, "sha256": info.sha256, "decoder_sha256": info.decoder_sha256}
    about["search_thresholds"] = search_thresholds(model)  # which users may give models of their own
    packages = {name: number for name, number in versions().items() if name != "platform"}
    return {"model": about | {"precision": getattr(model, "precision", "exact")}, "versions": packages}


def may_change(params: AmgParameters) -> tuple[str, ...]:
    """Parameters that do not decide about candidates; none with AIS, whose candidates are what it makes in the end."""
    return FREE if params.mode == "amg" else ()


def differences(name: str, old: Any, new: Any) -> str:
    """Where two parts of an identity differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        return ", ".join(differences(key, old.get(key), new.get(key)) for key in differing)
    return f"{name} was {_short(old)}, now it is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
