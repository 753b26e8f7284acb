"""Hashes of files: of checkpoints, to trust them, and of images, to recognise them."""

import hashlib
from pathlib import Path
from typing import Literal

import xxhash


def hash_file(path: Path, algorithm: Literal["sha256", "xxh128"] | str = "sha256") -> str:
    """Hex digest of a file. xxh128, which micro-sam publishes, is not in the standard library."""
    with path.open("rb") as file:
        # xxhash has hashlib's interface; file_digest reads pieces, so a checkpoint of 2.6 GB takes no memory
        digest = xxhash.xxh128 if algorithm == "xxh128" else algorithm
        return str(hashlib.file_digest(file, digest).hexdigest())
