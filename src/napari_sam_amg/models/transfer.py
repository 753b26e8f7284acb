"""Bring a file over HTTP into a folder of its own, going on where an earlier attempt ended. Free of torch.

The folder holds the part of the file that has arrived, and a note on the version of the file it is of,
so that two versions are never mixed.
"""

import errno
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from napari_sam_amg.models.pickled_tensors import in_line
from napari_sam_amg.models.registry import size_in_words

if TYPE_CHECKING:  # imported where they are used: they take 0.3 s, and most sessions download nothing
    import requests

TIMEOUT = (15.0, 30.0)  # s, to connect and between two pieces
_PIECE = 1 << 14  # bytes; small, so that a slow connection can be cancelled soon, too
_REPORT_EVERY = 0.1  # s, at most; between two reports nothing can be cancelled
_STRONG_AGE = 60.0  # s, by which a file was changed before it was sent, for the date to be a strong validator
_FULL = (errno.ENOSPC, errno.EDQUOT)


class TransferError(Exception):
    """Why a file could not be brought, in words."""


class DiskFullError(TransferError):
    """There is no room for it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is."""

    stage: str  # in words
    done: int = 0  # bytes
    total: int | None = None  # bytes; None: not known


#: Called about ten times a second. Whatever it raises ends the transfer; what has arrived is kept.
Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Origin:
    """A version of a file on a server."""

    url: str
    total: int | None  # bytes
    validator: str | None  # strong ETag or date of the last change; without one a part cannot be gone on with


@dataclass(frozen=True, slots=True)
class Part:
    """What has arrived of a file, in a folder of its own."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def _note(self) -> Path:
        return self.folder / "origin.json"

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.data.stat().st_size if self.data.exists() else 0

    def origin(self) -> Origin | None:
        """The version that it is a part of; None if that was not noted."""
        try:
            match json.loads(self._note.read_text(encoding="utf-8")):
                case {"url": str(url), "total": int() | None as total, "validator": str() | None as validator}:
                    return Origin(url, total, validator)
        except (OSError, ValueError):
            pass
        return None

    def begin(self, origin: Origin) -> None:
        """Empty it, then note what it will be a part of: in this order, so that the note is never another part's."""
        self.folder.mkdir(exist_ok=True)
        self.data.write_bytes(b"")
        self._note.write_text(json.dumps(asdict(origin)), encoding="utf-8")


def fetch(url: str, part: Part, report: Report) -> None:
    """Make ``part.data`` the whole file at ``url``.

    Goes on with a part of the same version if the server sends the rest, else starts anew. Raises
    ``TransferError``; then the part stays, and the next call goes on with it.
    """
    origin = part.origin()
    if origin is None or origin.url != url or not part.size:
        return _start(url, part, report)
    if part.size == origin.total:  # the process ended before it was verified
        return None
    if origin.validator is None:  # the rest might be another version's
        return _start(url, part, report)
    with _get(url, {"Range": f"bytes={part.size}-", "If-Range": origin.validator}) as response:
        if _is_rest(response, part.size, origin):
            return _receive(response, part, origin, report)
        if response.status_code not in (206, 416):  # not a piece of something else
            return _receive_anew(response, url, part, report)
    return _start(url, part, report)


def _start(url: str, part: Part, report: Report) -> None:
    with _get(url, {}) as response:
        _receive_anew(response, url, part, report)


def _receive_anew(response: "requests.Response", url: str, part: Part, report: Report) -> None:
    if response.status_code != 200:
        raise TransferError(f"{urlsplit(url).netloc} answers {response.status_code} {in_line(response.reason)}")
    origin = Origin(url, _length(response), _validator(response))
    part.begin(origin)
    _receive(response, part, origin, report)


def _receive(response: "requests.Response", part: Part, origin: Origin, report: Report) -> None:
    # said before the first byte, not after an hour
    missing = None if origin.total is None else origin.total - part.size
    if missing is not None and missing > shutil.disk_usage(part.folder).free:
        raise _no_room(part, origin)
    try:
        _append(response, part, origin.total, report)
    except OSError as error:
        raise _no_room(part, origin) if error.errno in _FULL else error from error


def _get(url: str, headers: dict[str, str]) -> "requests.Response":
    """The answer, its body not read yet."""
    import requests

    # a compressed answer has a length of its own, and what arrives of it is no part of the file
    headers = {"Accept-Encoding": "identity"} | headers
    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise TransferError(_explain(error, urlsplit(url).netloc)) from error


def _explain(error: "requests.RequestException", host: str) -> str:
    from requests import exceptions

    reasons: dict[type[Exception], str] = {  # the first that fits: some are kinds of others
        exceptions.Timeout: f"{host} does not answer",
        exceptions.SSLError: f"no secure connection to {host}",
        exceptions.ProxyError: "the proxy does not answer",
        exceptions.ConnectionError: f"{host} cannot be reached",
        exceptions.TooManyRedirects: f"{host} redirects in a circle",
    }
    return next((text for kind, text in reasons.items() if isinstance(error, kind)), f"{type(error).__name__}: {error}")


def _is_rest(response: "requests.Response", arrived: int, origin: Origin) -> bool:
    """Whether the answer goes on where the part ends, in the same version of the file.

    A server need not repeat the validator that it was asked with; one that it sends must be the same.
    """
    found = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", ""), re.ASCII)
    if response.status_code != 206 or found is None or int(found[1]) != arrived or _is_encoded(response):
        return False
    same_total = found[2] == "*" or origin.total in (None, int(found[2]))
    # asked with a tag only the tag counts: servers that are copies of each other may have other dates
    by_tag = (origin.validator or "").startswith('"')
    return same_total and response.headers.get("ETag" if by_tag else "Last-Modified") in (None, origin.validator)


def _is_encoded(response: "requests.Response") -> bool:
    """Whether the bytes that are sent are not those of the file, so that their number says nothing."""
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def _length(response: "requests.Response") -> int | None:
    text = response.headers.get("Content-Length", "")
    is_length = re.fullmatch(r"\d{1,18}", text, re.ASCII) is not None and "Transfer-Encoding" not in response.headers
    return int(text) if is_length and not _is_encoded(response) else None


def _validator(response: "requests.Response") -> str | None:
    """What stays the same as long as the file does (RFC 9110, 13.1.5): a strong ETag, or the date of its last change.

    The date counts only where there is no ETag, not even a weak one, and where it lies so far back that the file
    cannot have changed twice in that second.
    """
    if _is_encoded(response):
        return None
    if (etag := response.headers.get("ETag")) is not None:
        return etag if etag.startswith('"') else None
    changed, answered = (response.headers.get(name) for name in ("Last-Modified", "Date"))
    try:
        age = (parsedate_to_datetime(answered or "") - parsedate_to_datetime(changed or "")).total_seconds()
    except (TypeError, ValueError, OverflowError):  # no date; one without a zone; one in the year 99999999999
        return None
    return changed if age >= _STRONG_AGE else None


def _append(response: "requests.Response", part: Part, total: int | None, report: Report) -> None:
    import requests

    done, reported = part.size, float("-inf")
    try:
        with part.data.open("ab") as file:
            for piece in response.iter_content(_PIECE):
                file.write(piece)
                done += len(piece)
                if time.monotonic() - reported >= _REPORT_EVERY:
                    report(Progress("Downloading", done, total))
                    reported = time.monotonic()
    except requests.RequestException as error:
        raise _cut_off(done, total) from error
    if total is not None and done < total:  # what old versions of urllib3 leave to the caller
        raise _cut_off(done, total)
    report(Progress("Downloading", done, total))


def _cut_off(done: int, total: int | None) -> TransferError:
    of = "" if total is None else f" of {size_in_words(total)}"
    return TransferError(
        f"the connection was lost after {size_in_words(done)}{of}, the next attempt goes on from there"
    )


def _no_room(part: Part, origin: Origin) -> DiskFullError:
    needed = "more is" if origin.total is None else f"{size_in_words(origin.total - part.size)} more are"
    free = size_in_words(shutil.disk_usage(part.folder).free)
    return DiskFullError(f"the disk is full: {needed} needed and {free} are free in {part.folder.parent}")
