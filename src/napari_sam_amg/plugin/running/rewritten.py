"""Labels in a folder written anew for other thresholds: all files in place of the old ones at once, or none."""

from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running.kept_on_disk import CANDIDATES, Layout, check_labels, labels_hash, read_record
from napari_sam_amg.plugin.running.result_files import ResultFiles, named, table_endings, tables

if TYPE_CHECKING:
    from napari_sam_amg.amg.assemble import PlaneResult
    from napari_sam_amg.review.kept import KeptRun
    from napari_sam_amg.review.refiltered import Refiltered


def rewritten(files: ResultFiles, kept: "KeptRun", params: AmgParameters, layout: Layout) -> Generator[tuple[int, int]]:
    """Write what a run with ``params`` would, but for the ids, which stay; yields planes done, of how many.

    In the folder are the old labels, tables and record until all new ones are there, whatever happens; a process that
    is killed while they are put in place leaves them to the next one that opens them, or runs there. Close it
    to leave the old ones. ``ValueError`` where the labels were changed by others.
    """
    from napari_sam_amg.io.label_files import empty_copy
    from napari_sam_amg.io.staging import staged
    from napari_sam_amg.jobs.candidates import IDS, write_arrays
    from napari_sam_amg.provenance import write_record

    record = read_record(files)
    check_labels(files, record)
    with staged([files.labels, *map(files.path, table_endings(params)), files.record]) as folder:
        new = replace(files, folder=folder)
        volume = empty_copy(files.labels, new.labels)
        exports = tables(new, params)
        masks = labels = 0
        for done, result in enumerate(_results(kept, params), 1):
            place = layout.place(result.index)
            volume.write_plane(place, result.labels)
            volume.reduce_plane(place)
            written = named(result, layout.plane_axes, layout.through(params))
            for export in exports:
                export.add(written)
            masks, labels = masks + len(result.masks), labels + len(result.features)
            yield done, len(kept.indices)
        for export in exports:
            export.finish()
        check_labels(files, record)  # once more: nobody else can write them from here on
        write_arrays(files.candidates, IDS, kept.book())  # more ids than the labels have do no harm
        counts = {"masks": masks, "hidden_by_overlap": max(0, masks - labels)}
        more = _said_of(record, kept.params, params) | counts
        more[CANDIDATES] = record[CANDIDATES] | {
            "labels_sha256": labels_hash(new.labels),
            "parameters": asdict(params),
        }
        write_record(new.record, {**record, **more})


def _results(kept: "KeptRun", params: AmgParameters) -> "Iterator[Refiltered | PlaneResult]":
    if params.link == "none":
        return (kept.plane(index, params) for index in kept.indices)
    return kept.linked(params)


def _said_of(record: dict[str, Any], own: AmgParameters, params: AmgParameters) -> dict[str, Any]:
    """Which thresholds the labels have now, and which the run had."""
    values, before, used = asdict(params), asdict(own), record.get("parameters_used", {})
    moved = {name: value for name, value in values.items() if used.get(name) != value}
    differ = {name: before[name] for name in values if values[name] != before[name]}
    record.pop("of_the_run", None)
    return {
        "parameters": {**record.get("parameters", {}), **moved},
        "parameters_used": values,
        "thresholds_written": datetime.now(UTC).isoformat(timespec="seconds"),
    } | ({"of_the_run": differ} if differ else {})
