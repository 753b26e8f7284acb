"""Work for the processes of dask.distributed: few tasks in flight, next to nothing over the wire, results in files."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from logging import CRITICAL
from multiprocessing import forkserver
from threading import Event, Thread
from typing import Any, TypeVar

import dask
from dask.system import CPU_COUNT
from distributed import Client, KilledWorker, LocalCluster, as_completed

from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.checks import check_kind
from napari_sam_amg.jobs.kept import KeptRun
from napari_sam_amg.jobs.remote import ModelFacts, ModelSpec, UnitReport
from napari_sam_amg.jobs.units import unit_name
from napari_sam_amg.jobs.worker import Deaf, ModelPlugin, decide, describe, propose
from napari_sam_amg.params import AmgParameters

AHEAD = 2  # tasks for each worker: one to do, and the next one
_PATIENCE = 60.0  # seconds until a worker must have joined
_PRELOADED = ("napari_sam_amg.jobs.worker", "napari_sam_amg.models.checkpoint", "napari_sam_amg.batch.one_file")
Key = TypeVar("Key")
Result = TypeVar("Result")


@contextmanager
def local_cluster(workers: int) -> Iterator[Client]:
    """So many processes on this machine, which share its cores; ended with the block."""
    cores = max(1, CPU_COUNT // workers)
    with (
        dask.config.set(_local_settings()),
        # without a limit, as in one process: dask has no memory of ours to give back, it could only end workers
        LocalCluster(
            n_workers=workers,
            threads_per_worker=cores,
            memory_limit=0,
            silence_logs=CRITICAL,
            dashboard_address="127.0.0.1:0",  # any port: the usual one may be taken, by another run
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(Deaf())
        ended = Event()
        Thread(target=_mend, args=(cluster, workers, ended), daemon=True).start()
        try:
            yield client
        finally:
            ended.set()


def _mend(cluster: LocalCluster, workers: int, ended: Event) -> None:
    """Start workers anew that nobody starts again: dask gives up those that die before it knows that they are there."""
    while not ended.wait(1.0):
        if len(cluster.workers) < workers:
            cluster.scale(workers)


def _local_settings() -> dict[str, Any]:
    settings: dict[str, Any] = {
        # Whatever a worker had when it died is suspected at once: it is tried alone before it is said to end workers.
        "distributed.scheduler.allowed-failures": 0,
        "distributed.deploy.lost-worker-timeout": 30,  # seconds until a worker that does not come back is given up
    }
    if sys.platform == "linux":  # one process imports what workers need, and they are forked from it, again if they die
        settings["distributed.worker.multiprocessing-method"] = "forkserver"
        forkserver.set_forkserver_preload(list(_PRELOADED))
        forkserver.ensure_running()  # before dask sets what is preloaded
    return settings


@contextmanager
def cluster_at(address: str) -> Iterator[Client]:
    """The workers of a scheduler that runs somewhere. ``ValueError`` if there is none."""
    try:
        client = Client(address, timeout=_PATIENCE / 6)
    except (OSError, ValueError) as error:
        raise ValueError(f"no scheduler of dask answers at {address}: {error}") from error
    with client:
        yield client


class EndsWorkers(ValueError):
    """A call that has ended every process that it was given to."""


class Workers:
    """Processes that have a model."""

    def __init__(self, client: Client, spec: ModelSpec) -> None:
        """Waits until one has joined, and has loaded the model. ``ValueError`` if none does, or if it cannot."""
        check_kind("client", client, Client, "a Client of dask.distributed")
        self.client, self.spec = client, spec
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise ValueError(f"no worker has joined the scheduler of dask within {_PATIENCE:.0f} s") from error
        client.register_plugin(ModelPlugin(spec))
        self.model: ModelFacts = self.ask(describe, spec.plugin)

    def ask(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function returns in one of the processes; raises what it raises there."""
        ((_, answer),) = self.results([(None, partial(function, *arguments))])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def results(self, calls: Iterable[tuple[Key, Callable[[], Result]]]) -> Generator[tuple[Key, Result | Exception]]:
        """What calls return, each with its key, in the order in which they end; as an exception what they raise.

        A call whose worker dies is done again by another one. Dask suspects all that the worker had, and gives up what
        was there too often; it is tried again when all others are done, alone: if it ends its worker then, too, it is
        ``EndsWorkers``.
        """
        suspects: list[tuple[Key, Callable[[], Result]]] = []
        for key, call, answer in self._spread(calls, AHEAD):
            if isinstance(answer, KilledWorker):
                suspects.append((key, call))
            else:
                yield key, answer
        for key, _, answer in self._spread(suspects, 0):
            is_killer = isinstance(answer, KilledWorker)
            yield key, EndsWorkers("it ends every process that works on it") if is_killer else answer

    def _spread(
        self, calls: Iterable[tuple[Key, Callable[[], Result]]], ahead: int
    ) -> Iterator[tuple[Key, Callable[[], Result], Result | Exception]]:
        """``ahead`` calls for each worker at once, or one alone if that is 0."""
        waiting, running = iter(calls), dict[Any, tuple[Key, Callable[[], Result]]]()
        ended = as_completed()
        try:
            while True:
                room = max(1, ahead * len(self.client.ncores()))  # workers join and leave
                while len(running) < room and (call := next(waiting, None)) is not None:
                    future = self.client.submit(call[1], pure=False)
                    running[future] = call
                    ended.add(future)
                if not running:
                    return
                future = next(ended)
                yield *running.pop(future), _answer(future)
        finally:
            if self.client.status == "running":  # a client that is closed has taken its tasks back
                self.client.cancel(list(running))


def _answer(future: Any) -> Any:
    try:
        return future.result()
    except Exception as error:  # whatever the call raised
        return error


class UnitsOnWorkers:
    """The part of a run that needs the model, done by workers; units that are kept already are not done again."""

    def __init__(self, workers: Workers, kept: KeptRun, source: dict[str, Any]) -> None:
        """``source``: where the image is, what of it is read and with which intensities, see ``worker.OpenRun``."""
        self._workers, self._kept = workers, kept
        self._there = workers.spec.plugin, str(kept.folder.absolute())
        kept.journal.add({"source": source})

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        return self._kept.decided(params, lambda: self._workers.ask(decide, *self._there, params))

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        """In their order: those that are done before their turn wait in their files."""
        todo = [region for region in regions if unit_name(region) not in self._kept.done]
        calls = ((unit_name(region), partial(propose, *self._there, region)) for region in todo)
        failed: dict[str, str] = {}
        with closing(self._workers.results(calls)) as arriving:
            for region in regions:
                while not (unit_name(region) in self._kept.done or unit_name(region) in failed):
                    self._note(*next(arriving), failed)
                yield self._candidates(region, images, failed)

    def _note(self, unit: str, report: UnitReport | Exception, failed: dict[str, str]) -> None:
        """What became of a unit. Raises what is no unit's failure."""
        if isinstance(report, EndsWorkers):
            failed[unit] = str(report)
        elif isinstance(report, Exception):
            raise report
        elif report.entry is None:
            failed[unit] = report.failure
        else:
            self._kept.note(report.entry)

    def _candidates(self, region: Region, images: PlaneImages, failed: dict[str, str]) -> RegionCandidates:
        found = None if unit_name(region) in failed else self._kept.read(region)
        if found is None and unit_name(region) not in failed:  # its file was lost or damaged
            self._note(unit_name(region), self._workers.ask(propose, *self._there, region), failed)
            found = self._kept.read(region)
        if found is not None:
            return self._kept.with_image(found, images)
        why = failed.get(unit_name(region), "its file cannot be read")
        return RegionCandidates(region, None, failure=ValueError(why))
