"""``export-onnx``: a model as two ONNX files. Free of torch until it runs."""

import argparse
from pathlib import Path

from napari_sam_amg.cli.messages import DONE, add_message_flags, say
from napari_sam_amg.models.registry import EMBEDDED, known_models

OPTIONS = {
    "help": "write a model as ONNX files, for other programs",
    "description": (
        "Write a model as two ONNX files, NAME_encoder.onnx and NAME_decoder.onnx, and print how far their results on "
        'a sample image are from torch\'s. Needs: pip install "napari-sam-amg[onnx]".'
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", metavar="NAME", help=f"one of {', '.join(known_models())} (default: {EMBEDDED})")
    model.add_argument("--checkpoint", type=Path, metavar="FILE", help="checkpoint file; NAME is then the file's")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the two files")
    parser.add_argument("--opset", type=int, metavar="N", help="version of ONNX's operators, 18 to 23 (default: 18)")
    parser.add_argument("--offline", action="store_true", help="never download a model")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_message_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    from napari_sam_amg.interchange.onnx import DEFAULT_OPSET, check_packages, export_onnx
    from napari_sam_amg.models.checkpoint import load_model

    check_packages()  # before a large model is read
    model = load_model(arguments.checkpoint or arguments.model or EMBEDDED, "cpu", offline=arguments.offline)
    opset = DEFAULT_OPSET if arguments.opset is None else arguments.opset
    written = export_onnx(model, arguments.output, opset=opset, overwrite=arguments.overwrite)
    if not arguments.quiet:
        say(f"{written.encoder}: differs from torch by at most {written.encoder_difference:.2g}")
        say(f"{written.decoder}: differs from torch by at most {written.decoder_difference:.2g}")
    return DONE
