"""Zeiss LSM with two channels: what tifffile mends in old files, left alone in the others."""

import tifffile

_BITS = (8, 12, 16, 32)  # a sample, as Zeiss stores them
_mend = tifffile.TiffTag._fix_lsm_bitspersample


def _mend_old(tag: tifffile.TiffTag) -> None:
    """Follow the offset that old writers put in place of the bits of two samples, if it is one.

    tifffile takes the two numbers for an offset in every file, also where they are the bits: it then reads behind
    the end of the file, or takes for bits what is stored there.
    """
    if not (tag.count == 2 and all(bits in _BITS for bits in tag.value)):
        _mend(tag)


def spare_two_channels() -> None:
    """Teach tifffile to look first."""
    setattr(tifffile.TiffTag, "_fix_lsm_bitspersample", _mend_old)  # noqa: B010 - types know no such assignment
