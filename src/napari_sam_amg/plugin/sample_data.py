"""Real images that come with the plugin; SOURCES.md beside them says whose they are."""

from pathlib import Path
from typing import Any

import tifffile

DATA = Path(__file__).parent / "data"
LayerData = tuple[Any, dict[str, Any], str]


def nuclei() -> list[LayerData]:
    """(520, 696) uint16."""
    source = _source("BBBC039v1, Broad Bioimage Benchmark Collection", "CC0 1.0", "Caicedo et al. 2019, Cytometry A")
    return [_layer("nuclei.tif", "nuclei", source)]


def tissue() -> list[LayerData]:
    """(256, 320, 3) uint8."""
    source = _source("BBBC038v1, 2018 Data Science Bowl", "CC0 1.0", "Caicedo et al. 2019, Nature Methods")
    return [_layer("tissue.tif", "stained tissue", source, rgb=True)]


def nuclei_stack() -> list[LayerData]:
    """(31, 61, 57) uint16, z, y, x; the size of its voxels is not published."""
    source = _source("StarDist, img3d.tif", "BSD-3-Clause, Uwe Schmidt and Martin Weigert", "Weigert et al. 2020, WACV")
    return [_layer("nuclei_stack.tif", "nuclei in 3D", source, axis_labels=("z", "y", "x"))]


def electron_microscopy_stack() -> list[LayerData]:
    """(8, 250, 250) uint8, z, y, x; 10 nm in every direction."""
    source = _source("FlyEM, Janelia Research Campus, NeuroProof examples", "CC BY 3.0 US", "FlyEM, Janelia")
    options = {"scale": (10, 10, 10), "units": ("nm",) * 3, "axis_labels": ("z", "y", "x")}
    return [_layer("electron_microscopy_stack.tif", "brain tissue (EM)", source, **options)]


def _layer(file: str, name: str, source: dict[str, str], **options: Any) -> LayerData:
    return tifffile.imread(DATA / file), {"name": name, "metadata": {"source": source}, **options}, "image"


def _source(origin: str, licence: str, cite: str) -> dict[str, str]:
    return {"from": origin, "licence": licence, "cite": cite}
