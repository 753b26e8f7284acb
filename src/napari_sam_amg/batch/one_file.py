"""One image of a batch: read, segment, write, record."""

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.amg.planes import PlaneStack, may_tile
from napari_sam_amg.amg.preprocess import Survey
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.work import ModelWork, Work
from napari_sam_amg.batch.existing import check_free, check_no_input, left_before, left_over
from napari_sam_amg.batch.file_record import file_record, run_settings
from napari_sam_amg.batch.file_run import Follow, run_file
from napari_sam_amg.batch.image import Image, ImageFile
from napari_sam_amg.batch.options import Options
from napari_sam_amg.batch.outcome import Done
from napari_sam_amg.batch.resume import kept_run, run_identity
from napari_sam_amg.io.discover import InputFile
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.io.staging import end_work, naming, settle, staged, work_folder
from napari_sam_amg.jobs.kept import KeptRun, drop_work
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import Standing, sizes, write_record
from napari_sam_amg.run import survey_if_needed

if TYPE_CHECKING:
    from napari_sam_amg.jobs.dask_engine import Workers


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A model, and everything it is run with."""

    model: Model
    params: AmgParameters
    options: Options
    workers: "Workers | None" = None  # who have the model, which then is only described by ``model``

    def segment(self, file: InputFile, image: Image | None = None, follow: Follow | None = None) -> Done:
        """Write the outputs of one image. Raises for anything that fails, but for some planes of a stack.

        ``image``: by default the file itself.
        """
        targets = [file.output(ending) for ending in self.options.endings(self.params.link)]
        was_done = settle(targets)  # what a run that was killed left half-way, or all but finished
        settings = run_settings(self.model, self.params, self.options)
        image = ImageFile.of(file.path) if image is None else image
        before = Standing()
        if self.options.skip_existing or was_done:
            before = left_before(targets, settings, image)
        if before.is_complete:
            return Done(f"{file.path}: skipped, {targets[-1]} says that it is done", skipped=True)
        check_no_input(file, targets)
        check_free(targets, self.options, before)
        stale, changed = left_over(file, targets)
        with image.opened(self.options.reading, self.params) as source, staged(targets, stale) as folder:
            sha256 = image.hashed()
            before = left_before(targets, settings, sha256) if self.options.skip_existing else Standing()
            check_free(targets, self.options, before)  # once more: nobody else can write them from here on
            with self._kept(source, settings, sha256, folder) as kept:
                surveyed = self._survey(source, kept, follow)
                work = self._work(kept, surveyed, image, sha256)
                there = dataclasses.replace(file, folder=folder)
                outcome = run_file(source, self.model, self.params, self.options, there, surveyed, work, follow)
                outcome.continued = 0 if kept is None else kept.continued
            if outcome.problems:
                image.check(in_place=True)  # half of a file that is no more must not replace a whole result
            elif kept is not None:
                end_work(folder)
            record = file_record(source, surveyed, self.model, self.options, outcome)
            record |= {"settings": settings, "outputs": [target.name for target in targets]}
            record["input"] = image.about(sha256) | record["input"]
            record["output_bytes"] = sizes([folder / target.name for target in targets[:-1]])
            with naming(targets[-1]):
                write_record(folder / targets[-1].name, record)
        said = outcome.summary(file, source, targets, _said_of(stale, changed, kept, surveyed))
        return Done(said, outcome.failed, outcome.found())

    def opened(self, path: Path) -> AbstractContextManager[SourceImage]:
        """An image, as it is to be read."""
        return ImageFile.of(path).opened(self.options.reading, self.params)

    def has_parts(self, stack: PlaneStack) -> bool:
        """Whether what is to be done can be done in parts."""
        return len(stack.indices) > 1 or may_tile(stack.plane_size, self.params)

    def _kept(
        self, source: SourceImage, settings: dict[str, Any], sha256: str, folder: Path
    ) -> AbstractContextManager[KeptRun | None]:
        """What is kept of the work: of what can be done in parts, and of all that others do."""
        if not self.has_parts(source.stack) and self.workers is None:
            return nullcontext()
        if not self.options.resume:
            drop_work(work_folder(folder))
            if self.workers is None:
                return nullcontext()
        identity = run_identity(settings, self.model, self.params, source, sha256)
        return kept_run(folder, identity, self.options.overwrite, self.options.overlay)

    def _survey(self, source: SourceImage, kept: KeptRun | None, follow: Follow | None) -> Survey | None:
        def watch() -> None:
            if follow is not None:
                follow(0, 0)

        def look() -> Survey | None:
            return survey_if_needed(source.stack, self.params, self.options.intensities, watch)

        return look() if kept is None else kept.surveyed(look)

    def _work(self, kept: KeptRun | None, surveyed: Survey | None, image: Image, sha256: str) -> Work | None:
        """Who asks the model; None: this process, without keeping anything."""
        if kept is None:
            return None
        if self.workers is None:
            return kept.over(ModelWork(self.model))
        from napari_sam_amg.jobs.dask_engine import UnitsOnWorkers

        intensities = self.options.intensities or (None if surveyed is None else surveyed.intensities)
        assert intensities is not None
        assert isinstance(image, ImageFile)
        source = {
            "path": str(image.path.absolute()),
            "channel": self.options.channel,
            "series": self.options.series,
            "geometry": self.options.geometry.record(),
            "intensities": [intensities.low, intensities.high],
            "bytes": image.state.size,
            "modified": image.state.modified,
            "sha256": sha256,
        }
        return UnitsOnWorkers(self.workers, kept, source)


def _said_of(stale: list[Path], changed: list[Path], work: KeptRun | None, surveyed: Survey | None) -> str:
    """Pixels without data; what became of files of the run before that this one does not write, and of its work."""
    gaps = "" if surveyed is None else surveyed.gaps
    removed = f"removed {', '.join(path.name for path in stale)} of the run before" if stale else ""
    names = ", ".join(path.name for path in changed)
    kept = f"{names} of the run before changed since, and stayed" if changed else ""
    done = 0 if work is None else work.dropped
    dropped = f"{done} part{'s' * (done != 1)} done before, of the image as it was, dropped: it has changed since"
    return "; ".join(filter(None, (gaps, removed, kept, dropped * bool(done))))
