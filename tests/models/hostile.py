"""Pickles and zip files that take more than they seem to, and objects of other libraries in a checkpoint."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

PROTO = b"\x80\x02"


def put_in_zip(path: Path, pickled: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    """A file as ``torch.save`` writes it, with this pickle."""
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/version", "3")


def zip_bomb(path: Path) -> None:
    """0.3 MB of zeros upon zeros: 300 MB, were it read."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a/data.pkl", "w", force_zip64=True) as out,
    ):
        for _ in range(300):
            out.write(bytes(1_000_000))


def bomb_that_lies(path: Path) -> None:
    """The same, where the list of entries says that it has 100 bytes."""
    zip_bomb(path)
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 100)
    path.write_bytes(content)


def long_list_of_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for index in range(60_000):
            file.writestr(f"a/data/{index:0>40}", b"")
        file.writestr("a/data.pkl", pickle.dumps({}, 2))


def many_dicts() -> bytes:
    return PROTO + b"(" + b"}" * 7_000_000 + b"l."


def copied_again_and_again() -> bytes:
    """One list of pairs, of which a call makes a dict, 100,000 times."""
    pairs = b"".join(b"X\x04\x00\x00\x00" + b"%04d" % index + b"N\x86" for index in range(10_000))
    return PROTO + b"(](" + pairs + b"eq\x01" + b"ccollections\nOrderedDict\nh\x01\x85R" * 100_000 + b"l."


def huge_memo() -> bytes:
    return PROTO + b"}r\xff\xff\xff\x7f."


def huge_call() -> bytes:
    """What ``torch.load(weights_only=True)`` would do."""
    return PROTO + b"cbuiltins\nbytearray\n\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85R."


def long_text() -> bytes:
    return PROTO + b"X\xff\xff\xff\x7fabc."


def key_that_takes_years_to_hash() -> bytes:
    """A tuple of the same tuple twice, 100 times over."""
    nested = b")" + b"".join(b"q%ch%c\x86" % (index, index) for index in range(100))
    return PROTO + b"}" + nested + b"K\x01s."


def words_that_take_years_to_print() -> bytes:
    nested = b")" + b"".join(b"q%ch%c\x86" % (index, index) for index in range(100))
    entry = b"X\x06\x00\x00\x00formatX\x10\x00\x00\x00napari-sam-amg/1"
    return (
        PROTO + b"}(" + entry + b"X\x06\x00\x00\x00configNX\x05\x00\x00\x00modelNX\x03\x00\x00\x00amg" + nested + b"u."
    )


def long_number() -> bytes:
    return PROTO + b"\x8b" + struct.pack("<i", 1_000_000) + bytes(999_999) + b"\x01" + b"."


def deep_list() -> bytes:
    return PROTO + b"]" * 100_000 + b"a" * 99_999 + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def names_upon_names() -> bytes:
    """80,000 mappings in one whose name has 4 MB, were each told by its whole path."""
    inner = b"".join(text(f"{index}") + b"}" for index in range(80_000))
    return PROTO + b"}(" + text("k" * 4_000_000) + b"}(" + inner + b"uu."


def wrapped_again_and_again() -> bytes:
    """A parameter of a parameter of a parameter, 60,000 deep, under 60,000 keys."""
    parameter = b"ctorch._utils\n_rebuild_parameter\nq\x010" + b"h\x01" * 60_000 + b"N" + b"\x85R" * 60_000 + b"q\x020"
    return PROTO + parameter + b"}(" + b"".join(text(f"image_encoder.{i}") + b"h\x02" for i in range(60_000)) + b"u."


def tensor_of_many_sides() -> bytes:
    """Its shape has 2 MB in words, and stands in the message once for every key that has another."""
    sides = b"(" + b"M\xff\xff" * 100_000 + b"tq\x010"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00h\x01h\x01\x89NtR"
    return PROTO + sides + b"}" + text("image_encoder.patch_embed.seq.0.c.weight") + tensor + b"s."


def codes_in_a_name() -> bytes:
    """A second line, and red letters, in a terminal that shows the message."""
    return PROTO + b"}" + text("a\n\x1b[31mred") + b"K\x01s."


PICKLES = (
    many_dicts, copied_again_and_again, huge_memo, huge_call, long_text, key_that_takes_years_to_hash,
    words_that_take_years_to_print, long_number, deep_list, names_upon_names, wrapped_again_and_again,
    tensor_of_many_sides, codes_in_a_name,
)  # fmt: skip


def write_all(folder: Path) -> list[Path]:
    """Every hostile file, in a folder: as zip files, and as torch wrote before 1.6."""
    for kind in (zip_bomb, bomb_that_lies, long_list_of_entries):
        kind(folder / f"{kind.__name__}.pt")
    for pickled in PICKLES:
        put_in_zip(folder / f"{pickled.__name__}.pt", pickled())
    for pickled in (many_dicts, huge_memo, long_text):
        head = io.BytesIO()
        for entry in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(entry, head, 2)
        (folder / f"{pickled.__name__}_old.pt").write_bytes(head.getvalue() + pickled() + pickle.dumps([], 2))
    return sorted(folder.iterdir())
