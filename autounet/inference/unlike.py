"""Whether an image is like those that a model was trained on; a network answers to anything, right or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autounet.data.dataset import RawCase
from autounet.data.io import FileError, Image, read_image
from autounet.data.usual import UsualImages
from autounet.errors import Problem
from autounet.geometry import permuted
from autounet.inference.oddities import (
    Oddity,
    axes_oddity,
    foreground_oddity,
    intensity_oddity,
    order_oddity,
    size_oddities,
    texture_oddity,
)
from autounet.models.folder import ModelRecord, trained_folds
from autounet.plans import ChannelPlan, GridRule
from autounet.preprocessing.appearance import appearance_for
from autounet.progress import SILENT, Reporter
from autounet.records import Record


class Likeness(Record):
    """How an image compares with the training data.

    Attributes:
        score: That of the most unlike thing about it: 0 within what training had, 1 at the limit, more beyond.
        unlike: What is beyond, the worst first.
    """

    score: float
    unlike: tuple[Oddity, ...] = ()

    def __str__(self) -> str:
        """All that is unlike, with the remedies, in one line."""
        return "; and ".join(f"{oddity} -> {oddity.remedy}" for oddity in self.unlike)


@dataclass(frozen=True)
class TrainingLooks:
    """What a model knows of its training images.

    Attributes:
        channels: Of the model's plan.
        grid: What the plan does to grids.
        usual: What they look like.
        is_coarse: The model is imported, or from before they were measured: only sizes are known, and intensities of
            the foreground.
    """

    channels: tuple[ChannelPlan, ...]
    grid: GridRule
    usual: UsualImages
    is_coarse: bool = False

    @classmethod
    def of(cls, record: ModelRecord) -> TrainingLooks:
        """Of a model; where it knows nothing of the cases, by the medians of its plan."""
        plan, data = record.plan, record.training_data
        if data is not None and data.usual is not None:
            return cls(plan.channels, plan.grid, data.usual, is_coarse=not data.usual.intensities)
        back = plan.transpose_backward
        spacing, shape = permuted(plan.median_spacing_mm, back), permuted(plan.median_shape, back)
        return cls(plan.channels, plan.grid, UsualImages.of_sizes([spacing], [shape]), is_coarse=True)

    @classmethod
    def of_model(cls, model: Path, folds: Sequence[str] | None) -> TrainingLooks:
        """Of a model folder, by the first of its folds that are meant; of all that are trained by default.

        Raises:
            RequestError: There is no trained fold.
        """
        known = trained_folds(model)
        return cls.of(known[next(iter(folds or known))])

    @property
    def without_axes(self) -> TrainingLooks:
        """For images that do not tell where their axes run, such as arrays."""
        return replace(self, usual=self.usual.model_copy(update={"axes": ()}))

    def likeness(self, image: Image) -> Likeness:
        """Compare a raw image `(C, Z, Y, X)`; one with another number of channels is not for this to tell."""
        channels, usual = self.channels, self.usual
        if len(image.array) != len(channels):
            return Likeness(score=0.0)
        found = appearance_for(image, self.grid)
        score, oddities = size_oddities(found, usual)
        oddities += [oddity] if (oddity := axes_oddity(found, usual)) else []
        if usual.intensities:
            levels = [
                judge(figures, channel, aspect, median)
                for judge, aspects in ((intensity_oddity, usual.intensities), (texture_oddity, usual.textures))
                for figures, channel, aspect, median in zip(
                    found.channels, channels, aspects, usual.channels, strict=True
                )
            ]
        else:
            levels = [foreground_oddity(*entry) for entry in zip(found.channels, channels, strict=True)]
        order = order_oddity(found, usual, channels)
        # Channels in the wrong places explain their intensities.
        oddities += [order] if order else [oddity for oddity in levels if oddity.score >= 1]
        worst = sorted(oddities, key=lambda oddity: -oddity.score)
        every = [score, *(oddity.score for oddity in (*levels, *oddities))]
        return Likeness(score=round(max(every), 3), unlike=tuple(worst))


@dataclass(frozen=True)
class Watch:
    """Compares the cases of a run, and keeps what it found; threads may share it.

    Attributes:
        looks: What the model knows of its training images.
        found: By case, as they come.
    """

    looks: TrainingLooks
    found: dict[str, Likeness] = field(default_factory=dict)

    def look(self, case: str, image: Image) -> str | None:
        """Compare a case, unless it was; what there is to tell if it is unlike."""
        if case not in self.found:
            self.found[case] = self.looks.likeness(image)
        return self.told(case)

    def told(self, case: str) -> str | None:
        """What there is to tell of a case: nothing where it is like the others, or was not compared."""
        found = self.found.get(case, Likeness(score=0.0))
        return f"{case} is unlike the training data (score {found.score:.1f}): {found}" if found.unlike else None


def unlike_problems(watch: Watch, cases: Sequence[RawCase], reporter: Reporter = SILENT) -> list[Problem]:
    """Compare cases before anything is predicted; one problem for everything that is unlike about them.

    Files that cannot be read are left for the prediction to tell of.
    """
    problems = []
    for case in reporter.track(cases, "compare with the training data", len(cases)):
        try:
            watch.look(case.name, read_image(case.images, len(watch.looks.channels)))
        except FileError:
            continue
        problems += [
            Problem(case.name, case.images[0].name, f"score {oddity.score:.1f}: {oddity}", oddity.remedy)
            for oddity in watch.found[case.name].unlike
        ]
    return problems
