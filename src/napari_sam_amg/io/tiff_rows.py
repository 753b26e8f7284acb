"""Some rows of a page of a TIFF file: only the strips or tiles that hold them are read and decoded."""

from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_JPEG = (6, 7, 34892, 33007)  # compressions whose tables stand apart from the segments


def rows_at_once(keyframe: tifffile.TiffPage) -> int:
    """How many rows must be decoded to get at one: 1 where pixels lie as they are, all of them in a single strip."""
    if keyframe.is_final:
        return 1
    height = int(keyframe.imagelength)
    return min(int(keyframe.tilelength if keyframe.is_tiled else keyframe.rowsperstrip), height)


def can_be_cut(keyframe: tifffile.TiffPage) -> bool:
    """Whether :func:`page_rows` reads pages like this one: several strips or tiles, none of which is a volume."""
    is_one_strip_after_all = keyframe.jpegheader is not None  # as NDPI has it
    return rows_at_once(keyframe) < keyframe.imagelength and keyframe.imagedepth == 1 and not is_one_strip_after_all


def page_rows(page: Any, start: int, stop: int) -> NDArray[Any]:
    """Rows ``start`` to ``stop`` - 1 of a page that is not stored as it is: (samples, rows, columns, samples).

    One of the two numbers of samples is 1. As ``TiffPage.asarray`` decodes all of it.
    """
    keyframe = page.keyframe
    handle = page.parent.filehandle
    separate, _, _, width, together = keyframe.shaped
    pixels = np.zeros((separate, stop - start, width, together), keyframe.dtype)
    keyframe.init_decode()
    options: dict[str, Any] = {"_fullsize": False}
    if keyframe.compression in _JPEG:
        options |= {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
    height = rows_at_once(keyframe)
    down = -(-keyframe.imagelength // height)
    across = -(-width // keyframe.tilewidth) if keyframe.is_tiled else 1
    for sample in range(separate):
        first = (sample * down + start // height) * across
        last = (sample * down + -(-stop // height)) * across
        wanted = list(range(first, last))
        offsets, counts = ([column[at] for at in wanted] for column in (page.dataoffsets, page.databytecounts))
        for data, index in handle.read_segments(offsets, counts, wanted, sort=True):
            segment, (_, _, top, left, _), shape = keyframe.decode(data, index, **options)
            low, high = max(top, start), min(top + shape[1], stop, keyframe.imagelength)
            if low < high:
                part = keyframe.nodata if segment is None else segment[0, low - top : high - top, : width - left]
                pixels[sample, low - start : high - start, left : left + shape[2]] = part
    return pixels
