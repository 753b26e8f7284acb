"""Turn a run's averaged weights into a checkpoint that ships: ``python -m training.export``."""

import argparse
import logging
from pathlib import Path

import torch

from training.compact import save_compactly, to_half
from training.model import EmbeddedSam, build_model, config_entry
from training.recipe import ModelConfig
from training.state import STATE_NAME
from training.train import RUNS

FORMAT = "napari-sam-amg/1"
# Defaults that belong to these weights and a guided search, chosen on training images: see MODEL_CARD.md
AMG_DEFAULTS: dict[str, float | str] = {
    "pred_iou_thresh": 0.56,
    "stability_score_thresh": 0.35,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
    "crop_layers": "auto",
}


def export_model(model: EmbeddedSam, path: Path) -> None:
    content = {
        "format": FORMAT,
        "config": config_entry(model.config),
        "amg": AMG_DEFAULTS,
        "model": {name: to_half(value) for name, value in model.state_dict().items()},
    }
    save_compactly(content, path)


def load_run(folder: Path) -> EmbeddedSam:
    """The averaged weights of a run's last state."""
    saved = torch.load(folder / STATE_NAME, weights_only=True, map_location="cpu")
    model = build_model(ModelConfig(**saved["config"]), seed=0)
    model.load_state_dict(saved["average"])
    logging.info("%s: step %d", folder.name, saved["step"])
    return model.eval()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the run: its folder under training/runs")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    export_model(load_run(RUNS / arguments.name), arguments.output)


if __name__ == "__main__":
    main()
