"""Devices that exist, found without torch and then with it; models by what they are for."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_sam_amg.models.registry import known_models
from napari_sam_amg.plugin.choices import devices
from napari_sam_amg.plugin.choices.devices import known_devices, likely_devices
from napari_sam_amg.plugin.choices.model_box import FROM_FILE, ModelBox
from napari_sam_amg.plugin.choices.model_names import details, purpose
from tests.disc_model import disc_image


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Pretend that torch was built for something, on a computer with these files."""

    def make(version: str, *drivers: str) -> None:
        (tmp_path / "version.py").write_text(version)
        spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
        monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: spec)
        monkeypatch.setattr(sys, "platform", "linux")
        there = [tmp_path / name for name in drivers]
        for path in there:
            path.touch()
        monkeypatch.setattr(devices, "_NVIDIA", (tmp_path / "nvidiactl",))
        monkeypatch.setattr(devices, "_AMD", (tmp_path / "kfd",))

    return make


@pytest.mark.parametrize(
    ("version", "driver", "has_card"),
    [
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", "nvidiactl", True),
        ("cuda = '12.8'\nhip = None\n", "kfd", False),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", "nvidiactl", False),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.2'\n", "kfd", True),
    ],
)
def test_a_graphics_card_needs_a_build_for_it_and_a_driver(
    build: Any, version: str, driver: str, has_card: bool
) -> None:
    build(version)
    assert likely_devices() == ("auto", "cpu")
    build(version, driver)
    assert ("cuda" in likely_devices()) == has_card


def test_macs_with_their_own_processor_have_mps(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build("cuda = None\n")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    assert likely_devices() == ("auto", "cpu", "mps")
    monkeypatch.setattr(devices.platform, "machine", lambda: "x86_64")
    assert likely_devices() == ("auto", "cpu")


def test_the_guess_agrees_with_torch_here() -> None:
    assert set(likely_devices()) == {device.partition(":")[0] for device in known_devices()}


def test_a_run_brings_what_torch_has_found(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    box = plugin.widget.model_box
    box.device.setCurrentText("cpu")
    plugin.viewer.add_image(disc_image([(15, 15)]))
    plugin.run()
    plugin.qtbot.waitUntil(lambda: box.device.count() == 5, timeout=30_000)
    assert [box.device.itemText(row) for row in range(5)] == ["auto", "cpu", "cuda", "cuda:0", "cuda:1"]
    assert box.device.currentText() == "cpu"


def test_models_are_called_by_what_they_are_for() -> None:
    words = [purpose(name) for name in known_models()]
    assert len(set(words)) == len(words)
    assert (purpose("embedded"), purpose("vit_l_lm")) == ("Nuclei and cells, built in", "Light microscopy, large")
    assert (purpose("vit_h"), purpose("vit_t_em_organelles")) == ("Anything (photos), largest", "EM organelles, small")


def test_size_and_place_of_a_model_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    assert details("embedded") == "embedded, 12 MB, built in"
    assert details("vit_b") == "vit_b, 375 MB, not on this computer"
    assert details("vit_l_lm") == "vit_l_lm, about 1.2 GB, not on this computer"
    (tmp_path / "vit_b_lm.pt").write_bytes(bytes(2_000_000))
    assert details("vit_b_lm") == "vit_b_lm, 2 MB, on this computer"


def test_names_are_in_sight_and_whole_names_on_hover(plugin: Any) -> None:
    box = plugin.widget.model_box
    box.model.setCurrentText("vit_l_lm")
    assert box.model.currentText() == "Light microscopy, large"
    assert box.details.text().startswith("vit_l_lm, about 1.2 GB")
    assert box.model.shown_name(1000) == "Light microscopy, large"
    assert box.model.shown_name(100).endswith("…")
    assert "trained for light microscopy" in box.model.full_tooltip()
    plugin.viewer.add_image(disc_image([(15, 15)]), name="a name <that> is far too long to be seen as a whole")
    assert "a name &lt;that&gt; is far too long to be seen as a whole" in plugin.widget.image_box.image.full_tooltip()


def test_the_file_of_a_model_is_chosen_by_its_path(qtbot: Any, tmp_path: Path) -> None:
    box = ModelBox()
    qtbot.addWidget(box)
    assert not box.choose(str(tmp_path / "a.pt"))
    (tmp_path / "a.pt").touch()
    assert box.choose(str(tmp_path / "a.pt"))
    assert (box.model.currentText(), box.chosen) == (FROM_FILE, str(tmp_path / "a.pt"))
    assert box.choose("vit_b")
    assert box.chosen == "vit_b"
