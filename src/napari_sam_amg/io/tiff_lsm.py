"""Zeiss LSM with two channels: what tifffile mends in old files, left alone in the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tifffile

_BITS = (8, 12, 16, 32)  # a sample, as Zeiss stores them
_MENDER = "_fix_lsm_bitspersample"


@contextmanager
def two_channels_spared() -> Iterator[None]:
    """While a file is opened, let tifffile look at a tag before it mends it.

    Old writers of LSM put an offset in place of the bits of two samples. tifffile takes the two numbers for one in
    every file, also where they are the bits: it then reads behind the end of the file, or takes for bits what is
    stored there.
    The method is private: a tifffile that has none is left as it is.
    """
    mend: Any = getattr(tifffile.TiffTag, _MENDER, None)

    def mend_offsets(tag: Any, *parent: Any) -> None:
        if not (tag.count == 2 and all(bits in _BITS for bits in tag.value)):
            mend(tag, *parent)

    if mend is not None:
        setattr(tifffile.TiffTag, _MENDER, mend_offsets)
    try:
        yield
    finally:
        if mend is not None:
            setattr(tifffile.TiffTag, _MENDER, mend)
