"""Files whose description and pages do not agree: the planes that exist, with a note, and none that nobody made."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sam_amg.io import tiff_log
from napari_sam_amg.io.images import open_image

Array = NDArray[Any]
S = np.random.default_rng(0).integers(1, 60000, (6, 16, 20)).astype(np.uint16)  # no plane is black
RGB = np.random.default_rng(1).integers(0, 256, (16, 20, 3)).astype(np.uint8)
PLAIN = {"photometric": "minisblack", "metadata": None}


def read(path: Path, *choices: Any) -> tuple[list[Array], str, str]:
    """Planes, their axes, and the note."""
    with open_image(path, *choices) as source:
        return [source.stack.plane(index) for index in source.stack.indices], source.stack_axes, source.note


def same(found: list[Array], wanted: Any) -> bool:
    return len(found) == len(wanted) and all(map(np.array_equal, found, wanted))


def ome(z: int = 1, c: int = 1, t: int = 1, places: str = "<TiffData/>", uuid: str = "") -> str:
    return (
        f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}>'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="20" SizeY="16" '
        f'SizeC="{c}" SizeZ="{z}" SizeT="{t}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{places}</Pixels>'
        "</Image></OME>"
    )


def imagej(**counts: int) -> str:
    lines = {"ImageJ": "1.54f", "images": np.prod(list(counts.values()))} | counts
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def some(*places: int) -> str:
    return "".join(f'<TiffData IFD="{page}" FirstZ="{z}" PlaneCount="1"/>' for page, z in enumerate(places))


MISSING = "of the {} planes that its description names are in the file, missing: {} (counted from 0)"
#: Description, number of pages, the planes that are to be read, axes, and what the note says.
LIES: dict[str, tuple[str, int, Any, str, str]] = {
    "OME of more": (ome(z=6), 3, S[:3], "Z", "3 " + MISSING.format(6, "Z 3..5")),
    "OME of fewer": (ome(z=3), 6, S, "Z", "names 3 planes, 6 are in the file: all are read"),
    "OME of fewer, channels": (ome(z=1, c=2), 6, S[::2], "I", "names 2 planes, 6 are in the file"),
    "OME with holes": (ome(8, 1, 1, some(0, 1, 3, 4, 6, 7)), 6, S, "Z", "6 " + MISSING.format(8, "Z 2, 5")),
    "ImageJ of more": (imagej(slices=6), 3, S[:3], "Z", "3 " + MISSING.format(6, "Z 3..5")),
    "ImageJ of fewer": (imagej(slices=2), 6, S, "Z", "names 2 planes, 6 are in the file: all are read"),
    "ImageJ of more, channels": (imagej(channels=2, slices=6), 6, S[::2], "Z", "6 " + MISSING.format(12, "Z 3..5")),
    "shape of more": ('{"shape": [4, 16, 20]}', 2, S[:2], None, ""),
    "shape of fewer": ('{"shape": [2, 16, 20]}', 6, S, "I", "its description does not fit its pages"),
    "XML that is none": ("<OME><Image></OME>", 6, S, None, "its OME description cannot be read"),
    "description elsewhere": (
        '<?xml version="1.0"?><OME xmlns="OME"><BinaryOnly MetadataFile="x.companion.ome"/></OME>',
        6, S, "I", "its description is in another file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize(("description", "pages", "planes", "axes", "note"), LIES.values(), ids=LIES)
def test_planes_are_those_that_exist(
    description: str, pages: int, planes: Any, axes: str | None, note: str, compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, S[:pages], description=description, compression=compression, **PLAIN)
    found, letters, said = read(path)
    assert same(found, planes)
    assert axes is None or letters == axes
    assert note in said
    assert said or description.startswith("<OME>")


HUGE = 10**9
CLAIMS = {
    "OME": (ome(z=HUGE), "it names 1000000000 planes, more than the file has bytes"),
    "OME, all axes": (ome(z=HUGE, c=HUGE, t=HUGE), "more than the file has bytes"),
    "ImageJ": (imagej(slices=HUGE), "its description does not fit its pages"),
    "shape": (f'{{"shape": [{HUGE}, 16, 20]}}', "more than the file has bytes"),
    "OME without places": (ome(z=6, places=""), "its description does not fit its pages"),
    "OME of no planes": (ome(z=0), "its description does not fit its pages"),
}


@pytest.mark.parametrize(("description", "note"), CLAIMS.values(), ids=CLAIMS)
def test_claims_that_no_file_can_hold_cost_no_memory(description: str, note: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, S, description=description, **PLAIN)
    tracemalloc.start()
    found, _, said = read(path)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same(found, S)
    assert note in said
    assert highest < 2**26


def test_a_chain_of_pages_that_leads_into_noise_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every four bytes behind the header are read as a page with tens of thousands of tags."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, S[0], **PLAIN)
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].offset + 2 + 12 * len(file.pages[0].tags)
    content = bytearray(path.read_bytes()) + bytes(range(256)) * 40
    content[place : place + 4] = (len(content) - 256 * 40).to_bytes(4, "little")
    path.write_bytes(content)
    monkeypatch.setattr(tiff_log, "_PATIENCE", 100)
    with pytest.raises(ValueError, match="damaged or cut short: more than 100 of its tags are wrong"):
        read(path)


def test_single_planes_that_are_missing_are_named_when_they_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", S[:5], description=ome(z=3, t=2), **PLAIN)
    with open_image(tmp_path / "a.ome.tif") as source:
        assert source.note == "5 of the 6 planes that its description names are in the file"
        assert np.array_equal(source.stack.plane((1, 1)), S[4])
        with pytest.raises(ValueError, match=r"the plane T 1, Z 2 \(counted from 0\) is not in the file"):
            source.stack.plane((1, 2))


@pytest.mark.parametrize("name", ["t1.ome.tif", "renamed.ome.tif"])
def test_of_a_set_of_files_those_planes_that_are_in_this_one(name: str, tmp_path: Path) -> None:
    places = "".join(
        f'<TiffData IFD="{i % 2}" FirstT="{i // 2}" FirstZ="{i % 2}" PlaneCount="1">'
        f'<UUID FileName="t{i // 2}.ome.tif">urn:uuid:{i // 2}</UUID></TiffData>'
        for i in range(6)
    )
    tifffile.imwrite(tmp_path / "t0.ome.tif", S[:2], description=ome(2, 1, 3, places), **PLAIN)
    uuid = ' UUID="urn:uuid:1"'
    tifffile.imwrite(tmp_path / name, S[2:4], description=ome(2, 1, 3, places, uuid), **PLAIN)
    found, axes, note = read(tmp_path / name)
    assert same(found, S[2:4])
    assert axes == "TZ"
    assert note.startswith("planes in other files of its set are left out, 2 of the 6 planes")
    assert "missing: T 0, 2" in note


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT", "XYTCZ", "XYCTZ", "XYZTC", "XYTZC"])
def test_every_order_of_dimensions_of_ome(order: str, tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 2 * 16 * 20, dtype=np.uint16).reshape(2, 3, 2, 16, 20)  # TZCYX
    axes = order[::-1]
    stored = array.transpose(["TZCYX".index(axis) for axis in axes])
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stored, metadata={"axes": axes}, byteorder=">", compression="lzw",
        photometric="minisblack",
    )  # fmt: skip
    with open_image(tmp_path / "a.ome.tif", 1) as source:
        for index in source.stack.indices:
            at = dict(zip(source.stack_axes, index, strict=True))
            assert np.array_equal(source.stack.plane(index), array[at["T"], at["Z"], 1])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("lengths", [(1, 1, 1), (2, 2), (2, 3, 1)])
def test_frames_that_were_appended_are_one_stack(
    lengths: tuple[int, ...], compression: str | None, tmp_path: Path
) -> None:
    path, first = tmp_path / "a.tif", 0
    for length in lengths:
        frames = S[first] if set(lengths) == {1} else S[first : first + length]
        tifffile.imwrite(path, frames, append=first > 0, photometric="minisblack", compression=compression)
        first += length
    found, _, note = read(path)
    assert same(found, S[:first])
    assert note == ""


def several(path: Path, **flags: Any) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB[:8, :8], photometric="rgb", **flags)
        writer.write(S[0], photometric="minisblack")
        writer.write(S[1:3, :12], photometric="minisblack")


@pytest.mark.parametrize("flags", [{}, {"subfiletype": 1}, {"subfiletype": 1, "metadata": None}])
def test_the_main_image_is_not_the_thumbnail_in_front(flags: dict[str, Any], tmp_path: Path) -> None:
    several(tmp_path / "a.tif", **flags)
    found, _, note = read(tmp_path / "a.tif")
    assert same(found, S[:1])
    assert note == "series 1 of 0..2 (--series chooses)"


def test_series_chooses_and_says_what_is_allowed(tmp_path: Path) -> None:
    several(tmp_path / "a.tif")
    for series, wanted in ((0, [RGB[:8, :8]]), (1, S[:1]), (2, S[1:3, :12])):
        found, _, note = read(tmp_path / "a.tif", None, series)
        assert same(found, wanted)
        assert note == ""
    for path, allowed in ((tmp_path / "a.tif", "0 to 2"), (tmp_path / "a.png", "0")):
        Image.fromarray(RGB).save(tmp_path / "a.png")
        with pytest.raises(ValueError, match=f"series=3 is not in this file: allowed is {allowed}$"):
            read(path, None, 3)


def test_pages_may_differ_in_their_compression(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number in range(9):
            writer.write(S[number % 6], compression="zlib" if number == 3 else None, **PLAIN)
    found, _, _ = read(tmp_path / "a.tif")
    assert same(found, [S[number % 6] for number in range(9)])


def test_imagej_stack_behind_one_page_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, S, imagej=True, truncate=True, metadata={"axes": "ZYX"})
    assert same(read(path)[0], S)
    os.truncate(path, path.stat().st_size - 2 * S[0].nbytes - 7)
    found, axes, note = read(path)
    assert same(found, S[:3])
    assert axes == "Z"
    assert "3 of the 6 planes that its description names are in the file, missing: Z 3..5" in note


@pytest.mark.parametrize("planes", [1, 3, 5])
def test_uncompressed_stack_that_is_cut_short_gives_its_whole_planes(planes: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, S, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    os.truncate(path, start + planes * S[0].nbytes + 100)
    found, _, note = read(path)
    assert same(found, S[:planes])
    assert "the file is cut short or damaged: more pages were meant to follow" in note


@pytest.mark.parametrize("compression", ["lzw", "zlib", "jpeg"])
def test_a_damaged_page_fails_by_name_and_the_others_are_read(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stack = (S >> 8).astype(np.uint8)
    tifffile.imwrite(path, stack, compression=compression, **PLAIN)
    with tifffile.TiffFile(path) as file:
        place, size = file.pages[2].dataoffsets[0], file.pages[2].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[place : place + size] = bytes(size)
    path.write_bytes(content)
    with open_image(path) as source:
        with pytest.raises(ValueError, match=r"^page 2 of the TIFF file cannot be read: "):
            source.stack.plane((2,))
        assert source.stack.plane((3,)).shape == (16, 20)
        assert compression == "jpeg" or np.array_equal(source.stack.plane((3,)), stack[3])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_that_changes_while_it_is_read_is_an_error_for_its_planes(
    compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, S, compression=compression, photometric="minisblack")
    with open_image(path) as source:
        assert np.array_equal(source.stack.plane((0,)), S[0])
        os.truncate(path, 1000)
        with pytest.raises(ValueError, match=r"the file was cut short while it was read, from .* to 1000 bytes"):
            source.stack.plane((1,))
    tifffile.imwrite(path, S, compression=compression, photometric="minisblack")
    with open_image(path) as source:
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(0, 1))
        with pytest.raises(ValueError, match="the file was changed while it was read"):
            source.stack.plane((1,))


def test_pages_without_pixels_are_not_black(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, S[:3], compression="zlib", tile=(16, 16), **PLAIN)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("TileOffsets", "TileByteCounts"):
            file.pages[1].tags[name].overwrite([0, 0])
    with open_image(path) as source:
        assert np.array_equal(source.stack.plane((2,)), S[2])
        with pytest.raises(ValueError, match="page 1 of the TIFF file cannot be read: it has no pixels"):
            source.stack.plane((1,))
