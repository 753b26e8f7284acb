"""PGM and PPM, of which Pillow and OpenCV scale values, or reduce those of 16 bit to 8."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d+)")  # comments may stand before each number of the header
_COMMENT = re.compile(rb"#[^\r\n]*")
_AS_TEXT, _IN_COLOUR = (b"P2", b"P3"), (b"P3", b"P6")


def is_pnm(content: bytes) -> bool:
    """Whether this is grey or colour; pictures in black and white, and of floats, Pillow reads as they are."""
    return content[:2] in (b"P2", b"P3", b"P5", b"P6")


def read_pnm(content: bytes) -> NDArray[Any]:
    """(Y, X) or (Y, X, 3) as stored: uint8, or uint16 if values may be above 255. ``ValueError`` for a cut file."""
    header, position = [], 2
    for _ in range(3):
        found = _NUMBER.match(content, position)
        if found is None:
            raise ValueError("its header is cut off")
        header.append(int(found[1]))
        position = found.end()
    width, height, highest = header
    shape = (height, width, 3) if content[:2] in _IN_COLOUR else (height, width)
    count = int(np.prod(shape))
    dtype = np.dtype(np.uint8 if highest < 256 else np.uint16)
    if content[:2] in _AS_TEXT:
        text = _COMMENT.sub(b"", content[position:])
        return np.array(text.split(maxsplit=count)[:count], dtype=np.int64).astype(dtype).reshape(shape)
    values = np.frombuffer(content, dtype.newbyteorder(">"), count, position + 1)  # one space, and then the values
    return values.astype(dtype).reshape(shape)
