"""Whether a model that was trained elsewhere may predict in half precision: tried on a real case first.

Half precision is twice as fast where the device has units for it, and rounds. What that costs a model that was trained
here, its validation has told. Of one that was taken over nobody knows, and its masks are to stay what they were; so it
computes in float32 until the middle of a real case has shown that they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from autounet.data.dataset import RawCase
from autounet.data.io import Image, read_image
from autounet.errors import AutounetError
from autounet.geometry import Array
from autounet.inference.cascade import input_channels
from autounet.inference.predictor import Predictor
from autounet.training.precision import Precision

# Voxels of the tiles tried whose label may change: half of one in a thousand, as other cases may fare worse.
MOST_CHANGED = 0.0005
# Fewer voxels could not tell such a share: a 2D network is tried on several slices.
_ENOUGH_VOXELS = 2**16

Say = Callable[[str], None]


def settle_on_first(models: Sequence[Predictor], cases: Sequence[RawCase], say: Say) -> tuple[Predictor, ...]:
    """Settle the number format of every model on the first case that can be read; others tell of themselves later.

    Args:
        models: Of the same channels.
        cases: To be predicted.
        say: Told what was found.

    Returns:
        The models; unchanged where nothing is to be tried, and in float32 where no case can be.
    """
    if not any(_is_untried(model) for model in models):
        return tuple(models)
    for case in cases:
        try:
            image = read_image(case.images, len(models[0].plan.channels))
            return tuple(settled(model, image, case.name, say) for model in models)
        except (AutounetError, OSError):
            continue
    return tuple(models)


def settled(model: Predictor, image: Image, name: str, say: Say) -> Predictor:
    """A model in the number format that it may predict in, with its first stage likewise.

    Args:
        model: As it was loaded.
        image: A raw case.
        name: Of the case, for people.
        say: Told what was found.

    Raises:
        RequestError: The image does not fit the model.
    """
    if model.first is not None:
        model = replace(model, first=settled(model.first, image, name, say))
    if model.untried is None:
        return model
    changed = _changed_share(model, model.untried, input_channels(model.prepare(image), model.plan))
    fast, exact = model.untried.name, model.window.precision
    if changed is None:
        say(f"float32: the middle of {name} shows one class alone, so {fast} could not be tried")
        return model.in_precision(exact)
    what = f"in {fast} {changed:.3%} of the voxels in the middle of {name} change their label"
    if changed > MOST_CHANGED:
        say(f"float32: {what}, more than {MOST_CHANGED:.2%}")
        return model.in_precision(exact)
    say(f"{fast}: {model.untried.reason}; {what}, at most {MOST_CHANGED:.2%} may (--precision float32 for none)")
    return model.in_precision(model.untried)


def _is_untried(model: Predictor) -> bool:
    """Whether a format is to be tried for the model or its first stage."""
    return model.untried is not None or (model.first is not None and _is_untried(model.first))


def _changed_share(model: Predictor, faster: Precision, inputs: npt.NDArray[np.float32]) -> float | None:
    """Of the middle of a case `(C, Z, Y, X)`, the share of voxels whose label is another in the faster format.

    `None` where all are of one class: nothing would be known of the borders between classes, which are what changes.
    The networks may be left laid out for the faster format.
    """
    middle = _middle(inputs, model.window.tile)
    exact: Array = model.plan.labels.segmentation(model.logits(middle))
    if (exact == exact.flat[0]).all():
        return None
    fast: Array = model.plan.labels.segmentation(model.in_precision(faster).logits(middle))
    return float((exact != fast).mean())


def _middle(inputs: npt.NDArray[np.float32], tile: Sequence[int]) -> npt.NDArray[np.float32]:
    """One tile in the middle of `(C, Z, Y, X)`; of a 2D network's as many slices as tell enough."""
    slices = -(-_ENOUGH_VOXELS // int(np.prod(tile)))
    size = (slices, *tile)[-3:]
    starts = [max(0, (length - edge) // 2) for length, edge in zip(inputs.shape[1:], size, strict=True)]
    return inputs[:, *(slice(start, start + edge) for start, edge in zip(starts, size, strict=True))]
