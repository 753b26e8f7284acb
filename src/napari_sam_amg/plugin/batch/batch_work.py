"""A batch in the worker thread: the command line's own code, told image by image. Nothing here touches a layer."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.io.discover import BadInput, InputFile, find_inputs
from napari_sam_amg.io.staging import make_folder
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.batch.batch_layers import LayerImage
from napari_sam_amg.plugin.running import work
from napari_sam_amg.plugin.running.interruptible import Interrupted, InterruptibleModel, Reins
from napari_sam_amg.plugin.running.torch_loader import load_torch

if TYPE_CHECKING:
    from napari_sam_amg.batch.image import Image
    from napari_sam_amg.batch.one_file import Batch

TOLD = 0.08  # s, at least, between two reports of progress
DONE, SKIPPED, PARTLY, FAILED = "done", "there already", "partly", "failed"
_LINK = re.compile(r"\b[Ll]ink=")  # as the command line calls what the form calls "Objects"
REPLACE_HINT = "choose to replace results that are there"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch, complete when it is started. Either files and folders or layers."""

    output: Path
    params: AmgParameters
    model: str  # a known name or a path
    device: str
    precision: str
    options: Mapping[str, Any]  # of ``batch.one_file.Options``
    paths: tuple[Path, ...] = ()
    recursive: bool = False
    layers: tuple[LayerImage, ...] = ()
    use_contrast_limits: bool = False  # of layers
    merge_tables: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The images of the batch, by name, in their order."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the image at ``place``: how many batches of points are done, of how many; 0 of 0 before that is known."""

    place: int
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the image at ``place``."""

    place: int
    state: str  # DONE, SKIPPED, PARTLY or FAILED
    words: str


@dataclass(slots=True)
class _Item:
    """An image of the batch; ``image``: None for a file."""

    name: str
    file: InputFile
    layer: LayerImage | None = None
    problem: str = ""


@dataclass(slots=True)
class _Pace:
    """Tells of progress now and then, and looks each time at whether the batch is still wanted."""

    reins: Reins
    tell: Callable[[Any], None]
    last: float = field(default=0.0)

    def follow(self, place: int, done: int, total: int) -> None:
        self.reins.look()
        now = time.perf_counter()
        if now - self.last > TOLD:
            self.last = now
            self.tell(Progress(place, done, total))


def segment_batch(job: BatchJob, reins: Reins, tell: Callable[[Any], None]) -> None:
    """Segment every image of a batch into its folder, and tell :class:`Listed`, :class:`Progress` and :class:`Ended`.

    What fails at one image stops no other. Raises ``Interrupted`` after ``reins.stop()``: images that are done stay,
    and so does the work of a stack that was going on. Raises ``ValueError`` and the like for what concerns all.
    """
    items = _items(job)
    tell(Listed(tuple(item.name for item in items)))
    with reins.computing():
        load_torch()
        from napari_sam_amg.batch.merge import check_merged

        batch = _batch(job, reins)
        files = [item.file for item in items if not item.problem]
        make_folder(job.output)
        if job.merge_tables:
            check_merged(files, job.output, batch.options, batch.params.link)
        pace, there = _Pace(reins, tell), []
        for place, item in enumerate(items):
            tell(Progress(place))
            ended = _one(batch, place, item, job, pace)
            there += [item.file] if ended.state != FAILED else []
            tell(ended)
        if job.merge_tables and there:
            from napari_sam_amg.batch.merge import merge

            merge(there, job.output, batch.options, batch.params.link)


def _items(job: BatchJob) -> list[_Item]:
    if job.layers:
        return [
            _Item(layer.name, InputFile(Path(layer.name), job.output, layer.file_name), layer) for layer in job.layers
        ]
    files, bad = find_inputs(job.paths, job.output, job.recursive)
    return [_bad_item(found, job.output) for found in bad] + [_Item(file.path.name, file) for file in files]


def _bad_item(bad: BadInput, output: Path) -> _Item:
    name = bad.path.name or str(bad.path)
    return _Item(name, InputFile(bad.path, output, name), problem=bad.reason)


def _batch(job: BatchJob, reins: Reins) -> "Batch":
    from napari_sam_amg.amg.ais import check_mode
    from napari_sam_amg.amg.prompts import layer_grids
    from napari_sam_amg.batch.one_file import Batch
    from napari_sam_amg.batch.options import Options

    model = work.loaded_model(job.model, job.device, job.precision)
    layer_grids(job.params)
    check_mode(model, job.params)
    return Batch(OnReins(model, reins), job.params, Options(**{"quiet": True} | dict(job.options)))


class OnReins(InterruptibleModel):
    """An interruptible model that says of itself what the model says: records and kept work are those of the model."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _one(batch: "Batch", place: int, item: _Item, job: BatchJob, pace: _Pace) -> Ended:
    if item.problem:
        return Ended(place, FAILED, item.problem)
    from napari_sam_amg.batch.existing import AlreadyThere

    try:
        done = _of_item(batch, item, job, pace.reins).segment(
            item.file, _image(item.layer, pace.reins), lambda *counts: pace.follow(place, *counts)
        )
    except Interrupted:
        raise
    except AlreadyThere as error:
        words = f"{error.target.name} is there already, of another image or other settings: {REPLACE_HINT}"
        return Ended(place, FAILED, words)
    except Exception as error:  # the other images are not concerned
        return Ended(place, FAILED, _LINK.sub("Objects: ", explain_in_window(error)))
    if done.skipped:
        return Ended(place, SKIPPED, "")
    return Ended(place, PARTLY if done.failed else DONE, done.failed or done.found)


def _of_item(batch: "Batch", item: _Item, job: BatchJob, reins: Reins) -> "Batch":
    """With what is of this image alone."""
    if item.layer is None or not job.use_contrast_limits:
        return batch
    from napari_sam_amg.amg.preprocess import IntensityRange

    limits = IntensityRange(*item.layer.contrast_limits)
    return replace(batch, options=replace(batch.options, intensities=limits))


def _image(layer: LayerImage | None, reins: Reins) -> "Image | None":
    if layer is None:
        return None
    from napari_sam_amg.batch.image import OpenImage

    return OpenImage(layer.raw, layer.record, reins.look)
