"""Patches as training would see them, each beside itself before it was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autounet.augmentation.describe import described
from autounet.augmentation.patches import Augmentation
from autounet.laterality import LateralityMode
from autounet.plans import Configuration, Plan
from autounet.preprocessing.previous import PreviousStage
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
        previous_before: `(*patch_size)`, what the first stage of a cascade found; `None` where it is not known.
        previous: The same after all changes.
    """

    case: str
    image_before: npt.NDArray[np.float32]
    label_before: npt.NDArray[np.int16]
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.int16]
    changes: tuple[str, ...]
    previous_before: npt.NDArray[np.int16] | None = None
    previous: npt.NDArray[np.int16] | None = None


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
    found: PreviousStage | None = None,
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
        found: What the first stage found in these cases, of a cascade.

    Raises:
        RequestError: There is no such policy.
    """
    augmentation = Augmentation.for_plan(plan, configuration, policy, laterality)
    if found is None:
        augmentation = replace(augmentation, previous_values=())
    cases = CaseCache(store, names, 0, found)
    halo = configuration.network.halo
    sampler = PatchSampler(cases, augmentation, num_patches, _FOREGROUND_SHARE, seed, halo=halo)
    before, after, drawn = sampler.unchanged(0), sampler.batch(0), sampler.drawn(0)
    num_channels, values = cases.num_channels, augmentation.previous_values
    return tuple(
        PreviewedPatch(
            case=name,
            image_before=before.image[index, :num_channels],
            label_before=before.label[index],
            image=after.image[index, :num_channels],
            label=after.label[index],
            changes=described(drawn, index, num_channels),
            previous_before=_map_of(before.image[index, num_channels:], values),
            previous=_map_of(after.image[index, num_channels:], values),
        )
        for index, name in enumerate(sampler.case_names(0))
    )


def _map_of(channels: npt.NDArray[np.float32], values: Sequence[int]) -> npt.NDArray[np.int16] | None:
    """The label map of one channel a value, `(num_values, *patch_size)`, which do not overlap."""
    if not values:
        return None
    return np.tensordot(np.array(values, dtype=np.float32), channels, axes=1).astype(np.int16)
