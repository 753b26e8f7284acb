"""Arrays in NumPy's own format (.npy)."""

from pathlib import Path

import numpy as np

from napari_sam_amg.io.raw_image import RawImage


def read_npy(path: Path) -> RawImage:
    """An array (..., Y, X), of which no more is read than is asked for.

    Raises ``ValueError`` for Python objects, which to load is to run code, for damaged files, and for fewer than two
    axes.
    """
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "object" not in str(error):
            raise ValueError(f"the file is cut off or damaged: {error}") from error
        raise ValueError(
            "it holds Python objects, as Cellpose's _seg.npy does: allowed are arrays of numbers; "
            "save the masks alone, with numpy.save or as TIFF"
        ) from error
    if data.ndim < 2:
        raise ValueError(f"an array of shape {data.shape} is no image: allowed are (Y, X) and stacks of it")
    return RawImage(data, "Q" * (data.ndim - 2) + "YX")
