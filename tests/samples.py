"""The real images that ship with the package."""

from importlib.resources import as_file, files
from typing import Any

import tifffile
from numpy.typing import NDArray


def sample(name: str) -> NDArray[Any]:
    with as_file(files("napari_sam_amg").joinpath("plugin/data", name)) as path:
        return tifffile.imread(path)
