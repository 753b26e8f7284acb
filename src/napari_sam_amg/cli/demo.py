"""``napari-sam-amg demo``: the main job on a sample image."""

import argparse
from importlib.resources import as_file, files

from napari_sam_amg.cli.messages import DONE, FAILED, say
from napari_sam_amg.cli.segment import segment_all
from napari_sam_amg.io.discover import OVERLAY_ENDING, find_inputs
from napari_sam_amg.io.staging import make_folder
from napari_sam_amg.params import merged

DEMO_IMAGE = "nuclei.tif"


def run(arguments: argparse.Namespace) -> int:
    """The main job on a sample image, whose results may be replaced: they lie in a folder of their own."""
    from napari_sam_amg.batch.one_file import Batch
    from napari_sam_amg.batch.options import Options
    from napari_sam_amg.models.checkpoint import load_model

    make_folder(arguments.output)
    model = load_model()
    params = merged(model.info.amg_defaults, {})
    batch = Batch(model, params, Options(overlay=True, overwrite=True, quiet=arguments.quiet))
    with as_file(files("napari_sam_amg") / "plugin" / "data" / DEMO_IMAGE) as image:
        inputs, _ = find_inputs([image], arguments.output)
        failed = segment_all(batch, inputs, arguments.debug)
    if not (failed or arguments.quiet):
        say(f"open {inputs[0].output(OVERLAY_ENDING)} to see the result")
    return FAILED if failed else DONE
