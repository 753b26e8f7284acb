"""AIS in the widget: a choice among the parameters, with a problem in words where the model has no decoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam_amg.models import registry
from napari_sam_amg.models.defaults import first_missing, missing_reason, no_decoder_reason
from napari_sam_amg.models.registry import FOLDER_VARIABLE
from napari_sam_amg.plugin.choices import model_box
from napari_sam_amg.plugin.choices.model_box import FROM_FILE
from napari_sam_amg.plugin.running import work
from tests.disc_model import disc_image
from tests.finetune_model import FinetuneModel

DISCS = [(15, 15), (15, 50), (45, 30)]


def choose_file(plugin: Any, path: str = "my_finetune.pt") -> None:
    plugin.widget.model_box.model.setCurrentText(FROM_FILE)
    plugin.widget.model_box.path.setText(path)


def test_a_run_makes_labels_and_the_table(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FinetuneModel()
    monkeypatch.setattr(work, "loaded_model", lambda *_: model)
    plugin.viewer.add_image(disc_image(DISCS), contrast_limits=(0, 255))
    choose_file(plugin)
    plugin.choose(mode="ais")
    layer = plugin.run()
    assert sorted(np.unique(layer.data)) == [0, 1, 2, 3]
    assert [layer.data[y, x] for y, x in DISCS] == [1, 2, 3]
    assert layer.features["area"][1:].tolist() == np.bincount(layer.data.ravel())[1:].tolist()
    assert layer.features["predicted_iou"].isna().all()
    assert model.decoded == 0
    assert plugin.widget.status.text().endswith(", by AIS.")
    assert plugin.messages == []


def test_where_the_decoder_shows_nothing_no_threshold_is_blamed(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "loaded_model", lambda *_: FinetuneModel())
    plugin.viewer.add_image(disc_image(DISCS) // 4 + np.arange(80, dtype=np.uint8), contrast_limits=(0, 255))
    choose_file(plugin)
    plugin.choose(mode="ais")
    plugin.widget.image_box.intensities.setCurrentText("contrast limits")
    plugin.run()
    assert plugin.widget.status.text() == "No objects found: the model's segmentation decoder shows none."


def test_the_embedded_model_is_no_choice_for_it(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(DISCS))
    assert plugin.widget.run_button.isEnabled()
    plugin.choose(mode="ais")
    assert not plugin.widget.run_button.isEnabled()
    assert plugin.widget.message.text() == (
        "Mode: 'ais' needs a segmentation decoder, as finetunes of micro-sam have it, and there is none for embedded: "
        "its own maps are others, of foreground, boundary and offsets; choose mode='amg', or another model"
    )
    choose_file(plugin)
    assert plugin.widget.run_button.isEnabled()


def test_a_file_without_a_decoder_fails_in_words(plugin: Any, model: Any) -> None:
    plugin.viewer.add_image(disc_image(DISCS))
    choose_file(plugin)
    plugin.choose(mode="ais")
    plugin.click_run()
    plugin.wait()
    assert "there is none for blobs: it has none; choose mode='amg'" in plugin.widget.status.text()
    assert [layer.name for layer in plugin.viewer.layers] == ["Image"]


@pytest.mark.parametrize("offline", [False, True])
def test_what_is_missing_of_a_published_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv(registry.OFFLINE_VARIABLE, "1" if offline else "0")
    finetune = registry._DOWNLOADABLE["vit_b_lm"]
    decoder = finetune.decoder
    assert decoder is not None
    assert no_decoder_reason("vit_b") == "it was published without one"
    hint = decoder.by_hand if offline else "press Download decoder"
    assert no_decoder_reason("vit_b_lm") == f"its file is not on this computer: {hint}"
    assert first_missing("vit_b_lm") == finetune
    finetune.path.touch()
    assert first_missing("vit_b_lm") == decoder
    assert missing_reason("vit_b_lm") is None  # it can be run
    decoder.path.touch()
    assert first_missing("vit_b_lm") is None
    assert no_decoder_reason("vit_b_lm") == ""
    assert no_decoder_reason("any.pt") == ""


def test_a_decoder_alone_is_offered_for_download(
    plugin: Any, publish: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_box, "missing_reason", missing_reason)
    content = bytes(1000)
    model = publish("vit_b_lm", content, decoder=True)
    model.path.parent.mkdir()
    model.path.write_bytes(content)
    plugin.viewer.add_image(disc_image(DISCS))
    plugin.widget.model_box.model.setCurrentText("vit_b_lm")
    box = plugin.widget.model_box.download_box
    assert box.button.text() == "Download decoder (1 kB)"
    assert plugin.widget.run_button.isEnabled()
    plugin.choose(mode="ais")
    assert plugin.widget.message.text().endswith(
        "vit_b_lm: its file is not on this computer: press Download decoder; choose mode='amg', or another model"
    )
    box.button.click()
    plugin.qtbot.waitUntil(lambda: box.download is None, timeout=20_000)
    assert model.decoder.path.read_bytes() == content
    assert plugin.widget.message.text() == ""
    assert plugin.widget.run_button.isEnabled()
    assert not box.isVisible()


def test_a_finetune_and_its_decoder_are_downloaded_together(
    plugin: Any, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_box, "missing_reason", missing_reason)
    model = publish("vit_b_lm", bytes(1000), decoder=True)
    plugin.widget.model_box.model.setCurrentText("vit_b_lm")
    box = plugin.widget.model_box.download_box
    assert box.button.text() == "Download (1 kB)"
    box.button.click()
    plugin.qtbot.waitUntil(lambda: box.download is None, timeout=20_000)
    assert all(file.path.is_file() for file in model.files)
    assert box.message.text() == ""
