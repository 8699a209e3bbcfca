"""Validation of a fold: a handful of whole cases on the way, and every case at the end, within the time given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autounet.data.dataset import RawCase
from autounet.data.io import label_ending, read_image, read_label, write_label
from autounet.data.splits import Split
from autounet.evaluation.overlap import ClassScore, score_case
from autounet.evaluation.summary import CaseScores, Summary, mean_of_known, summarize, write_summary
from autounet.geometry import Array
from autounet.inference.predictor import Predictor
from autounet.inference.probabilities import SUFFIX
from autounet.networks.base import SegmentationNetwork
from autounet.preprocessing.previous import PreviousStage
from autounet.preprocessing.store import PreparedStore
from autounet.progress import SILENT, Reporter
from autounet.training.trainer import Validation

# Whole cases scored at each validation on the way, a different handful each time, as long as one validation takes no
# more than this share of a given time.
_CASES_ON_THE_WAY = 8
_SHARE_ON_THE_WAY = 0.01
# Of a given time, the final validation may take this share; reading and writing add to the network's part of it.
_FINAL_SHARE = 0.15
_FINAL_MARGIN = 1.3


@dataclass(frozen=True)
class ValidationPlan:
    """What will be validated, and what it costs.

    Attributes:
        num_on_the_way: Cases of each validation on the way.
        final_cases: Cases of the final validation.
        seconds: Time to keep for the last validation on the way and the final one.
        final_seconds_of_all: What the final validation of all cases would take.
    """

    num_on_the_way: int
    final_cases: tuple[str, ...]
    seconds: float
    final_seconds_of_all: float


def plan_validation(
    names: Sequence[str], store: PreparedStore, predictor: Predictor, max_seconds: float | None
) -> ValidationPlan:
    """Decide what can be validated in a given time, by timing one tile and counting the tiles of every case.

    Args:
        names: The fold's validation cases.
        store: Their prepared form, for their shapes.
        predictor: As it will predict.
        max_seconds: Time for the whole run; without it, every case is validated.
    """
    if max_seconds is None or not names:
        return ValidationPlan(min(_CASES_ON_THE_WAY, len(names)), tuple(names), 0.0, 0.0)
    second_a_view = predictor.seconds_per_view(predictor.plan.num_inputs(predictor.configuration))
    shapes = [store.record(name).properties.shape for name in names]
    final = [_FINAL_MARGIN * second_a_view * predictor.num_views(shape) for shape in shapes]
    plain = predictor.without_mirrors()
    on_the_way = float(np.mean([second_a_view * plain.num_views(shape) for shape in shapes]))
    num_on_the_way = max(1, min(_CASES_ON_THE_WAY, len(names), int(_SHARE_ON_THE_WAY * max_seconds / on_the_way)))
    count = len(names)
    if sum(final) > _FINAL_SHARE * max_seconds:
        count = max(1, int(len(names) * _FINAL_SHARE * max_seconds / sum(final)))
    chosen = [index * len(names) // count for index in range(count)]
    return ValidationPlan(
        num_on_the_way=num_on_the_way,
        final_cases=tuple(names[index] for index in chosen),
        seconds=sum(final[index] for index in chosen) + num_on_the_way * on_the_way,
        final_seconds_of_all=sum(final),
    )


class HandfulValidation:
    """Scores the network on a rotating handful of whole prepared cases, without mirrors.

    Args:
        split: Of the fold.
        store: The prepared cases.
        predictor: Of the network in training.
        num_cases: How many at a time.
        previous: What the first stage of a cascade found in the cases.
    """

    def __init__(
        self,
        split: Split,
        store: PreparedStore,
        predictor: Predictor,
        num_cases: int,
        previous: PreviousStage | None = None,
    ) -> None:
        self._names = split.validation
        self._store = store
        self._predictor = predictor.without_mirrors()
        self._num_cases = num_cases
        self._previous = previous

    def __call__(self, network: SegmentationNetwork, epoch: int) -> Validation:
        """Score the cases whose turn it is."""
        first = epoch * self._num_cases
        names = [self._names[(first + index) % len(self._names)] for index in range(self._num_cases)]
        scores = [self._score(name) for name in names]
        classes = self._predictor.plan.labels.class_names
        of_cases = {
            name: mean_of_known([entry.dice for entry in score.values()])
            for name, score in zip(names, scores, strict=True)
        }
        return Validation(
            class_dice=tuple(
                mean_of_known([score[name].dice for score in scores if name in score]) for name in classes
            ),
            case_dice={name: dice for name, dice in of_cases.items() if dice is not None},
        )

    def _score(self, name: str) -> dict[str, ClassScore]:
        labels = self._predictor.plan.labels
        image, label = self._store.load(name)
        image = image.astype(np.float32)
        if self._previous is not None:
            image = np.concatenate([image, self._previous.channels(name)])
        logits = self._predictor.logits(image)
        indices = self._store.record(name).annotated
        annotated = None if indices is None else [labels.class_names[index] for index in indices]
        return score_case(np.maximum(label[0], 0), labels.segmentation(logits), labels, annotated)


def predict_case(predictor: Predictor, case: RawCase, path: Path, earlier: Path | None = None) -> Array:
    """Predict a training case from its raw files, and keep the mask.

    Args:
        predictor: The trained network.
        case: The case.
        path: For the mask.
        earlier: The first stage's mask, for the second stage of a cascade.
    """
    image = read_image(case.images, len(predictor.plan.channels))
    prediction = predictor.predict(image, None if earlier is None else read_label(earlier)[0])
    write_label(path, prediction, image.geometry)
    return prediction


def validate_fold(
    predictor: Predictor,
    cases: Sequence[RawCase],
    folder: Path,
    reporter: Reporter = SILENT,
    previous: PreviousStage | None = None,
) -> Summary:
    """Predict validation cases from their raw files, keep the masks, and score them in their own space.

    Masks and probabilities that an earlier validation or `find_best` left are removed: they are of other weights.

    Args:
        predictor: The trained network.
        cases: With labels.
        folder: For the masks and `scores.json`, `scores.csv`.
        reporter: Shows the progress.
        previous: What the first stage of a cascade found in the cases.
    """
    plan = predictor.plan
    ending = label_ending(plan.file_ending)
    for old in (*folder.glob(f"*{ending}"), *folder.glob(f"*{SUFFIX}.*")):
        old.unlink(missing_ok=True)
    scores = []
    for case in reporter.track(cases, "validate", len(cases)):
        assert case.label is not None
        path = folder / f"{case.name}{ending}"
        prediction = predict_case(predictor, case, path, None if previous is None else previous.masks[case.name])
        scores.append(
            CaseScores(
                case=case.name,
                reference=str(case.label),
                prediction=str(path),
                classes=score_case(read_label(case.label)[0], prediction, plan.labels, case.annotated),
                not_annotated=plan.labels.classes_but(case.annotated),
            )
        )
    summary = summarize(scores)
    write_summary(summary, folder / "scores.json")
    return summary
