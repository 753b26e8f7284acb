from pathlib import Path

import pytest

from napari_sam_amg.io.watched import FileState


def test_only_a_file_that_is_changed_in_its_place_is_changed(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("first")
    state = FileState.of(path)
    state.check_in_place(path)
    path.write_text("longer than first")
    with pytest.raises(ValueError, match="changed while it was read"):
        state.check_in_place(path)
    other.write_text("another")
    other.replace(path)
    state.check_in_place(path)  # who has the first one open reads it still
    path.unlink()
    state.check_in_place(path)
