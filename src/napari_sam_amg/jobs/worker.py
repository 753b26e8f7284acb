"""What runs in a process of dask: it has the model, reads the image, writes candidates, returns next to nothing.

A worker knows a run by its folder, in whose journal all is that was decided. Everything here can be done twice, by two
workers at once too: a unit whose file is there is done.
"""

import asyncio
import signal
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from distributed import Status, Worker, WorkerPlugin, get_worker

from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.amg.region import Region
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.errors import in_words
from napari_sam_amg.hashes import hash_file
from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.raw_image import Geometry
from napari_sam_amg.jobs.gpus import own_gpu
from napari_sam_amg.jobs.identity import differences, made_by
from napari_sam_amg.jobs.kept import UNITS, head
from napari_sam_amg.jobs.remote import ModelFacts, ModelSpec, UnfitWorker, UnitReport
from napari_sam_amg.jobs.survey_record import survey_of
from napari_sam_amg.jobs.units import find_unit, write_unit
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.sam.scratch import POOL

if TYPE_CHECKING:
    from napari_sam_amg.sam.model import Sam

_OPEN = 2  # images that a worker keeps open; they are done one after another
_PATIENCE = 600.0  # seconds to load a model
_HEARD = 0.5  # seconds until a nanny knows that its worker is there; it looks every 50 ms
_SHARED = "must be on a disk that all workers share, under the same path"


class Deaf(WorkerPlugin):
    """A worker that hears no Ctrl-C, which a terminal sends to all processes: whoever has started it ends it."""

    name = "napari-sam-amg deaf"

    def setup(self, worker: Worker) -> None:
        with suppress(ValueError):  # it is no process of its own
            signal.signal(signal.SIGINT, signal.SIG_IGN)


class ModelPlugin(WorkerPlugin):
    """The model of a worker: loaded once, when the worker starts or is first told of it."""

    _is_ready = False

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.name = spec, spec.plugin

    async def setup(self, worker: Worker) -> None:
        # dask starts workers with one thread of OpenMP, and says here how many cores this one has
        self.turn, self.threads = Lock(), worker.state.nthreads
        # dask starts a worker again that dies, but not one that dies before its nanny has heard that it is there
        self.heard_at = 0.0 if worker.status is Status.running else time.monotonic() + _HEARD
        self.resources = ExitStack()
        self.open: OrderedDict[str, OpenRun] = OrderedDict()
        self.failure: Exception | None = None
        await asyncio.to_thread(self._load)  # the worker goes on answering meanwhile

    def _load(self) -> None:
        from napari_sam_amg.models.checkpoint import load_model

        try:
            device = self.resources.enter_context(own_gpu(self.spec.device))
            self._model = load_model(
                self.spec.name, device, precision=self.spec.precision, offline=self.spec.offline, quiet=True
            )
        except Exception as error:  # said to who asks for the model: a worker that failed here would be started again
            self.failure = error
        self._is_ready = True

    def is_ready(self) -> bool:
        """Whether it has the model, or knows why not; not any more when another has taken its place."""
        return self._is_ready

    @property
    def model(self) -> "Sam":
        if self.failure is not None:
            raise UnfitWorker(f"{here()} has no model: {in_words(self.failure)}")
        return self._model

    def run_in(self, folder: str) -> "OpenRun":
        """The run of a folder, opened if need be."""
        if folder not in self.open:
            self.open[folder] = OpenRun(Path(folder), self.model)
        self.open.move_to_end(folder)
        while len(self.open) > _OPEN:
            self.open.popitem(last=False)[1].close()
        return self.open[folder]

    async def teardown(self, worker: Worker) -> None:
        """Another command has told of the same model, or the worker ends."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self.turn:  # whoever works with it may end first
            self._is_ready = False
            while self.open:
                self.open.popitem()[1].close()
            self.resources.close()
            self.__dict__.pop("_model", None)


class OpenRun:
    """A run whose image is open."""

    def __init__(self, folder: Path, model: "Sam", asked: AmgParameters | None = None) -> None:
        """``asked``: the parameters that were given, as long as nothing is decided."""
        said = head(folder)
        if not said:
            raise UnfitWorker(f"{here()} does not see {folder}: the output folder {_SHARED}")
        check_model(said["identity"], model)
        self.run, self.units = str(said["run"]), folder / UNITS
        self.params = AmgParameters(**said["decided"]) if "decided" in said else None
        source, self._resources = said["source"], ExitStack()
        path = Path(source["path"])
        with _said_by_worker(path):
            _check_same(path, source)
            geometry = Geometry.of(source["geometry"])
            image = self._resources.enter_context(
                open_image(path, source["channel"], source["series"], geometry, self.params or asked)
            )
        surveyed = survey_of(said["survey"], folder)
        self.images = PlaneImages(image.stack, surveyed, IntensityRange(*source["intensities"]))
        self.work = ModelWork(model)
        self._resources.enter_context(POOL.kept())

    def close(self) -> None:
        self._resources.close()


def describe(plugin: str) -> ModelFacts:
    """The model that this worker has."""
    with model_of(plugin) as found:
        model = found.model
        return ModelFacts(
            model.info, model.precision, str(model.device), model.sees_objects, model.mask_threshold, found.threads
        )


def decide(plugin: str, folder: str, params: AmgParameters) -> AmgParameters:
    """What holds for all units of a run, see :class:`~napari_sam_amg.amg.work.Work`."""
    with model_of(plugin) as found:
        run = found.open.pop(folder, None)
        if run is not None:
            run.close()  # what was decided is to be read again
        run = OpenRun(Path(folder), found.model, params)
        try:
            return run.work.decide(run.images, params)
        finally:
            run.close()


def propose(plugin: str, folder: str, region: Region) -> UnitReport:
    """Write the candidates of a unit, if that was not done yet."""
    with model_of(plugin) as found:
        run = found.run_in(folder)
        entry = find_unit(run.units, region, run.run)
        if entry is not None:
            return UnitReport(entry)
        assert run.params is not None, "nothing was decided yet"
        *_, candidates = run.work.propose([region], run.images, run.params)
        assert candidates is not None
        if candidates.failure is not None:
            return UnitReport(failure=in_words(candidates.failure))
        with _said_by_worker(run.units):
            return UnitReport(write_unit(run.units, candidates, run.run))


@contextmanager
def model_of(plugin: str) -> Iterator[ModelPlugin]:
    """One task at a time: threads of a worker are for the model, which computes with all of them."""
    import cv2
    import torch

    with ExitStack() as turn:
        found = _in_turn(plugin, turn)
        time.sleep(max(0.0, found.heard_at - time.monotonic()))
        torch.set_num_threads(found.threads)  # of the thread that this task has
        cv2.setNumThreads(found.threads)
        yield found


def _in_turn(plugin: str, turn: ExitStack) -> ModelPlugin:
    """The plugin, for this task alone. Another command that asks for the same model puts a new one in its place."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        found = get_worker().plugins.get(plugin)
        if isinstance(found, ModelPlugin) and found.is_ready():
            turn.enter_context(found.turn)
            if found.is_ready():
                return found
            turn.close()
        time.sleep(0.05)
    raise UnfitWorker(f"{here()} was not given the model within {_PATIENCE:.0f} s")


def here() -> str:
    return f"the worker at {get_worker().address}"


@contextmanager
def _said_by_worker(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnfitWorker(f"{here()} cannot reach {path}: {in_words(error)}; it {_SHARED}") from None  # it is sent


def check_model(identity: Mapping[str, Any], model: "Sam") -> None:
    """Raise ``UnfitWorker`` unless this worker would do what any other one would."""
    here_is = made_by(model)
    wanted = {name: identity[name] for name in here_is}
    if here_is != wanted:
        raise UnfitWorker(f"{here()} is not fit for this run: {differences('it', wanted, here_is)}")


def _check_same(path: Path, source: dict[str, Any]) -> None:
    """Raise ``UnfitWorker`` if this machine has another file of that name."""
    found = path.stat()
    is_same = found.st_size == source["bytes"]
    if is_same and found.st_mtime_ns != source["modified"]:  # a copy, perhaps
        is_same = hash_file(path) == source["sha256"]
    if not is_same:
        raise UnfitWorker(f"{here()} sees another file as {path}, or it was changed since the run began")
