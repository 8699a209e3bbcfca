"""The second stage of a cascade at work: what the first one predicts becomes input channels of the network.

The first stage's mask goes onto the second stage's grid by way of the raw image's, as in nnU-Net and as in training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autounet.errors import RequestError
from autounet.geometry import Array
from autounet.laterality import ValuePairs
from autounet.models.folder import ModelRecord, finished_folds, previous_stage_folder
from autounet.plans import Configuration, Plan
from autounet.preprocessing.case import PreparedCase, prepare_mask


def with_earlier(prepared: PreparedCase, earlier: Array, plan: Plan) -> PreparedCase:
    """A case with the first stage's mask as its label map.

    Args:
        prepared: The case, as the second stage takes it.
        earlier: The first stage's mask `(Z, Y, X)`, on the raw image's grid.
        plan: The axis order.
    """
    return replace(prepared, label=prepare_mask(earlier, prepared.properties, plan))


def input_channels(prepared: PreparedCase, plan: Plan) -> npt.NDArray[np.float32]:
    """The input of a network: the image, and `(num_foreground_values, Z, Y, X)` of the mask that comes with it."""
    if prepared.label is None:
        return prepared.image
    return np.concatenate([prepared.image, plan.labels.value_masks(prepared.label).astype(np.float32)])


def swapped_inputs(plan: Plan, configuration: Configuration, pairs: ValuePairs) -> tuple[int, ...]:
    """Which of a network's input channels takes the place of each where left and right are swapped; empty if none."""
    num_image = len(plan.channels)
    if configuration.previous_stage is None or not pairs:
        return ()
    other = {value: partner for left, right in pairs for value, partner in ((left, right), (right, left))}
    values = plan.labels.foreground_values
    return (*range(num_image), *(num_image + values.index(other.get(value, value)) for value in values))


def first_stage_of(model: Path, record: ModelRecord) -> Path | None:
    """The model folder of the first stage; `None` where the model is no second stage.

    Raises:
        RequestError: It is not there, has no finished fold, or other labels.
    """
    if record.configuration.previous_stage is None:
        return None
    folder = previous_stage_folder(model, record)
    folds = finished_folds(folder) if folder is not None else {}
    if not folds:
        where = folder or model.parent / f"*__{record.configuration.previous_stage}"
        raise RequestError(
            f"{model} is the second stage of a cascade, and its first stage {where} has no finished fold. "
            f"Put the model folder of {record.configuration.previous_stage} there, or train it."
        )
    first = next(iter(folds.values())).plan
    if first.labels != record.plan.labels or len(first.channels) != len(record.plan.channels):
        raise RequestError(
            f"{folder} was trained with other labels or channels than {model}, whose first stage it should be. "
            "Train the second stage anew, on the first as it is now."
        )
    return folder
