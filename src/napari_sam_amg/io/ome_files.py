"""OME-TIFF files that belong to a set: which of the planes that the description names are in this one file."""

from math import prod
from xml.etree import ElementTree

_OTHERS = "planes in other files of its set are left out"


def own_part(xml: str, name: str, size: int) -> tuple[str, str]:
    """The description without what is in other files, and a note; both empty for a file that stands alone.

    A description that every file of a set carries names the file of each plane (TiffData); that of one with
    ``BinaryOnly`` is in another file. ``ValueError`` if it names more planes than the file has bytes (``size``), of
    which tifffile would make a list.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:  # tifffile comes to the same, and logs it
        return "", ""
    for pixels in root.iter():
        if pixels.tag.endswith("Pixels"):
            planes = prod(int(pixels.get(f"Size{axis}", 1)) for axis in "CZT")
            if planes > size:
                raise ValueError(f"it names {planes} planes, more than the file has bytes")
    if any(element.tag.endswith("BinaryOnly") for element in root):
        return "", "its description is in another file: pages are taken one by one"
    named = {file for file in map(_file_of, root.iter()) if file is not None}
    own = {file for file in named if file[0] == root.get("UUID") or file[1].lower() == name.lower()}
    if len(named) == 1 and root.get("UUID") is None:
        own = named  # this file, perhaps under a new name
    if not named:
        return "", ""
    if not own:
        return "", "its description names planes of other files only: pages are taken one by one"
    others = named - own
    for element in list(root.iter()):
        element[:] = [child for child in element if _file_of(child) not in others]
    for element in root.iter():
        if element.tag.endswith("TiffData"):
            element[:] = []
    return ElementTree.tostring(root, encoding="unicode"), _OTHERS if others else ""


def _file_of(element: ElementTree.Element) -> tuple[str, str] | None:
    """UUID and name of the file that a TiffData element points to, if it is one and says so."""
    for child in element if element.tag.endswith("TiffData") else ():
        if child.tag.endswith("UUID"):
            return (child.text or "").strip(), child.get("FileName", "")
    return None
