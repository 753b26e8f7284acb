"""The work of one file's run, kept beside its outputs until these are there: the same command goes on with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_sam_amg.amg.propose import Model
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.io.staging import work_folder
from napari_sam_amg.jobs.identity import identity_of, made_by
from napari_sam_amg.jobs.kept import KeptRun, OtherRun, count_units, drop_work
from napari_sam_amg.params import AmgParameters


def run_identity(
    settings: dict[str, Any], model: Model, params: AmgParameters, source: SourceImage, sha256: str
) -> dict[str, Any]:
    """All that decides about what the model finds in a file."""
    image = {"sha256": sha256, "shape": list(source.raw.data.shape), "axes": source.raw.axes}
    reading = {name: settings.get(name) for name in ("channel", "series", "intensities", "axes", "plane", "ranges")}
    return identity_of(params, input=image, settings=reading, **made_by(model))


@contextmanager
def kept_run(stage: Path, identity: dict[str, Any], anew: bool, wants_images: bool) -> Iterator[KeptRun]:
    """The work that is kept, begun or continued. ``stage``: the folder in which the outputs are written.

    Work on another state of the image is dropped, since that is gone; work with other settings if ``anew``, else it is
    a ``ValueError`` that names them.
    """
    folder = work_folder(stage)
    try:
        kept = KeptRun(folder, identity, wants_images)
    except OtherRun as error:
        if not (anew or error.parts == {"input"}):
            raise ValueError(
                f"{folder}: {error}; give the same settings to go on with it, or --overwrite to begin anew"
            ) from error
        done = count_units(folder)
        drop_work(folder)
        kept = KeptRun(folder, identity, wants_images)
        kept.dropped = done if error.parts == {"input"} else 0
    with kept:
        yield kept
