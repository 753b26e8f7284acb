"""Every number of a training run, overridable from the command line."""

import argparse
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What rebuilds the model; stored in its checkpoint."""

    img_size: int = 512  # side of the square input, px
    embed_dim: int = 128
    channels: tuple[int, ...] = (32, 64, 128, 192, 256)  # encoder stages at stride 2, 4, 8, 16, 32
    blocks: tuple[int, ...] = (1, 2, 4, 2, 2)
    center_cells: int = 2
    depth: int = 2
    num_heads: int = 4
    mlp_dim: int = 512
    iou_head_hidden_dim: int = 256
    num_multimask_outputs: int = 3
    mask_in_chans: int = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run; the defaults are about those of the shipped weights, see the model card."""

    seed: int = 0
    steps: int = 1500
    warmup: int = 30
    decay: int = 1400  # the last steps, in which the learning rate falls to zero

    batch: int = 16
    crop: int = 256  # side of a training crop, px; a multiple of 32, at most img_size
    points: int = 12  # a crop; 0 trains the encoder's dense maps alone, six times as many crops a second
    background_points: int = 3  # of those, about

    optimizer: str = "muon"  # for the matrices, with AdamW for the rest; or "adamw" for all
    lr: float = 6e-4
    muon_lr: float = 0.012
    weight_decay: float = 0.03
    clip: float = 2.0
    ema: float = 0.995
    precision: str = "bfloat16"  # of matrix products and convolutions; "float32" where the CPU has no bfloat16

    mask_weight: float = 1.0
    iou_weight: float = 2.0
    dense_weight: float = 0.5

    hold_out: int = 0  # of every so many images of a data set one is not trained on, but left to choose by
    synthetic: float = 0.2  # chance of a crop of a made-up image, see synthetic.py
    # share of the real crops; a data set that is not named gets 1
    shares: dict[str, float] = field(
        default_factory=lambda: {
            "dsb2018_fluo": 30.0,
            "dsb2018_histology": 20.0,
            "usiigaci_phase": 9.0,
            "bbbc039": 7.0,
            "dsb2018_cytology_bf": 10.0,
            "axon_tem": 6.0,
            "fibsem_medulla": 6.0,
            "axon_sem": 5.0,
            "coco_natural": 3.0,
            "ecoli_fluo": 4.0,
        }
    )
    # not every object is labelled, so nothing is known to be background
    partly_labelled: tuple[str, ...] = ("coco_natural", "plant_chloroplast_em")


def recipe_from(overrides: dict[str, Any]) -> Recipe:
    return Recipe(**{name: value for name, value in overrides.items() if value is not None})


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """An option for every plain number or word of the recipe."""
    for item in fields(Recipe):
        if item.default is not MISSING and isinstance(item.default, int | float | str):
            option = "--" + item.name.replace("_", "-")
            parser.add_argument(option, type=type(item.default), help=f"default {item.default}")
    parser.add_argument(
        "--share", dest="shares", type=share, action="append", metavar="NAME=SHARE", help="of a data set"
    )


def share(text: str) -> tuple[str, float]:
    """``NAME=SHARE`` of an option."""
    name, _, value = text.partition("=")
    return name, float(value)


def recipe_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The recipe's options that were given."""
    names = {item.name for item in fields(Recipe)}
    given = {name: value for name, value in vars(arguments).items() if name in names and value is not None}
    return given | ({"shares": Recipe().shares | dict(given["shares"])} if "shares" in given else {})


def describe(recipe: Recipe) -> str:
    return " ".join(f"{name}={value}" for name, value in asdict(recipe).items())
