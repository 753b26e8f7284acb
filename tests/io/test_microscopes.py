"""ND2, LIF and CZI through their libraries: axes, sizes, scenes, channels, and what is said of files that are none."""

import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from napari_sam_amg.io.images import image_kind, open_image
from tests.microscope_files import write_czi, write_lif, write_nd2

EIGHT_BIT = np.random.default_rng(0).integers(0, 200, (2, 3, 20, 30)).astype(np.uint8)
SIXTEEN_BIT = np.random.default_rng(1).integers(0, 60000, (3, 2, 4, 2, 20, 30)).astype(np.uint16)  # (T, P, Z, C, Y, X)


def check(path: Path, expected: Any, series: int | None, channel: int | None = None) -> Any:
    """Every plane of an image; what was read."""
    with open_image(path, channel, series) as source:
        assert source.stack.stack_shape == expected.shape[: len(source.stack_axes)]
        for index in source.stack.indices:
            np.testing.assert_array_equal(source.stack.plane(index), expected[index])
        return source


def test_nd2_gives_stacks_by_position_and_channel(tmp_path: Path) -> None:
    loops = [("T", 3, 500.0), ("P", 2, 0.0), ("Z", 4, 2.5)]
    path = write_nd2(tmp_path / "a.nd2", SIXTEEN_BIT, loops, 0.25, ["DAPI", "GFP"])
    assert image_kind(path) == "ND2"
    source = check(path, SIXTEEN_BIT[:, 0, :, 0], None)
    assert source.note == "series 0 of 0..1 (--series chooses), channel 0 (DAPI) of 0..1 (--channel chooses)"
    source = check(path, SIXTEEN_BIT[:, 1, :, 1], 1, 1)
    assert (source.raw.axes, source.stack_axes, source.note) == ("TZCYX", "TZ", "")
    assert (source.sizes("YX"), source.raw.micrometres("Z"), source.raw.seconds) == ((0.25, 0.25), 2.5, 0.5)
    with pytest.raises(ValueError, match=r"^series=2 is not in this file: allowed is 0 to 1"):
        check(path, SIXTEEN_BIT, 2)


def test_a_single_frame_of_nd2_is_a_plane(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", SIXTEEN_BIT[0, 0, 0], [], 0.25, ["DAPI", "GFP"])
    source = check(path, SIXTEEN_BIT[0, 0, 0, 1], None, 1)
    assert (source.raw.axes, source.raw.micrometres("Z"), source.raw.seconds) == ("CYX", None, None)


def test_lif_gives_its_images_by_series(tmp_path: Path) -> None:
    images = {
        "stack": ("ZYX", EIGHT_BIT[0], {"Z": -2e-6, "Y": 5e-7, "X": 2.5e-7}),
        "film": ("TCYX", SIXTEEN_BIT[:, 0, 0], {"T": 3.0, "Y": 1e-6, "X": 1e-6}),
        "side": ("YZX", np.pad(EIGHT_BIT[0], ((0, 9), (0, 5), (0, 9))), {"Y": 1e-6, "Z": 2e-6, "X": 3e-6}),
    }
    path = write_lif(tmp_path / "a.lif", images)
    assert image_kind(path) == "LIF"
    source = check(path, EIGHT_BIT[0], 0)
    assert (source.raw.axes, source.note, source.raw.micrometres("Z")) == ("ZYX", "", pytest.approx(2))
    assert source.sizes("YX") == (pytest.approx(0.5), pytest.approx(0.25))
    source = check(path, SIXTEEN_BIT[:, 0, 0, 1], 1, 1)
    assert (source.raw.axes, source.stack_axes, source.raw.seconds) == ("TCYX", "T", 3.0)
    # planes that were scanned along x and z are turned to those of x and y
    source = check(path, images["side"][1].transpose(1, 0, 2), None)
    assert (source.stack_axes, source.plane_axes) == ("Z", "YX")
    assert source.note == "series 2 (side) of 0..2 (--series chooses)"


METADATA = """<ImageDocument><Metadata><Information><Image><Dimensions><Channels>
<Channel Id="Channel:0" Name="DAPI"/><Channel Id="Channel:1" Name="GFP"/></Channels>
<T><Positions><Interval><Increment>4</Increment></Interval></Positions></T></Dimensions></Image></Information>
<Scaling><Items><Distance Id="X"><Value>2.5E-07</Value></Distance><Distance Id="Y"><Value>5E-07</Value></Distance>
<Distance Id="Z"><Value>2E-06</Value></Distance></Items></Scaling></Metadata></ImageDocument>"""


def tiles(plane: Any, scene: int, **at: int) -> Any:
    """Two tiles that overlap by 10 px, the second one on top, somewhere on the stage."""
    corner = {"X": 100, "Y": -50, "S": scene, **at}
    covered = plane[:, :20].copy()
    covered[:, 10:] = 0
    return [
        (corner | {"M": 1, "X": 110}, plane[:, 10:], 0, None),
        (corner | {"M": 0}, covered, 0, None),
    ]


def test_czi_gives_scenes_put_together_from_tiles(tmp_path: Path) -> None:
    blocks = [
        block
        for scene in (0, 1) for z in range(3) for channel in (0, 1)
        for block in tiles(SIXTEEN_BIT[z, scene, 0, channel], scene, Z=z + 5, C=channel)
    ]  # fmt: skip
    path = write_czi(tmp_path / "a.czi", blocks, METADATA)
    assert image_kind(path) == "CZI"
    source = check(path, SIXTEEN_BIT[:, 1, 0, 1], 1, 1)
    assert (source.raw.axes, source.stack_axes, source.raw.channels) == ("ZCYX", "Z", ("DAPI", "GFP"))
    assert (source.sizes("YX"), source.raw.micrometres("Z"), source.raw.seconds) == ((0.5, 0.25), 2.0, 4.0)
    source = check(path, SIXTEEN_BIT[:, 0, 0, 0], None)
    assert source.note == "series 0 of 0..1 (--series chooses), channel 0 (DAPI) of 0..1 (--channel chooses)"


def hi_lo(pixels: Any) -> bytes:
    """All low bytes, then all high ones, as ZEN packs 16 bits."""
    return pixels.view(np.uint8).reshape(-1, 2).T.tobytes()


PLANE = SIXTEEN_BIT[0, 0, 0, 0]
COLOUR = EIGHT_BIT.reshape(20, 30, 6)[..., :3].copy()


@pytest.mark.parametrize(
    ("pixels", "compression", "packed"),
    [
        (COLOUR, 0, None),
        (PLANE, 5, imagecodecs.zstd_encode(PLANE.tobytes())),
        (PLANE, 6, b"\x01" + imagecodecs.zstd_encode(PLANE.tobytes())),
        (PLANE, 6, b"\x03\x01\x00" + imagecodecs.zstd_encode(PLANE.tobytes())),
        (PLANE, 6, b"\x03\x01\x01" + imagecodecs.zstd_encode(hi_lo(PLANE))),
        (COLOUR, 6, b"\x01" + imagecodecs.zstd_encode(COLOUR[..., ::-1].tobytes())),
    ],
)
def test_czi_of_any_compression_and_in_colour(pixels: Any, compression: int, packed: Any, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", [({"X": 0, "Y": 0}, pixels, compression, packed)])
    source = check(path, pixels, None)
    assert source.stack.rgb == (pixels.ndim == 3)
    assert (source.raw.stated, source.raw.channels) == ({}, ())


def test_a_plane_of_czi_that_is_missing_is_said(tmp_path: Path) -> None:
    blocks = [({"X": 0, "Y": 0, "Z": z}, PLANE, 0, None) for z in (0, 2)]
    with open_image(write_czi(tmp_path / "a.czi", blocks)) as source:
        assert source.stack.stack_shape == (3,)
        np.testing.assert_array_equal(source.stack.plane((2,)), PLANE)
        with pytest.raises(ValueError, match="plane 1 cannot be read: it is not in the file"):
            source.stack.plane((1,))


@pytest.mark.parametrize(("start", "kind"), [(b"\xda\xce\xbe\n", "ND2"), (b"p\0\0\0", "LIF"), (b"ZISRAWFILE", "CZI")])
def test_damaged_files_are_said_in_a_line(start: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(start + bytes(200))
    assert image_kind(path) == kind
    with pytest.raises(ValueError, match=f"the {kind} file is damaged: ") as raised, open_image(path):
        pass
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("package", "extra"), [("nd2", "nd2"), ("liffile", "lif"), ("czifile", "czi")])
def test_a_missing_library_is_said_with_its_extra(
    package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = {
        "nd2": lambda: write_nd2(tmp_path / "a", SIXTEEN_BIT[0, 0, 0], [], 1.0, ["a", "b"]),
        "lif": lambda: write_lif(tmp_path / "a", {"a": ("YX", EIGHT_BIT[0, 0], {})}),
        "czi": lambda: write_czi(tmp_path / "a", [({"X": 0, "Y": 0}, PLANE, 0, None)]),
    }[extra]()
    with open_image(path):
        pass
    monkeypatch.setitem(sys.modules, package, None)
    message = f"{extra.upper()} files are read by the package {package}, which is not installed: "
    with pytest.raises(ValueError, match=message + rf"pip install napari-sam-amg\[{extra}\]"), open_image(path):
        pass
