"""The files that ``torch.save`` writes: what was saved, and the bytes of single tensors. Free of torch.

Today's are zip archives with one pickle and a file for each storage; before torch 1.6 pickles and storages stood
one after another. Only what is asked for is read, so the state of an optimiser costs nothing, and what a file
claims about its size is never believed: a zip file of 1.5 MB can unfold to gigabytes.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from napari_sam_amg.models.pickled import MAX_BYTES, Stored, read_pickle
from napari_sam_amg.models.pickled_tensors import SIZES, TensorEntry, storage_of
from napari_sam_amg.models.registry import CheckpointError

_ZIP = b"PK\x03\x04"  # what torch.save writes
_PICKLE = b"\x80"  # what torch.save wrote before torch 1.6
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of such a file
#: What the zip library and seeking raise on a damaged file.
_DAMAGED = (ValueError, OverflowError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error, struct.error)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that torch reads, too
_MAX_DIRECTORY = 4_000_000  # bytes of a zip file's list of entries; that of a vit_h with its optimiser has 0.2 MB
_PIECE = 1 << 20  # bytes
_LOCAL_HEADER = 30  # bytes in front of an entry of a zip file, before its name
#: Bytes that are unfolded of all compressed entries; a vit_h has 2.6 GB. A view of a compressed storage is reached only
#: by unfolding what stands before it, once for every tensor.
_MAX_UNFOLDED = 8 << 30


@dataclass(frozen=True, slots=True)
class Archive:
    """An open file."""

    content: Any  # what was saved; tensors and objects as they stand in the pickle, see pickled_tensors.as_tensor
    _read: Callable[[str, int, int], bytearray]

    def numbers(self, tensor: TensorEntry) -> bytearray:
        """The little-endian bytes of a tensor's numbers, from the first to the last; ``CheckpointError`` if damaged."""
        width = SIZES[tensor.dtype]
        return self._read(tensor.storage, tensor.first * width, tensor.extent * width)


class _Pieces(io.BufferedReader):
    """Refuses to read much at once: the zip library reads the list of entries so, whatever length is claimed."""

    most = MAX_BYTES + 1  # bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise zipfile.BadZipFile(f"a list of entries of {size} bytes")
        return super().read(size)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open what ``torch.save`` wrote, as an :class:`Archive`; a ``CheckpointError`` says what is wrong, not where."""
    try:
        if path.is_dir():
            raise CheckpointError("is a folder, not a file")
        if path.exists() and not path.is_file():  # to open a FIFO waits for somebody who writes
            raise CheckpointError("is no regular file")
        with _Pieces(io.FileIO(path)) as file:
            yield _archive(file)
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror or error})") from error
    except CheckpointError:
        raise
    except _DAMAGED as error:
        raise CheckpointError(f"truncated or damaged ({str(error)[:120]})") from error


def _archive(file: _Pieces) -> Archive:
    start = file.read(16)
    file.seek(0)
    if not start:
        raise CheckpointError("is empty (0 bytes)")
    if start.startswith(_ZIP):
        return _zip_archive(file)
    if start.startswith(_PICKLE):
        return _old_archive(file)
    if start[8:10] == b'{"':  # after the length of the list that begins here, 8 bytes
        raise CheckpointError(
            "is a safetensors file, not PyTorch's: write it anew with "
            "torch.save(safetensors.torch.load_file('FILE'), 'my_model.pt')"
        )
    raise CheckpointError(f"not a PyTorch file, it begins with {start!r}")


def _zip_archive(file: _Pieces) -> Archive:
    file.most = _MAX_DIRECTORY
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) < len(archive.infolist()):  # which of them is meant, programs decide differently
        raise CheckpointError("damaged: several of its entries have the same name")
    # torch puts everything into a folder named like the file, or "archive" where it writes to a buffer
    names = [name for name in entries if name.partition("/")[2] == "data.pkl" or name == "data.pkl"]
    prefix = names[0].removesuffix("data.pkl") if names else ""
    if f"{prefix}constants.pkl" in entries or any(name.startswith(f"{prefix}code/") for name in entries):
        raise CheckpointError("is a TorchScript program, not a state dict: save model.state_dict() where it was made")
    if len(names) != 1:
        raise CheckpointError(f"truncated or damaged, or a zip file of another program ({len(names)} data.pkl in it)")
    if f"{prefix}byteorder" in entries and _unfold(archive, entries[f"{prefix}byteorder"], 0, 3) == b"big":
        raise CheckpointError("was written on a computer with another order of bytes: save it anew on this one")
    pickle = entries[names[0]]
    if pickle.file_size > MAX_BYTES:
        raise CheckpointError(f"damaged: its data.pkl has {pickle.file_size} bytes, allowed are {MAX_BYTES}")
    content = read_pickle(io.BytesIO(_unfold(archive, pickle, 0, pickle.file_size)))
    unfolded = 0  # bytes

    def read(key: str, first: int, count: int) -> bytearray:
        entry = entries.get(f"{prefix}data/{key}")
        # a stored entry of which fewer bytes are there than it says would go on in the next one's
        plain = entry is not None and entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
        if entry is None or (min(entry.file_size, entry.compress_size) if plain else entry.file_size) < first + count:
            raise CheckpointError(f"truncated or damaged (storage {key[:20]!r} is not whole)")
        if plain:
            return _copy(archive, file, entry, first, count)
        nonlocal unfolded
        unfolded += first + count
        if unfolded > _MAX_UNFOLDED:
            raise CheckpointError("is compressed so that it unfolds to absurdly much: save it anew with torch.save")
        return _unfold(archive, entry, first, count)

    return Archive(content, read)


def _copy(archive: zipfile.ZipFile, file: BinaryIO, entry: zipfile.ZipInfo, first: int, count: int) -> bytearray:
    """Bytes of an entry that is not compressed; without its checksum, which torch can be told not to write."""
    archive.open(entry).close()  # finds out whether it is there and is the one that the list of entries names
    file.seek(entry.header_offset)
    name_and_extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[26:])
    return _exactly(file, entry.header_offset + _LOCAL_HEADER + sum(name_and_extra) + first, count)


def _unfold(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, first: int, count: int) -> bytearray:
    """Bytes of an entry that may be compressed; never more in memory than a piece beside the result."""
    if entry.compress_type not in _METHODS or entry.flag_bits & 1:
        raise CheckpointError("is a zip file that is encrypted or compressed in a way that torch does not know")
    found = bytearray()  # grows with what is there, never with what is claimed
    with archive.open(entry) as source:
        while first > 0 and (skipped := len(source.read(min(first, _PIECE)))):
            first -= skipped
        while len(found) < count and (piece := source.read(min(count - len(found), _PIECE))):
            found += piece
    if len(found) < count:
        raise CheckpointError("truncated or damaged (an entry is shorter than it says)")
    return found


def _old_archive(file: BinaryIO) -> Archive:
    if read_pickle(file) != _MAGIC:
        raise CheckpointError("damaged, or a pickle that torch.save did not write")
    read_pickle(file)  # version of the format, 1001 in all of them
    about = read_pickle(file)
    if isinstance(about, dict) and about.get("little_endian") is False:
        raise CheckpointError("was written on a computer with another order of bytes: save it anew on this one")
    stored: list[Stored] = []
    content = read_pickle(file, stored)
    widths = {storage.key: SIZES[storage.dtype] for pid in stored if (storage := storage_of(pid)) is not None}
    places = _old_places(file, read_pickle(file), widths)

    def read(key: str, first: int, count: int) -> bytearray:
        start, size = places.get(key, (0, 0))
        if size < first + count:
            raise CheckpointError(f"truncated or damaged (storage {key[:20]!r} is not whole)")
        return _exactly(file, start + first, count)

    return Archive(content, read)


def _old_places(file: BinaryIO, keys: Any, widths: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Where in the file the bytes of each storage begin, and how many there are; each stands after its length."""
    if not isinstance(keys, list):
        raise CheckpointError("truncated or damaged (no list of storages)")
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        (length,) = struct.unpack("<q", _exactly(file, file.tell(), 8))
        if not isinstance(key, str) or key not in widths or length < 0:
            raise CheckpointError("truncated or damaged (its storages are not those of its tensors)")
        places[key] = file.tell(), length * widths[key]
        file.seek(length * widths[key], io.SEEK_CUR)
    return places


def _exactly(file: BinaryIO, start: int, count: int) -> bytearray:
    """So many bytes of a file, which are known to be there before memory is taken for them."""
    if start + count > os.fstat(file.fileno()).st_size:
        raise CheckpointError("truncated or damaged (it ends within its numbers)")
    found = bytearray(count)
    file.seek(start)
    if file.readinto(found) != count:  # type: ignore[attr-defined]
        raise CheckpointError("was shortened while it was read")
    return found
