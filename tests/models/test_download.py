"""Downloads from a real server on this machine: whole and verified, or one line that says what to do."""

import gzip
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xxhash
from torch import Tensor

from napari_sam_amg.models import transfer
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.download import DownloadError, arrived, download, ensure, remove
from napari_sam_amg.models.registry import CheckpointError, KnownModel, known_path
from napari_sam_amg.models.transfer import Progress
from tests.loopback import Loopback

CONTENT = np.random.default_rng(0).bytes(400_000)
CUT, SECOND_CUT = 9 * transfer._PIECE, 3 * transfer._PIECE
Publish = Callable[..., KnownModel]


def ignore(_: Progress) -> None: ...


class Stop(Exception):
    """What a report raises to cancel."""


@pytest.fixture
def model(publish: Publish) -> KnownModel:
    return publish("vit_t", CONTENT)


@pytest.fixture
def cut_off(server: Loopback, model: KnownModel) -> KnownModel:
    """A model of which a part has arrived."""
    server.cut_after = CUT
    with pytest.raises(DownloadError, match="the connection was lost after 147 kB of 400 kB, the next attempt goes on"):
        download(model, ignore)
    server.cut_after = None
    assert arrived(model) == CUT
    assert not model.path.exists()
    return model


def left(model: KnownModel) -> list[str]:
    """What is in the models folder; lock files, which are empty and hidden, aside."""
    return sorted(path.name for path in model.path.parent.iterdir() if not path.name.endswith(".lock"))


def ranges(server: Loopback) -> list[tuple[str | None, int]]:
    """Of every request: the range that was asked for, and the bytes that were sent."""
    return [(request.headers.get("Range"), request.sent) for request in server.requests]


def test_file_arrives_whole_with_progress_and_nothing_else_stays(model: KnownModel, capfd: Any) -> None:
    reports: list[Progress] = []
    download(model, reports.append)
    assert model.path.read_bytes() == CONTENT
    assert left(model) == ["mobile_sam.pt"]
    assert known_path(model) == model.path
    done = [report.done for report in reports if report.stage == "Downloading"]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)
    assert {report.total for report in reports} == {len(CONTENT)}
    assert reports[-1] == Progress("Checking", len(CONTENT), len(CONTENT))
    assert capfd.readouterr() == ("", "")  # pooch's own messages


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_an_own_model_lies_wherever_its_file_says(model: KnownModel, tmp_path: Path) -> None:
    own = replace(model, name="mine", file_name=str(tmp_path / "elsewhere" / "mine.pt"))
    download(own, ignore)
    assert known_path(own) == tmp_path / "elsewhere" / "mine.pt"
    assert own.path.read_bytes() == CONTENT
    assert left(own) == ["mine.pt"]
    assert remove(own) == []  # outside the models folder nothing is deleted
    assert left(own) == ["mine.pt"]


def test_others_may_read_it_as_they_may_read_new_files(model: KnownModel, tmp_path: Path) -> None:
    download(model, ignore)
    (tmp_path / "new").touch()
    assert stat.S_IMODE(model.path.stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)


def test_what_is_there_is_not_downloaded_again(model: KnownModel, server: Loopback) -> None:
    for _ in range(2):
        download(model, ignore)
    assert len(server.requests) == 1


def test_damaged_file_is_replaced(model: KnownModel) -> None:
    model.path.parent.mkdir()
    model.path.write_bytes(b"half a download")
    download(model, ignore)
    assert model.path.read_bytes() == CONTENT


def test_xxh128(publish: Publish) -> None:
    model = publish("vit_t_lm", CONTENT, f"xxh128:{xxhash.xxh128(CONTENT).hexdigest()}")
    download(model, ignore)
    assert known_path(model).read_bytes() == CONTENT


def test_length_need_not_be_known(model: KnownModel, server: Loopback) -> None:
    server.says_length = False
    reports: list[Progress] = []
    download(model, reports.append)
    assert model.path.read_bytes() == CONTENT
    assert reports[0].total is None


def test_cut_off_download_goes_on_where_it_ended(cut_off: KnownModel, server: Loopback) -> None:
    reports: list[Progress] = []
    download(cut_off, reports.append)
    assert cut_off.path.read_bytes() == CONTENT
    assert ranges(server) == [(None, CUT), (f"bytes={CUT}-", len(CONTENT) - CUT)]
    assert server.requests[1].headers["If-Range"] == '"first"'
    assert reports[0].done > CUT
    assert left(cut_off) == ["mobile_sam.pt"]


def test_date_stands_in_where_there_is_no_tag(model: KnownModel, server: Loopback) -> None:
    server.etag, server.last_modified = None, "Wed, 05 Apr 2023 10:00:00 GMT"
    server.cut_after = CUT
    with pytest.raises(DownloadError):
        download(model, ignore)
    server.cut_after = None
    download(model, ignore)
    assert server.requests[1].headers["If-Range"] == server.last_modified
    assert ranges(server)[1] == (f"bytes={CUT}-", len(CONTENT) - CUT)


def test_no_range_support_starts_anew(cut_off: KnownModel, server: Loopback) -> None:
    server.ranges = False
    download(cut_off, ignore)
    assert cut_off.path.read_bytes() == CONTENT
    assert ranges(server) == [(None, CUT), (f"bytes={CUT}-", len(CONTENT))]


NEW = np.random.default_rng(1).bytes(300_000)


@pytest.mark.parametrize("etag", ['"second"', None], ids=["by its tag", "by its size"])
def test_file_that_changed_on_the_server_starts_anew(
    server: Loopback, publish: Publish, model: KnownModel, etag: str | None
) -> None:
    server.etag = '"first"' if etag else None
    server.cut_after = CUT
    with pytest.raises(DownloadError):
        download(model, ignore)
    server.cut_after, server.etag = None, etag
    changed = publish("vit_t", NEW)
    download(changed, ignore)
    assert changed.path.read_bytes() == NEW
    assert ranges(server)[-1][1] == len(NEW)


OLD, NOW = "Wed, 05 Apr 2023 10:00:00 GMT", "Wed, 05 Apr 2023 10:02:00 GMT"


@pytest.mark.parametrize(
    ("etag", "date", "validator"),
    [
        ('"strong"', OLD, '"strong"'),
        ('W/"weak"', None, None),
        ('W/"weak"', OLD, None),  # who has a tag may not use the date (RFC 9110, 13.1.5)
        (None, OLD, OLD),
        (None, "Wed, 05 Apr 2023 10:01:00 GMT", "Wed, 05 Apr 2023 10:01:00 GMT"),
        (None, "Wed, 05 Apr 2023 10:01:01 GMT", None),  # it may have changed twice in this second
        (None, "yesterday", None),
        (None, OLD.replace("GMT", "-0000"), None),  # of no time zone
        (None, OLD.replace("2023", "99999999999"), None),
        ("no quotes", OLD, None),
        (None, None, None),
    ],
)
def test_only_a_strong_validator_goes_on_with_a_part(
    model: KnownModel, server: Loopback, etag: str | None, date: str | None, validator: str | None
) -> None:
    server.etag, server.last_modified, server.cut_after = etag, date, CUT
    server.edit = lambda status, headers: (status, headers | {"Date": NOW})
    with pytest.raises(DownloadError, match="the connection was lost"):
        download(model, ignore)
    server.cut_after = None
    download(model, ignore)
    assert model.path.read_bytes() == CONTENT
    asked, sent = ranges(server)[-1]
    assert server.requests[-1].headers.get("If-Range") == validator
    assert (asked, sent) == (None, len(CONTENT)) if validator is None else (f"bytes={CUT}-", len(CONTENT) - CUT)


def test_a_date_without_that_of_the_answer_says_too_little(model: KnownModel, server: Loopback) -> None:
    server.etag, server.last_modified, server.cut_after = None, OLD, CUT
    server.edit = lambda status, headers: (status, {key: headers[key] for key in headers if key != "Date"})
    with pytest.raises(DownloadError):
        download(model, ignore)
    server.cut_after = None
    download(model, ignore)
    assert ranges(server)[-1] == (None, len(CONTENT))


REST = f"bytes {CUT}-{len(CONTENT) - 1}"
#: What a server may say in its answer to the request for the rest, and whether that is the rest.
ANSWERS = {
    "as it should": ({}, True),
    "no tag again": ({"ETag": None}, True),
    "another tag": ({"ETag": '"second"'}, False),
    "the same tag, weak": ({"ETag": 'W/"first"'}, False),
    "size not said": ({"Content-Range": f"{REST}/*"}, True),
    "another size": ({"Content-Range": f"{REST}/{len(CONTENT) + 1}"}, False),
    "an absurd size": ({"Content-Range": f"{REST}/{'9' * 5000}"}, False),
    "an absurd place": ({"Content-Range": f"bytes {'9' * 5000}-{len(CONTENT) - 1}/*"}, False),
    "a byte later": ({"Content-Range": f"bytes {CUT + 1}-{len(CONTENT) - 1}/{len(CONTENT)}"}, False),
    "from the start": ({"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}, False),
    "other units": ({"Content-Range": f"items {CUT}-{len(CONTENT) - 1}/{len(CONTENT)}"}, False),
    "no range": ({"Content-Range": None}, False),
    "encoded": ({"Content-Encoding": "br"}, False),
    "not encoded": ({"Content-Encoding": "identity"}, True),
}


@pytest.mark.parametrize(("change", "is_rest"), ANSWERS.values(), ids=ANSWERS)
def test_only_the_rest_is_appended(
    cut_off: KnownModel, server: Loopback, change: dict[str, str | None], is_rest: bool
) -> None:
    def edit(status: int, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        changed = headers | change if status == 206 else headers
        return status, {key: value for key, value in changed.items() if value is not None}

    server.edit = edit
    download(cut_off, ignore)
    assert cut_off.path.read_bytes() == CONTENT
    asked = [asked for asked, _ in ranges(server)]
    assert asked == [None, f"bytes={CUT}-"] + ([] if is_rest else [None])


def test_a_rest_that_is_cut_off_goes_on_again(cut_off: KnownModel, server: Loopback) -> None:
    server.cut_after = SECOND_CUT
    with pytest.raises(DownloadError, match="the connection was lost after 197 kB of 400 kB"):
        download(cut_off, ignore)
    server.cut_after = None
    download(cut_off, ignore)
    assert cut_off.path.read_bytes() == CONTENT
    assert ranges(server)[-1] == (f"bytes={CUT + SECOND_CUT}-", len(CONTENT) - CUT - SECOND_CUT)


@pytest.mark.parametrize("note", ["{", "[]", '{"url": 3}', '{"url": "u", "total": "many", "validator": "a"}', "null"])
def test_a_note_that_is_none_starts_anew(cut_off: KnownModel, server: Loopback, note: str) -> None:
    text = note.replace('"u"', f'"{cut_off.url}"')
    (cut_off.path.with_name("mobile_sam.pt.part") / "origin.json").write_text(text)
    download(cut_off, ignore)
    assert cut_off.path.read_bytes() == CONTENT
    assert ranges(server)[-1] == (None, len(CONTENT))


def test_compressed_on_the_way(publish: Publish, server: Loopback) -> None:
    """By a proxy that was asked not to; what it sends has another length, and a part of it is no part of the file."""
    model = publish("vit_t", CONTENT)
    server.content = gzip.compress(CONTENT)
    server.edit = lambda status, headers: (status, headers | {"Content-Encoding": "gzip"})
    reports: list[Progress] = []
    server.cut_after = len(server.content) // 2
    with pytest.raises(DownloadError):
        download(model, ignore)
    server.cut_after = None
    download(model, reports.append)
    assert model.path.read_bytes() == CONTENT
    assert reports[0].total is None
    assert ranges(server)[-1] == (None, len(server.content))


def test_redirects_in_a_circle(model: KnownModel, server: Loopback) -> None:
    server.edit = lambda status, headers: (
        302,
        {"Location": model.url, "Content-Length": "0", "Connection": "close"},
    )
    with pytest.raises(DownloadError, match=r"127.0.0.1:\d+ redirects in a circle; try again"):
        download(model, ignore)


def test_file_that_shrank_starts_anew(server: Loopback, publish: Publish, cut_off: KnownModel) -> None:
    changed = publish("vit_t", NEW[:1000])  # the server answers 416: it has no such range
    download(changed, ignore)
    assert changed.path.read_bytes() == NEW[:1000]


def test_part_without_its_note_is_not_trusted(cut_off: KnownModel, server: Loopback) -> None:
    (cut_off.path.with_name("mobile_sam.pt.part") / "origin.json").write_text("{")
    download(cut_off, ignore)
    assert ranges(server)[-1] == (None, len(CONTENT))


def test_whole_part_is_verified_without_a_request(model: KnownModel, server: Loopback) -> None:
    """Of a process that was stopped just before."""

    def stop(progress: Progress) -> None:
        if progress.stage == "Checking":
            raise Stop

    with pytest.raises(Stop):
        download(model, stop)
    assert arrived(model) == len(CONTENT)
    download(model, ignore)
    assert model.path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_report_cancels_and_the_part_stays(model: KnownModel, server: Loopback, monkeypatch: Any) -> None:
    monkeypatch.setattr(transfer, "_REPORT_EVERY", 0.0)
    server.pause = 0.005
    reports: list[Progress] = []

    def stop(progress: Progress) -> None:
        reports.append(progress)
        if progress.done >= CUT:
            raise Stop

    with pytest.raises(Stop):
        download(model, stop)
    assert len(reports) > 1
    assert CUT <= arrived(model) < len(CONTENT)
    assert left(model) == ["mobile_sam.pt.part"]
    download(model, ignore)
    assert model.path.read_bytes() == CONTENT
    assert server.requests[1].sent < len(CONTENT)


def test_wrong_hash_says_so_and_leaves_nothing(publish: Publish) -> None:
    model = publish("vit_t", CONTENT, f"sha256:{64 * '0'}")
    with pytest.raises(DownloadError) as caught:
        download(model, ignore)
    text = str(caught.value)
    assert "\n" not in text
    for part in (model.url, model.digest, hashlib.sha256(CONTENT).hexdigest(), "not 'vit_t'"):
        assert part in text
    assert left(model) == []


def by_hand(model: KnownModel) -> str:
    return f"try again, or download {model.url} and save it as {model.path}"


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_refusal_says_what_to_do_by_hand(model: KnownModel, server: Loopback, status: int, reason: str) -> None:
    server.status = status
    with pytest.raises(DownloadError) as caught:
        download(model, ignore)
    host = server.url.removeprefix("http://")
    assert str(caught.value) == f"model 'vit_t' could not be downloaded: {host} answers {reason}; {by_hand(model)}"
    assert left(model) == []


def test_an_answer_in_many_words_is_one_line(model: KnownModel, server: Loopback) -> None:
    server.reason = "\x1b[31mGo away " + "x" * 5000
    server.edit = lambda status, headers: (503, headers | {"Content-Length": "0"})
    with pytest.raises(DownloadError, match=r"answers 503 \?\[31mGo away x*; try again, or download") as caught:
        download(model, ignore)
    assert len(str(caught.value)) < 500


def test_an_absurd_length_is_none(model: KnownModel, server: Loopback) -> None:
    server.says_length = False
    server.edit = lambda status, headers: (status, headers | {"Content-Length": "9" * 5000})
    reports: list[Progress] = []
    download(model, reports.append)
    assert model.path.read_bytes() == CONTENT
    assert reports[0].total is None


def test_refusal_to_send_the_rest_keeps_the_part(cut_off: KnownModel, server: Loopback) -> None:
    server.status = 503
    with pytest.raises(DownloadError, match="answers 503"):
        download(cut_off, ignore)
    assert arrived(cut_off) == CUT


def test_no_network(publish: Publish, server: Loopback) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = publish("vit_t", CONTENT)
    object.__setattr__(model, "url", f"http://127.0.0.1:{port}/vit_t.pt")
    with pytest.raises(DownloadError) as caught:
        download(model, ignore)
    assert str(caught.value).endswith(f"127.0.0.1:{port} cannot be reached; {by_hand(model)}")


def test_silent_server(model: KnownModel, server: Loopback, monkeypatch: Any) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", (1.0, 0.2))
    server.silent = True
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+ does not answer; try again, or download http"):
        download(model, ignore)


def test_disk_that_is_too_small_is_found_before_anything_is_written(
    model: KnownModel, server: Loopback, monkeypatch: Any
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1234))
    with pytest.raises(DownloadError) as caught:
        download(model, ignore)
    assert str(caught.value) == (
        "model 'vit_t' could not be downloaded: the disk is full: 400 kB more are needed and 1 kB are free in "
        f"{model.path.parent} (another folder: set NAPARI_SAM_AMG_MODELS)"
    )
    assert left(model) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_disk_that_fills_up_on_the_way(model: KnownModel) -> None:
    part = model.path.with_name("mobile_sam.pt.part")
    part.mkdir(parents=True)
    (part / "data").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"the disk is full: 400 kB more are needed and .*B are free in .*another"):
        download(model, ignore)
    download(model, ignore)
    assert model.path.read_bytes() == CONTENT


def test_folder_that_cannot_be_made(model: KnownModel) -> None:
    model.path.parent.write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"models cannot be written \(File exists\) .another folder: set "):
        download(model, ignore)


ONE_OF_TWO = """
import sys
from napari_sam_amg.models.download import download
from napari_sam_amg.models.registry import KnownModel
stages = set()
download(KnownModel("vit_t", "mobile_sam.pt", *sys.argv[1:], "test"), lambda progress: stages.add(progress.stage))
print(sorted(stages))
"""


WITH_A_BAR = """
import sys
from napari_sam_amg.models.download import download_with_bar
from napari_sam_amg.models.registry import KnownModel
download_with_bar(KnownModel("vit_t", "mobile_sam.pt", *sys.argv[1:], "test", 400_000))
"""


@pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals")
def test_bar_on_a_terminal_begins_where_the_last_attempt_ended(cut_off: KnownModel, server: Loopback) -> None:
    import pty
    import termios

    server.pause = 0.02
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    command = [sys.executable, "-c", WITH_A_BAR, cut_off.url, cut_off.digest]
    done = subprocess.run(command, stderr=theirs, check=True, stdout=subprocess.PIPE)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.stdout == b""
    first, *bars = shown.replace("\n", "\r").split("\r")
    assert first.startswith("downloading vit_t (400 kB) from ")
    shares = [int(bar.partition("%")[0].rpartition(" ")[2]) for bar in bars if "Downloading" in bar]
    assert len(shares) > 1
    assert shares[0] >= 100 * CUT // len(CONTENT)
    assert cut_off.path.read_bytes() == CONTENT


def test_two_processes_download_it_once(model: KnownModel, server: Loopback) -> None:
    server.pause = 0.05
    command = [sys.executable, "-c", ONE_OF_TWO, model.url, model.digest]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert model.path.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert printed.count("['Checking', 'Downloading']") == 1


def test_second_download_waits_for_the_first(model: KnownModel, server: Loopback) -> None:
    begun, waited = threading.Event(), threading.Event()

    def first(_: Progress) -> None:
        begun.set()
        assert waited.wait(30)

    def second(progress: Progress) -> None:
        assert progress.stage == "Waiting for another download of it"
        waited.set()

    thread = threading.Thread(target=download, args=(model, first))
    thread.start()
    assert begun.wait(30)
    download(model, second)
    thread.join()
    assert model.path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_what_is_being_downloaded_is_not_deleted(model: KnownModel, server: Loopback) -> None:
    def delete(_: Progress) -> None:
        with pytest.raises(DownloadError, match="is being downloaded and was left alone"):
            remove(model)
        raise Stop

    with pytest.raises(Stop):
        download(model, delete)
    assert [path.name for path, _ in remove(model)] == ["mobile_sam.pt.part"]
    assert remove(model) == []


def test_offline_asks_nothing_of_the_server(model: KnownModel, server: Loopback, monkeypatch: Any) -> None:
    ensure(model, offline=True)
    monkeypatch.setenv("NAPARI_SAM_AMG_OFFLINE", "1")
    ensure(model)
    with pytest.raises(DownloadError, match=f"downloads are forbidden: download {model.url} and save it as "):
        download(model, ignore)
    monkeypatch.setenv("NAPARI_SAM_AMG_OFFLINE", "0")
    assert server.requests == []
    with pytest.raises(CheckpointError, match=f"is not on this machine: download {model.url} and save it as .*--offl"):
        load_model("vit_t", "cpu", offline=True)
    assert server.requests == []


@pytest.mark.parametrize(
    ("quiet", "lines"), [(False, ["downloading vit_t_lm ({size}) from {url} to {path}"]), (True, [])]
)
def test_load_model_downloads_and_brings_the_thresholds(
    quiet: bool, lines: list[str], publish: Publish, hollow_vit_t: dict[str, Tensor], tmp_path: Path, capsys: Any
) -> None:
    """A micro-sam checkpoint with its decoder, which is ignored."""
    content = {"model_state": {f"sam.{key}": value for key, value in hollow_vit_t.items()}}
    torch.save(content | {"decoder_state": {"out_conv.weight": torch.zeros(1)}}, tmp_path / "made.pt")
    model = publish("vit_t_lm", (tmp_path / "made.pt").read_bytes())
    info = load_model("vit_t_lm", "cpu", quiet=quiet).info
    assert (info.name, info.architecture) == ("vit_t_lm", "vit_t")
    thresholds = {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.65, "min_mask_region_area": 100}
    assert info.amg_defaults == thresholds
    captured = capsys.readouterr()
    size = f"{(model.size or 0) / 1000:.0f} kB"
    assert captured.out == ""
    assert captured.err.splitlines() == [line.format(size=size, url=model.url, path=model.path) for line in lines]
