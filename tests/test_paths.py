"""Home folders in paths."""

from pathlib import Path

import pytest

from napari_sam_amg.paths import expanded


def test_homes_are_expanded_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert expanded("~/a") == tmp_path / "home" / "a"
    assert expanded("a~/~b") == Path("a~/~b")
    with pytest.raises(ValueError, match=r"'~\$image.tif' is not allowed: there is no user '\$image.tif'"):
        expanded("~$image.tif")
    Path("~$image.tif").touch()
    assert expanded("~$image.tif") == Path("~$image.tif")


def test_no_home_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it is without HOME and without a user
    with pytest.raises(ValueError, match="'~/a' is not allowed: no home folder is known, set HOME"):
        expanded("~/a")
