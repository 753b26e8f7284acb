"""All that is chosen for a run: the boxes of the tab Segment, what is wrong with them, and the run that they make."""

from dataclasses import replace
from weakref import ref

from napari.layers import Image
from napari.viewer import Viewer

from napari_sam_amg.models.defaults import no_decoder_reason
from napari_sam_amg.objects.axes import through_axis
from napari_sam_amg.params import AmgParameters, needs_decoder
from napari_sam_amg.plugin.choices.again_box import AgainBox
from napari_sam_amg.plugin.choices.form import ParameterForm
from napari_sam_amg.plugin.choices.image_box import ALL_PLANES, ImageBox
from napari_sam_amg.plugin.choices.model_box import ModelBox
from napari_sam_amg.plugin.choices.presets_box import PresetsBox
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.results_box import ResultsBox
from napari_sam_amg.plugin.preferences import preferences
from napari_sam_amg.plugin.running.earlier import Landing, Settings, has_results, landing_of
from napari_sam_amg.plugin.running.result_files import ResultFiles, why_not
from napari_sam_amg.plugin.running.work import Job, model_files


class Chosen:
    """Holds the boxes; whoever shows them lays them out."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        preferred = preferences()
        self.image_box = ImageBox(viewer)
        self.results_box = ResultsBox(preferred.results_folder, preferred.memory_bytes)
        self.again_box = AgainBox()
        self.model_box = ModelBox(preferred)
        self.form = ParameterForm()
        self.presets_box = PresetsBox(self.model_box, self.form)
        self.model_box.suited.connect(self.form.apply_model)
        self.model_box.suited.connect(self.presets_box.take_suited)  # when the form has them

    def problems(self) -> list[Problem]:
        """What keeps a run from starting, empty if nothing does."""
        of_image = self.image_box.problems() or self.results_box.problems() or self._folder_problems()
        return [*of_image, *self.settings_problems(), *self._link_problems()]

    def settings_problems(self) -> list[Problem]:
        """Those that have nothing to do with the image."""
        of_model = self.model_box.problems()
        return [*of_model, *self.form.problems(), *([] if of_model else self._mode_problems())]

    def _folder_problems(self) -> list[Problem]:
        axes = self.image_box.axes
        reason = "" if self.results_box.chosen is None or axes is None else why_not(axes)
        return [Problem(self.results_box.where, reason)] if reason else []

    def _link_problems(self) -> list[Problem]:
        link, box = self.form.fields["link"], self.image_box
        if link.value() == "none" or not box.is_stack:
            return []
        if box.takes_one:
            return [Problem(link.control, f"Objects {link.widget.current_choice} need {ALL_PLANES.lower()}.")]
        try:
            through_axis(replace(AmgParameters(), link=link.value()), box.stack_names)
        except ValueError as error:
            return [Problem(link.control, f"{str(error).replace('link=', 'Objects: ')}. Name the layer's axes.")]
        return []

    def _mode_problems(self) -> list[Problem]:
        """Of how objects are found, with this model."""
        mode, model = self.form.fields["mode"], self.model_box.chosen
        reason = no_decoder_reason(model) if mode.value() == "ais" else ""
        return [Problem(mode.control, needs_decoder(model, reason).replace("mode=", "Mode: ", 1))] if reason else []

    def landing(self) -> Landing | None:
        """Where a run would go; None where there are no earlier results. Only while there are no problems."""
        image = self.image_box.layer
        if image is None or not has_results(self._viewer, image):
            return None
        return self._landing(image, self._settings())

    def _landing(self, image: Image, settings: Settings) -> Landing:
        return landing_of(self._viewer, image, settings, self.again_box.chosen)

    def _settings(self) -> Settings:
        return Settings(
            source=self.image_box.source(),
            params=self._parameters(),
            model=self.model_box.chosen,
            precision=self.model_box.precision.currentText(),
            use_contrast_limits=self.image_box.chosen_intensities == "contrast limits",
            is_on_disk=self.results_box.chosen is not None,
            model_file=model_files(self.model_box.chosen),
        )

    def _parameters(self) -> AmgParameters:
        """What is chosen, but for what is hidden since there is no stack."""
        params = self.form.parameters()
        return params if self.image_box.is_stack else replace(params, link="none")

    def job(self) -> Job:
        """``ValueError`` for an image that changed since it was looked at, and the like."""
        settings, image, folder = self._settings(), self.image_box.layer, self.results_box.chosen
        assert image is not None
        job = Job(
            source=settings.source,
            params=settings.params,
            model=settings.model,
            device=self.model_box.device.currentText(),
            precision=settings.precision,
            use_contrast_limits=settings.use_contrast_limits,
            files=None if folder is None else ResultFiles.of(folder, settings.source.name),
            memory=preferences().candidate_bytes,
            image=ref(image),
            asked=settings,
            again=self.again_box.chosen,
        )
        return job.landing_at(self._landing(image, settings))
