"""Small files of three microscopes, byte by byte as their libraries read them: the formats have no free writers."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

CHUNK, MAP, FILE = (
    b"ND2 CHUNK MAP SIGNATURE 0000001!",
    b"ND2 FILEMAP SIGNATURE NAME 0001!",
    b"ND2 FILE SIGNATURE CHUNK NAME01!",
)
DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4}  # Leica's numbers


def write_lif(path: Path, images: dict[str, tuple[str, Any, dict[str, float]]]) -> Path:
    """Images by name: axes, data, and what is from pixel to pixel along axes, in metres and seconds."""
    elements, blocks = [], b""
    for number, (name, (axes, data, steps)) in enumerate(images.items()):
        channels, dimensions, data = "", "", np.ascontiguousarray(data)
        for axis, length, stride in zip(axes, data.shape, data.strides, strict=True):
            if axis == "C":
                channels = "".join(_lif_channel(data, place * stride) for place in range(length))
                continue
            dimensions = (
                f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{length}" Origin="0" '
                f'Length="{steps.get(axis, 0) * (length - 1)}" Unit="m" BitInc="0" BytesInc="{stride}"/>' + dimensions
            )
        elements.append(
            f'<Element Name="{name}"><Data><Image TextDescription=""><ImageDescription><Channels>'
            f"{channels or _lif_channel(data, 0)}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription>"
            f'</Image></Data><Memory Size="{data.nbytes}" MemoryBlockID="Block{number}"/></Element>'
        )
        block = f"Block{number}".encode("utf-16-le")
        blocks += struct.pack("<IIBQBI", 0x70, 0, 0x2A, data.nbytes, 0x2A, len(block) // 2) + block + data.tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="all"><Memory Size="0" MemoryBlockID="none"/><Children>'
        f"{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    path.write_bytes(struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml + blocks)
    return path


def _lif_channel(data: Any, offset: int) -> str:
    return (
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * data.itemsize}" NameOfMeasuredQuantity="" '
        f'Min="0" Max="1" Unit="" LUTName="" IsLUTInverted="0" BytesInc="{offset}" BitInc="0"/>'
    )


def write_czi(path: Path, blocks: list[tuple[dict[str, int], Any, int, bytes | None]], metadata: str = "") -> Path:
    """Blocks: where each begins along its axes, its pixels (Y, X) or (Y, X, 3), compression and packed bytes."""
    entries, segments, offset = [], b"", 544
    for start, pixels, compression, packed in blocks:
        sizes = dict.fromkeys(start, 1) | {"Y": pixels.shape[0], "X": pixels.shape[1]}
        kind = {(2, "uint8"): 0, (2, "uint16"): 1, (3, "uint8"): 3}[pixels.ndim, str(pixels.dtype)]
        entry = struct.pack("<2siqiiB5si", b"DV", kind, offset, 0, compression, 0, bytes(5), len(sizes))
        for axis in ("X", "Y", *(axis for axis in sizes if axis not in "YX")):
            entry += struct.pack("<4siifi", axis.encode(), start[axis], sizes[axis], 0.0, 0)
        stored = pixels[..., ::-1].tobytes() if pixels.ndim == 3 else pixels.tobytes()
        stored = stored if packed is None else packed
        body = struct.pack("<iiq", 0, 0, len(stored)) + entry + bytes(max(0, 240 - len(entry))) + stored
        segment = _czi_segment(b"ZISRAWSUBBLOCK", body)
        entries.append(entry)
        segments += segment
        offset += len(segment)
    directory = _czi_segment(b"ZISRAWDIRECTORY", struct.pack("<i", len(entries)) + bytes(124) + b"".join(entries))
    xml = _czi_segment(b"ZISRAWMETADATA", struct.pack("<ii", len(metadata), 0) + bytes(248) + metadata.encode())
    header = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, bytes(16), bytes(16), 0, offset, offset + len(directory), 0, 0)
    path.write_bytes(_czi_segment(b"ZISRAWFILE", header.ljust(512, b"\0")) + segments + directory + xml)
    return path


def _czi_segment(name: bytes, body: bytes) -> bytes:
    body = body.ljust(-(-len(body) // 32) * 32, b"\0")
    return struct.pack("<16sqq", name, len(body), len(body)) + body


def write_nd2(path: Path, data: Any, loops: list[tuple[str, int, float]], size: float, channels: list[str]) -> Path:
    """``data``: (loops..., C, Y, X) uint16. Loops: "T" with milliseconds, "P", or "Z" with micrometres."""
    frames = data.reshape(-1, *data.shape[-3:])
    height, width = data.shape[-2:]
    attributes = {
        "uiWidth": width, "uiWidthBytes": width * 2 * len(channels), "uiHeight": height, "uiComp": len(channels),
        "uiBpcInMemory": 16, "uiBpcSignificant": 16, "uiSequenceCount": len(frames), "eCompression": 2,
    }  # fmt: skip
    probe = {"m_ExcitationSpectrum": {"uiCount": 0}, "m_EmissionSpectrum": {"uiCount": 0}}
    planes = {
        f"a{n}": {"sDescription": name, "uiCompCount": 1, "uiSampleIndex": n, "pFluorescentProbe": probe}
        for n, name in enumerate(channels)
    }
    meta = {
        "bCalibrated": True, "dCalibration": size,
        "sPicturePlanes": {"uiCount": len(channels), "uiCompCount": len(channels), "sPlaneNew": planes},
    }  # fmt: skip
    chunks = [(b"ImageAttributes!", _nd2_xml(attributes)), (b"ImageMetadataSeq|0!", _nd2_xml(meta))]
    if loops:
        chunks.append((b"ImageMetadata!", _nd2_xml(_nd2_loops(loops))))
    for number, frame in enumerate(frames):
        # samples of a pixel lie together, behind the time at which they were taken
        pixels = struct.pack("<d", 0.0) + np.ascontiguousarray(frame.transpose(1, 2, 0)).tobytes()
        chunks.append((f"ImageDataSeq|{number}!".encode(), pixels))
    content, places = _nd2_chunk(FILE, b"Ver2.0".ljust(64, b"\0"), 32), b""
    for name, body in chunks:
        places += name + struct.pack("<QQ", len(content), len(body))
        content += _nd2_chunk(name, body, 4072)
    end = _nd2_chunk(MAP, places + CHUNK + struct.pack("<Q", len(content)), 32)
    path.write_bytes(content + end)
    return path


def _nd2_chunk(name: bytes, body: bytes, room: int) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, room, len(body)) + name.ljust(room, b"\0") + body


def _nd2_loops(loops: list[tuple[str, int, float]]) -> dict[str, Any]:
    axis, count, step = loops[0]
    parameters: dict[str, Any] = {"uiCount": count}
    if axis == "T":
        parameters |= {"dPeriod": step, "dStart": 0.0, "dDuration": 0.0, "dMinPeriodDiff": 0.0, "dMaxPeriodDiff": 0.0,
                       "dAvgPeriodDiff": 0.0}  # fmt: skip
    elif axis == "Z":
        parameters |= {"dZStep": step, "dZLow": 0.0, "dZHigh": step * (count - 1), "dZHome": 0.0, "iType": 0,
                       "bTIRF": False, "wsZDevice": "z"}  # fmt: skip
    elif axis == "P":
        points = {f"i{n:010}": float(n) for n in range(count)}
        parameters |= dict.fromkeys(("dPosX", "dPosY", "dPosZ", "dPFSOffset"), points)
        parameters |= {"bUseZ": False, "pPosName": {f"i{n:010}": str(n) for n in range(count)}}
    found: dict[str, Any] = {"eType": {"T": 1, "P": 2, "Z": 4}[axis], "uLoopPars": parameters}
    if len(loops) > 1:
        found["ppNextLevelEx"] = {"i0000000000": _nd2_loops(loops[1:])}
    return found


def _nd2_xml(values: dict[str, Any]) -> bytes:
    return f'<variant version="1.0"><no_name runtype="CLxListVariant">{_nd2_nodes(values)}</no_name></variant>'.encode()


def _nd2_nodes(values: dict[str, Any]) -> str:
    kinds = {bool: "bool", int: "lx_int32", float: "double", str: "CLxStringW"}
    return "".join(
        f'<{name} runtype="CLxListVariant">{_nd2_nodes(value)}</{name}>'
        if isinstance(value, dict)
        else f'<{name} runtype="{kinds[type(value)]}" value="{value}"/>'
        for name, value in values.items()
    )
