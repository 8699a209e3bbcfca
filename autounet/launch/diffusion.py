"""Training a network to draw images: what it has to know beforehand, and how it is scored."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from autounet.data.dataset import RawCase
from autounet.data.io import read_image
from autounet.diffusion.intensity import ChannelRange, IntensityRange, Line
from autounet.errors import RequestError
from autounet.geometry import Array, nonzero_box
from autounet.launch.diffusion_scores import LossOnCases
from autounet.launch.fold_run import FoldRun
from autounet.launch.task import FoldScores
from autounet.launch.validation import ValidationPlan
from autounet.losses.label_maps import LabelMaps
from autounet.models.folder import ModelRecord
from autounet.networks.base import SegmentationNetwork
from autounet.plans import ChannelPlan
from autounet.preprocessing.normalize import normalize
from autounet.progress import Reporter
from autounet.training.diffusion import DiffusionObjective
from autounet.training.objective import Objective
from autounet.training.precision import Precision
from autounet.training.trainer import Validation

SCORES_FILE = "diffusion.json"
# Training cases whose intensities are looked at; more would tell hardly more, and take time to read.
_CASES_TO_MEASURE = 64
_CASES_ON_THE_WAY = 8


class DiffusionTask:
    """Images from label maps, scored by the loss on validation cases.

    Args:
        run: Of the fold.
        record: What is trained.
        network: To be trained.
        precision: What it computes in.
    """

    objective: Objective
    label_maps: LabelMaps | None = None
    class_names: tuple[str, ...] = ()

    def __init__(self, run: FoldRun, record: ModelRecord, network: SegmentationNetwork, precision: Precision) -> None:
        options = record.diffusion
        assert options is not None and record.intensities is not None
        labels, patch = record.plan.labels, record.configuration.patch_size
        self._run, self._network = run, network
        self.objective = objective = DiffusionObjective(options, labels, record.intensities, precision, run.replicas)
        self._loss = LossOnCases(objective, run.store, patch, record.config.seed)
        names = run.split.validation
        self._some = names[:: -(-len(names) // _CASES_ON_THE_WAY)] if names else ()
        self.validation = self._plan()

    def score_some(self, network: SegmentationNetwork, epoch: int) -> Validation:
        """The loss on a handful of cases, the same each time."""
        if not self._some:
            return Validation(class_dice=(), case_dice={})
        summary = self._loss.summary(network, self._some)
        scores = {name: -loss for name, loss in summary.cases.items()}
        return Validation(class_dice=(), case_dice=scores, loss=summary.loss)

    def score_all(self, reporter: Reporter) -> FoldScores:
        """The loss on every validation case."""
        self._network.eval()
        summary = self._loss.summary(self._network, self.validation.final_cases)
        summary.write(self._run.folder / "validation" / SCORES_FILE)
        return FoldScores(drawing=summary)

    def _plan(self) -> ValidationPlan:
        """What scoring costs, by timing it for one case."""
        names = self._run.split.validation
        began = time.perf_counter()
        for name in names[:1]:
            self._loss.of_case(self._network, name)
        seconds = time.perf_counter() - began
        return ValidationPlan(
            num_on_the_way=len(self._some),
            final_cases=names,
            seconds=seconds * (len(self._some) + len(names)),
            final_seconds_of_all=seconds * len(names),
        )


def require_drawable(run: FoldRun) -> None:
    """Refuse what images cannot be learned of, before time is spent.

    Raises:
        RequestError: It tells what to do instead.
    """
    if run.start is not None:
        raise RequestError("--from is for networks that segment; a network that draws images begins anew")
    if run.configuration.previous_stage is not None:
        raise RequestError(
            f"{run.configuration.name} refines masks of another model; draw images with 2d or 3d_fullres"
        )
    masked = [channel.name for channel in run.plan.channels if channel.use_mask]
    if masked:
        raise RequestError(
            f"the channels {', '.join(masked)} are normalised inside the body only, and a label map does not tell "
            "where that ends: images of this dataset cannot be drawn"
        )


def with_what_drawing_needs(run: FoldRun, record: ModelRecord) -> ModelRecord:
    """The record with the range of intensities, and the network with an embedding for the classes' names."""
    network = record.configuration.network
    options = {**dict(network.options), "tokens": record.plan.labels.num_classes}
    named = network.model_copy(update={"options": tuple(sorted(options.items()))})
    names = run.split.train
    few = [names[index] for index in np.linspace(0, len(names) - 1, min(len(names), _CASES_TO_MEASURE)).astype(int)]
    return record.model_copy(
        update={
            "configuration": record.configuration.model_copy(update={"network": named}),
            "intensities": measured_intensities(run, few),
        }
    )


def measured_intensities(run: FoldRun, names: Sequence[str]) -> IntensityRange:
    """The range of prepared and raw intensities over some training cases."""
    channels = run.plan.channels
    raw = [_raw(run.cases[name], len(channels)) for name in names]
    prepared = [run.store.image(name)[:].astype(np.float64) for name in names]
    return IntensityRange(
        channels=tuple(
            _range([image[index] for image in prepared], [image[index] for image in raw])
            for index in range(len(channels))
        ),
        num_files=len(run.cases[names[0]].images),
        cases=tuple(
            tuple(line_of(channel, plan) for channel, plan in zip(image, channels, strict=True)) for image in raw
        ),
    )


def _raw(case: RawCase, num_channels: int) -> Array:
    """The raw image `(C, Z, Y, X)`, cropped as it was for preparation."""
    array = read_image(case.images, num_channels).array
    return array[(slice(None), *nonzero_box(array).slices)]


def _range(prepared: Sequence[Array], raw: Sequence[Array]) -> ChannelRange:
    means = np.array([image.mean() for image in prepared])
    variances = np.array([image.var() for image in prepared])
    return ChannelRange(
        mean=float(means.mean()),
        std=float(np.sqrt(variances.mean() + means.var())) or 1.0,
        low=float(min(image.min() for image in prepared)),
        high=float(max(image.max() for image in prepared)),
        raw_low=float(min(image.min() for image in raw)),
        raw_high=float(max(image.max() for image in raw)),
        whole_numbers=all(np.array_equal(image, np.rint(image)) for image in raw),
    )


def line_of(values: Array, plan: ChannelPlan) -> Line:
    """How a channel's normalisation is undone: it is a line through any two intensities that it does not clip."""
    probe = values
    if plan.normalization == "ct":
        probe = np.array([plan.statistics.percentile_00_5, plan.statistics.percentile_99_5])
    low, high = probe.argmin(), probe.argmax()
    normal = normalize(probe.copy(), plan, None).astype(np.float64).ravel()
    first, last = float(probe.flat[low]), float(probe.flat[high])
    scale = (last - first) / (normal[high] - normal[low]) if last > first else 0.0
    return Line(offset=first - scale * float(normal[low]), scale=float(scale))
