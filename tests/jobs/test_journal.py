import json

import pytest

from napari_sam_amg.jobs.journal import Journal, entries

LINES = [{"run": "a"}, {"unit": "plane_0", "bytes": 3}, {"unit": "plané\n1"}]


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        for line in LINES:
            journal.add(line)
        assert journal.entries == LINES
    return tmp_path / "journal"


def test_lines_come_back_in_their_order(path):
    assert entries(path) == LINES
    assert len(path.read_bytes().splitlines()) == 3


def test_no_journal_has_no_lines(tmp_path):
    assert entries(tmp_path / "none") == []


def test_a_line_that_was_cut_short_anywhere_is_cut_off(path):
    content = path.read_bytes()
    last = len(json.dumps(LINES[-1])) + 1
    for cut in range(1, last + 1):
        path.write_bytes(content[:-cut])
        assert entries(path) == LINES[:2]
        with Journal(path) as journal:
            assert journal.entries == LINES[:2]
            journal.add({"unit": "again"})
        assert entries(path) == [*LINES[:2], {"unit": "again"}]


def test_what_is_cut_off_is_no_line_even_if_it_could_be_read(path):
    path.write_bytes(path.read_bytes() + b'{"unit": "plane_2", "bytes": 12}')  # of 1234
    assert entries(path) == LINES


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe", b"[1]", b"", b"\0" * 30])
def test_a_damaged_line_loses_no_other(path, damage):
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], damage, *lines[2:], b""]))
    assert entries(path) == [LINES[0], LINES[2]]
    with Journal(path) as journal:
        journal.add({"unit": "more"})
    assert entries(path) == [LINES[0], LINES[2], {"unit": "more"}]


def test_lines_are_appended_whatever_another_handle_has_written(path):
    """As a second process would, if a lock failed."""
    with Journal(path) as one, Journal(path) as other:
        for number in range(5):
            one.add({"one": number})
            other.add({"other": number})
    assert len(entries(path)) == 13
