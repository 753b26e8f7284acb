"""Files for other processes: a picture of one plane is done by one of them as a whole, planes of stacks by all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.batch.one_file import Batch
from napari_sam_amg.batch.outcome import Done
from napari_sam_amg.errors import explain
from napari_sam_amg.io.discover import InputFile
from napari_sam_amg.jobs.identity import made_by
from napari_sam_amg.jobs.remote import ModelSpec

if TYPE_CHECKING:
    from napari_sam_amg.jobs.dask_engine import Workers

NEEDS_EXTRA = "needs the package distributed, which is not there: pip install 'napari-sam-amg[cluster]'"


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a file was not segmented, by a process that can say it in words only."""

    reason: str


@contextmanager
def workers_for(spec: ModelSpec, scheduler: str | None, workers: int | None) -> Iterator["Workers"]:
    """Processes with a model: those of a scheduler, or so many of our own."""
    try:
        from napari_sam_amg.jobs.dask_engine import Workers, cluster_at, local_cluster
    except ModuleNotFoundError as error:
        raise ValueError(f"{'--scheduler' if scheduler else '--workers'} {NEEDS_EXTRA}") from error
    with cluster_at(scheduler) if scheduler else local_cluster(workers or 1) as client:
        yield Workers(client, spec)


def spread(batch: Batch, files: Sequence[InputFile]) -> Iterator[tuple[InputFile, Done | Exception]]:
    """Segment files with the workers of a batch; each comes when it is done."""
    assert batch.workers is not None
    single = [file for file in files if _is_single(batch, file)]
    alone, wanted, plugin = replace(batch, workers=None), made_by(batch.model), batch.workers.spec.plugin
    calls = ((file, partial(_segment_there, plugin, wanted, alone, _absolute(file))) for file in single)
    for file, done in batch.workers.results(calls):
        yield file, ValueError(done.reason) if isinstance(done, Failed) else done
    for file in files:
        if file not in single:
            try:
                yield file, batch.segment(file)
            except Exception as error:  # the other files are not concerned
                yield file, error


def _is_single(batch: Batch, file: InputFile) -> bool:
    """Whether there is one thing to do in a file; also if it cannot be read, which whoever gets it will say."""
    try:
        with batch.opened(file.path) as source:
            return not batch.has_parts(source.stack)
    except Exception:
        return True


def _absolute(file: InputFile) -> InputFile:
    """Other processes may be in another folder."""
    return replace(file, path=Path(file.path).absolute(), folder=file.folder.absolute())


def _segment_there(plugin: str, wanted: dict[str, Any], batch: Batch, file: InputFile) -> Done | Failed:
    """In a process that has the model."""
    from napari_sam_amg.jobs.worker import check_model, model_of

    with model_of(plugin) as found:
        check_model(wanted, found.model)
        try:
            return replace(batch, model=found.model).segment(file)
        except Exception as error:
            return Failed(explain(error))
