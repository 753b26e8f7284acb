"""Hashes of files: of checkpoints, to trust them, and of images, to recognise them."""

import hashlib
from pathlib import Path
from typing import Literal

import xxhash


def hash_file(path: Path, algorithm: Literal["sha256", "xxh128"] | str = "sha256") -> str:
    """Hex digest of a file, or of a folder as :func:`_listing` has it.

    xxh128, which micro-sam publishes, is not in the standard library.
    """
    if path.is_dir():
        return hashlib.new(algorithm, _listing(path)).hexdigest()
    with path.open("rb") as file:
        # xxhash has hashlib's interface; file_digest reads pieces, so a checkpoint of 2.6 GB takes no memory
        digest = xxhash.xxh128 if algorithm == "xxh128" else algorithm
        return str(hashlib.file_digest(file, digest).hexdigest())


def _listing(folder: Path) -> bytes:
    """Name, size and time of change of every file in it: a Zarr may be larger than anybody wants to read once more."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found = path.stat()
            lines.append(f"{path.relative_to(folder).as_posix()} {found.st_size} {found.st_mtime_ns}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def hash_contents(folder: Path) -> str:
    """SHA-256 of the names and contents of all files in a folder, which a copy of it has, too."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
        digest.update(b"%d %d " % (len(name), len(content)) + name + content)
    return digest.hexdigest()
