"""Patches as training would see them, each beside itself before it was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autounet.augmentation import workers
from autounet.augmentation.describe import described
from autounet.augmentation.patches import Augmentation
from autounet.laterality import LateralityMode
from autounet.plans import Configuration, Plan
from autounet.preprocessing.store import PreparedStore
from autounet.training.sampling import CaseCache, PatchSampler

# Every patch shows a class, where its case has any.
_FOREGROUND_SHARE = 1.0


@dataclass(frozen=True)
class PreviewedPatch:
    """One patch, before and after.

    Attributes:
        case: Where it was cut.
        image_before: `(C, *patch_size)`, as prepared.
        label_before: `(*patch_size)`.
        image: The same after all changes.
        label: The same after all changes.
        changes: What was done, in words; nothing where the dice fell so.
    """

    case: str
    image_before: npt.NDArray[np.float32]
    label_before: npt.NDArray[np.int16]
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.int16]
    changes: tuple[str, ...]


def preview_patches(
    plan: Plan,
    configuration: Configuration,
    store: PreparedStore,
    names: Sequence[str],
    *,
    policy: str,
    laterality: LateralityMode = "swap",
    num_patches: int = 6,
    seed: int = 0,
) -> tuple[PreviewedPatch, ...]:
    """Draw patches and change them.

    Args:
        plan: Of the dataset.
        configuration: Whose patches.
        store: The prepared cases.
        names: Which of them.
        policy: Name of the augmentation policy.
        laterality: What mirrors do to left and right.
        num_patches: How many.
        seed: Another one shows others.

    Raises:
        RequestError: There is no such policy.
    """
    # Of the second stage of a cascade, what the first one found is not shown.
    augmentation = replace(Augmentation.for_plan(plan, configuration, policy, laterality), previous_values=())
    cases = CaseCache(store, names, max_bytes=0)
    sampler = PatchSampler(cases, augmentation, num_patches, _FOREGROUND_SHARE, seed, on_device=True)
    before = sampler.unchanged(0)
    batch = sampler.batch(0)
    assert batch.pending is not None
    image, label = workers.apply(batch.pending, batch.image, batch.label[:, None])
    return tuple(
        PreviewedPatch(
            case=name,
            image_before=before.image[index],
            label_before=before.label[index],
            image=image[index],
            label=label[index, 0],
            changes=described(batch.pending, index, image.shape[1]),
        )
        for index, name in enumerate(sampler.case_names(0))
    )
