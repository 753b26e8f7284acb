"""What tifffile logs while it reads a file: nothing of it is lost without a decision."""

import logging
import re

#: What tifffile says (a pattern), and what the user is told; nothing where it does not matter or is said elsewhere.
_DECISIONS = {
    # pages behind this one are lost: those before it are whole
    r"invalid page offset|corrupted tag list of page|invalid offset to page|circular reference|incompletely written": (
        "the file is cut short or damaged: more pages were meant to follow"
    ),
    # tifffile gives up the description, and lists the pages as they are
    r"shaped series|ImageJ series (metadata|of unknown)|discontiguous|ScanImage series|focal planes": (
        "its description does not fit its pages"
    ),
    r"OME series raised": "its OME description cannot be read",
    r"BIF series": "its tiles are not stitched",
    r"OME series|MMStack( series)? is missing": "",  # planes that are not there: the layout counts them itself
    r"incorrect Strip\w+ count|expected \d+ segments|missing (data offset|data ByteCounts|ByteCounts)": "",  # see pages
    r"is missing required tags": "",  # such a page cannot be read, which is said when it is
    # information that is not read: about the microscope, places on earth, times, comments, other programs
    r"GDAL_NODATA|GeoKey|MMStack file name|NDTiff|Datetime|uic_?1?_?tag|TimeStamps|_metadata|_tags> ": "",
    r"invalid ASCII|read_utf8|word boundary|read_json|read_bytes|invalid string|eer_xml": "",
    r"TiffTag|read_tags|invalid self.subfiletype|get_resolution": "",  # a tag that matters is missed where it is used
    # tifffile mends these, and the pixels are right
    r"correcting LSM|estimating ByteCounts|ignoring predictor|_load_virtual_frames|invalid SubIFDs": "",
    r"failed to reshape": "",  # the shape of every page is compared with what it should be
}


#: Messages about one file. A chain of pages that leads into pixels has tens of thousands of tags a page, and may take
#: hours; what programs write has few messages a page.
_PATIENCE = 50_000


class TiffLog(logging.Handler):
    """Collects what tifffile logs, instead of letting it reach the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what it says. ``ValueError`` ends the reading of a file in which tifffile follows mere noise."""
        self.messages.append(record.getMessage())
        if len(self.messages) > _PATIENCE:
            raise ValueError(f"more than {_PATIENCE} of its tags are wrong")

    @property
    def notes(self) -> list[str]:
        """What the user is told about it, each once. Messages that nobody has decided about are told as they are."""
        told = [_decide(message) for message in self.messages]
        return list(dict.fromkeys(text for text in told if text))

    def __enter__(self) -> "TiffLog":
        self.logger = logging.getLogger("tifffile")
        self.propagated, self.logger.propagate = self.logger.propagate, False
        self.logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.propagate = self.propagated
        self.logger.removeHandler(self)


def _decide(message: str) -> str:
    for pattern, told in _DECISIONS.items():
        if re.search(pattern, message):
            return told
    return re.sub(r"<[^>]*> ", "", message)
