"""The command ``segment`` as a function of Python."""

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.amg.ais import check_mode
from napari_sam_amg.amg.prompts import layer_grids
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.batch.merge import check_merged, merge
from napari_sam_amg.batch.one_file import Batch
from napari_sam_amg.batch.options import Options
from napari_sam_amg.checks import check_kind, check_path
from napari_sam_amg.cli.segment import segmented
from napari_sam_amg.errors import explain
from napari_sam_amg.io.discover import find_inputs
from napari_sam_amg.io.staging import make_folder
from napari_sam_amg.jobs.remote import ModelSpec
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.defaults import suited
from napari_sam_amg.models.registry import EMBEDDED, known_models
from napari_sam_amg.params import AmgParameters, check_names, merged
from napari_sam_amg.settings import overridden

if TYPE_CHECKING:
    from distributed import Client

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class SegmentedFile:
    """What became of one image."""

    path: Path
    outputs: tuple[Path, ...] = ()  # that are in place; none if it failed as a whole
    problem: str = ""  # why it has no outputs, or which of its planes failed; empty if all is there


def segment_to_files(
    images: PathLike | Iterable[PathLike],
    output: PathLike,
    model: PathLike = EMBEDDED,
    params: AmgParameters | None = None,
    *,
    device: str = "auto",
    precision: str = "exact",
    client: "Client | None" = None,
    recursive: bool = False,
    merge_tables: bool = False,
    **options: Any,
) -> list[SegmentedFile]:
    """Segment image files, and those of folders, into the folder ``output``, as ``napari-sam-amg segment`` does.

    A stack that was interrupted goes on where it was when this is called again. ``model``: a name, or the path of a
    checkpoint. ``params``: by default those that suit it; single ones may be given by name, as ``link="z"``.
    ``client``: of dask.distributed, whose workers then do the work; they must see images, ``output`` and the
    checkpoint under the same paths. ``options``: such parameters, and fields of
    :class:`napari_sam_amg.batch.options.Options`, as ``formats={"labels", "coco-rle"}``, ``overlay``, ``overwrite``,
    ``skip_existing``, ``resume``.

    What fails at one image is its ``problem``, and stops no other. Raises ``ValueError`` for what concerns all, and
    ``TypeError`` for a name that is neither a parameter nor an option.
    """
    check_path("output", output)
    check_path("model", model)
    check_kind("params", params, (AmgParameters, type(None)), "AmgParameters")
    check_kind("images", images, (os.PathLike, Iterable), "a path, or several")
    paths = [images] if isinstance(images, str | os.PathLike) else list(images)
    for path in paths:
        check_path("images", path)
    for name, value in (("recursive", recursive), ("merge_tables", merge_tables)):
        check_kind(name, value, bool, "True or False")
    folder = Path(output)
    fields = {spec.name for spec in dataclasses.fields(Options)}
    what = Options(**{"quiet": True} | {name: value for name, value in options.items() if name in fields})
    given = {name: value for name, value in options.items() if name not in fields}
    _check_options(given, fields)
    files, bad_inputs = find_inputs([Path(path) for path in paths], folder, recursive)
    make_folder(folder)
    batch = _batch(_spec(model, device, precision), params, given, what, client)
    if merge_tables:
        check_merged(files, folder, what, batch.params.link)
    found = {}
    for file, done in segmented(batch, files):
        if isinstance(done, Exception):
            found[file] = SegmentedFile(file.path, problem=explain(done))
        else:
            there = tuple(file.output(ending) for ending in what.endings(batch.params.link))
            found[file] = SegmentedFile(file.path, there, done.failed)
    if merge_tables:
        merge([file for file in files if found[file].outputs], folder, what, batch.params.link)
    return [SegmentedFile(bad.path, problem=bad.reason) for bad in bad_inputs] + [found[file] for file in files]


def _spec(model: PathLike, device: str, precision: str) -> ModelSpec:
    is_name = isinstance(model, str) and model in known_models()
    return ModelSpec(str(model) if is_name else str(Path(model).expanduser().absolute()), device, precision)


def _check_options(given: Mapping[str, Any], fields: Collection[str]) -> None:
    try:
        check_names(given)
    except ValueError as error:
        raise TypeError(f"{error}; and the options {', '.join(sorted(fields))}") from None


def _batch(
    spec: ModelSpec,
    params: AmgParameters | None,
    given: Mapping[str, Any],
    options: Options,
    client: "Client | None",
) -> Batch:
    if client is None:
        workers, model = None, _loaded(spec)
    else:
        from napari_sam_amg.jobs.dask_engine import Workers

        workers = Workers(client, spec)
        model = workers.model
    own = merged(model.info.amg_defaults or suited(spec.name), given)
    params = own if params is None else overridden(params, given)
    layer_grids(params)
    check_mode(model, params)
    return Batch(model, params, options, workers)


def _loaded(spec: ModelSpec) -> Model:
    return load_model(spec.name, spec.device, precision=spec.precision, quiet=True)
