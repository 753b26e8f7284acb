"""Small checkpoint files: weights in float16 of fewer digits, in a compressed zip.

``torch.save`` writes a zip file without compression, and the digits of trained weights look random, so there is
little to compress. Rounded to the precision of bfloat16 they keep what 16-bit arithmetic would, and float16's last
three bits, now zero, compress to nothing. ``torch.load`` reads such a file as any other, only not with ``mmap=True``.
"""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.state import save_atomically

MANTISSA_BITS = 7  # as bfloat16 has; float16 has 10


def to_half(value: Tensor) -> Tensor:
    """Matrices in float16 with 8 significant bits, at least a float16's smallest normal number in size or exact.

    Vectors stay: batch-norm variances would underflow, and they are small.
    """
    if not value.is_floating_point() or value.ndim < 2:
        return value.clone()
    mantissa, exponent = torch.frexp(value.float())
    steps = 2.0 ** (MANTISSA_BITS + 1)
    return torch.ldexp((mantissa * steps).round() / steps, exponent).half().contiguous()


def save_compactly(content: dict[str, Any], path: Path) -> None:
    """``save_atomically``, compressed."""
    save_atomically(content, path, compress)


def compress(path: Path) -> None:
    """Compress what ``torch.save`` wrote, in its place."""
    with zipfile.ZipFile(path) as plain:
        entries = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as small:
        for name, entry in entries.items():
            small.writestr(zipfile.ZipInfo(name), entry, zipfile.ZIP_DEFLATED, 9)  # without the time of day
