"""Any model as two ONNX files, an image encoder and a mask decoder, checked against torch before they appear.

Names and meaning of the decoder's inputs and outputs are those of the reference's
``segment_anything.utils.onnx.SamOnnxModel``, with three differences: many prompts may be asked at
once, all masks of each are given, and they stay at low resolution (so there is no ``orig_im_size``
and no ``masks``). ``docs/own-models.md`` shows how to use the files.
"""

import json
import os
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam_amg.checks import check_kind, check_path
from napari_sam_amg.io.staging import make_folder, remove_empty, staged
from napari_sam_amg.paths import expanded
from napari_sam_amg.run import as_rgb
from napari_sam_amg.sam.model import Sam

SAMPLE_IMAGE = "nuclei.tif"  # of those that ship, what the files are checked on
OPSETS = range(18, 24)  # what torch's exporter writes
DEFAULT_OPSET = 18  # the oldest of them is read by the most programs
LARGEST_FILE = 2**31 - 2**24  # bytes; protobuf holds 2 GB, weights beyond go to a file beside
TOLERANCE = 1e-3  # largest difference from torch, as a share of the largest value; float32 gives about 1e-5

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class OnnxFiles:
    """An exported model. The differences are the largest between torch and onnxruntime, on a real image."""

    encoder: Path
    decoder: Path
    encoder_difference: float
    decoder_difference: float


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    """A module, what to trace it with, and its file."""

    path: Path
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # names of axes, by input and position

    @property
    def weights_path(self) -> Path | None:
        """The second file of a model too large for one."""
        stored = sum(value.nbytes for value in self.module.state_dict().values())
        return self.path.with_name(f"{self.path.name}.data") if stored > LARGEST_FILE else None

    def run(self) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            found = self.module(*self.inputs.values())
        return found if isinstance(found, tuple) else (found,)


class PromptedDecoder(nn.Module):
    """The prompt encoder and the mask decoder of a model as one function of tensors."""

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """All masks of P prompts of n points each.

        ``image_embeddings``: (1, C, h, w), what the encoder gives.
        ``point_coords``: (P, n, 2) positions (x, y) in pixels of the encoder's input.
        ``point_labels``: (P, n) float, 1 object, 0 background, 2 and 3 the top left and bottom right
        corner of a box, -1 padding. A prompt without a box ends with a padding point.
        ``mask_input``: (1, 1, 4 * h, 4 * w) logits that all prompts refine, ignored unless
        ``has_mask_input``, (1,), is 1.

        Returns logits (P, 4, 4 * h, 4 * w) over the encoder's input, padding included, and the
        predicted IoU (P, 4). Mask 0 is the one for prompts of several points, 1 to 3 are the three
        readings of an ambiguous point.
        """
        none = self.prompt_encoder.no_mask_embed.weight.view(-1, 1, 1)
        given = self.prompt_encoder.mask_downscaling(mask_input)[0]
        # where, not if: the graph holds one path, and whether there is a mask is known only when it runs
        dense = torch.where(has_mask_input.view(1, 1, 1) > 0, given, none)
        side = self.mask_decoder.prepare(image_embeddings[0], self.prompt_encoder.get_dense_pe()[0], dense)
        # the client pads, as the reference's does
        sparse = self.prompt_encoder.embed_points(point_coords, point_labels, pad=False)
        reading = self.mask_decoder.read(side, sparse)
        return self.mask_decoder.draw_all(reading), reading.predicted_iou


def export_onnx(
    model: Sam, folder: str | os.PathLike[str], *, opset: int = DEFAULT_OPSET, overwrite: bool = False
) -> OnnxFiles:
    """Write NAME_encoder.onnx and NAME_decoder.onnx, NAME being ``model.info.name``.

    The encoder takes ``image`` (1, 3, S, S), which ``model.preprocess`` makes, and gives
    ``image_embeddings`` (1, C, h, w); for the decoder see ``PromptedDecoder.forward``. A part of more
    than 2 GB has its weights in a file of its own, NAME_encoder.onnx.data. Raises ``ValueError`` if a
    package is missing, ``opset`` is not one of ``OPSETS``, a file exists and ``overwrite`` is false,
    the folder cannot be written to, or a file does not give what torch gives; nothing is left then.
    """
    check_kind("model", model, Sam, "a model, loaded by load_model")
    check_path("folder", folder)
    check_packages()
    if opset not in OPSETS:
        raise ValueError(f"opset={opset} is not allowed: choose one of {OPSETS[0]} to {OPSETS[-1]}")
    graphs = _graphs(_on_cpu(model), expanded(folder))
    targets = [path for graph in graphs for path in (graph.path, graph.weights_path) if path is not None]
    for target in targets:
        if target.exists() and not overwrite:
            raise ValueError(f"{target} exists already: give --overwrite (in Python overwrite=True) to replace it")
    made = make_folder(targets[0].parent)
    try:
        with staged(targets) as stage:
            encoder, decoder = (_write(graph, stage, opset, _metadata(model)) for graph in graphs)
    finally:
        remove_empty(made)
    return OnnxFiles(graphs[0].path, graphs[1].path, encoder, decoder)


def check_packages() -> None:
    """Raise ``ValueError`` unless everything that an export needs can be imported."""
    missing = [name for name in _PACKAGES if not _can_import(name)]
    if missing:
        raise ValueError(
            f'exporting to ONNX needs {", ".join(missing)}: install with  pip install "napari-sam-amg[onnx]"'
        )


def _can_import(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _on_cpu(model: Sam) -> Sam:
    """The model in eval mode on the CPU; a copy, unless it is that already."""
    if model.device.type == "cpu" and not model.training:
        return model
    return deepcopy(model).eval().to("cpu")  # the user's own stays where it is, and in training


def _graphs(model: Sam, folder: Path) -> tuple[_Graph, _Graph]:
    """Encoder and decoder, with a real image and prompts on it."""
    config, name = model.config, model.info.name
    pixels, (height, width) = model.preprocess(_sample_image())
    encoder = _Graph(folder / f"{name}_encoder.onnx", model.image_encoder, {"image": pixels}, ("image_embeddings",))
    mask_side = 4 * config.grid_side
    points = torch.tensor([[0.25, 0.25], [0.5, 0.6], [0.8, 0.4]]) * torch.tensor([width, height])
    prompts = {
        "image_embeddings": encoder.run()[0],
        "point_coords": torch.stack([points, torch.zeros(3, 2)], dim=1),
        "point_labels": torch.tensor([[1.0, -1.0]]).repeat(3, 1),
        "mask_input": torch.zeros(1, 1, mask_side, mask_side),
        "has_mask_input": torch.zeros(1),
    }
    axes = {0: "prompts", 1: "points"}
    decoder = _Graph(
        folder / f"{name}_decoder.onnx", PromptedDecoder(model).eval(), prompts,
        ("low_res_masks", "iou_predictions"), {"point_coords": axes, "point_labels": axes},
    )  # fmt: skip
    return encoder, decoder


def _sample_image() -> NDArray[np.uint8]:
    with as_file(files("napari_sam_amg") / "plugin" / "data" / SAMPLE_IMAGE) as path:
        return as_rgb(tifffile.imread(path))


def _metadata(model: Sam) -> dict[str, str]:
    """What a program needs to know to use the files, as the texts that ONNX keeps."""
    return {
        "model": model.info.name,
        "architecture": model.info.architecture,
        "model_sha256": model.info.sha256,
        "img_size": str(model.config.img_size),
        # 123.675 is 123.67500305 as a float32
        "pixel_mean": json.dumps([round(value, 3) for value in model.pixel_mean.flatten().tolist()]),
        "pixel_std": json.dumps([round(value, 3) for value in model.pixel_std.flatten().tolist()]),
        "mask_threshold": str(model.mask_threshold),
        "amg_defaults": json.dumps(dict(model.info.amg_defaults)),
        "made_by": f"napari-sam-amg {version('napari-sam-amg')}",
    }


def _write(graph: _Graph, folder: Path, opset: int, metadata: Mapping[str, str]) -> float:
    """Export into a folder; returns the largest difference from torch."""
    axes = [{axis: torch.export.Dim(name) for axis, name in graph.dynamic.get(key, {}).items()} for key in graph.inputs]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            graph.module, tuple(graph.inputs.values()), dynamo=True, opset_version=opset, verbose=False,
            input_names=list(graph.inputs), output_names=list(graph.outputs), dynamic_shapes=axes,
        )  # fmt: skip
        assert program is not None
        program.model.metadata_props.update(metadata)
        program.save(folder / graph.path.name, external_data=graph.weights_path is not None)
    return _check(graph, folder / graph.path.name)


def _check(graph: _Graph, path: Path) -> float:
    """The largest difference between torch and onnxruntime; ``ValueError`` if it is more than rounding."""
    differences = []
    for name, expected, found in zip(graph.outputs, graph.run(), _run_onnx(graph, path), strict=True):
        wanted = expected.numpy()
        difference = float(np.abs(found - wanted).max())
        allowed = TOLERANCE * float(np.abs(wanted).max())
        if not difference <= allowed:  # NaN is not
            raise ValueError(
                f"{path.name} was not kept: its {name} differ from torch's by {difference:.2g}, "
                f"allowed is {allowed:.2g}"
            )
        differences.append(difference)
    return max(differences)


def _run_onnx(graph: _Graph, path: Path) -> list[NDArray[np.float32]]:
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, {key: value.numpy() for key, value in graph.inputs.items()})
    return found
