"""What was drawn, in words."""

from __future__ import annotations

import numpy as np
import pytest

from autounet.augmentation.describe import described
from autounet.augmentation.intensity import Brightness, BrightnessShift
from autounet.augmentation.local import GaussianBlur
from autounet.augmentation.patches import Augmentation
from autounet.augmentation.policies import DA5, NNUNET, UNET2015, Policy
from autounet.augmentation.spatial import Spatial
from autounet.laterality import Mirroring


def words(policy: Policy, mirroring: Mirroring, *, num_samples: int = 30) -> list[tuple[str, ...]]:
    drawn = Augmentation(policy, (10, 10, 10), mirroring).draw(np.random.default_rng(0), num_samples, 2)
    return [described(drawn, sample, 2) for sample in range(num_samples)]


def test_nothing_done_is_nothing_said() -> None:
    assert set(words(Policy(), Mirroring(axes=()))) == {()}


def test_mirrors_and_sides() -> None:
    found = set(words(Policy(), Mirroring(axes=(0, 2), side_axis=2, pairs=((1, 2),))))
    assert found == {(), ("mirrored",), ("mirrored", "sides exchanged")}


def test_moves() -> None:
    still = Mirroring(axes=())
    assert set(words(Policy(spatial=Spatial(p_rotation=1)), still)) == {("turned",)}
    # Distances in the case twice as long: objects half as large.
    assert set(words(Policy(spatial=Spatial(p_scaling=1, scale=(2, 2))), still)) == {("size x 0.50",)}
    each = words(Policy(spatial=Spatial(p_scaling=1, scale=(0.5, 2), scale_axes="each")), still)
    assert all(entry[0].count(" x ") == 3 for entry in each)
    assert set(words(Policy(spatial=Spatial(p_quarter_turn=1)), still)) == {(), ("turned by quarters",), ("mirrored",)}
    assert {entry[1] for entry in words(Policy(spatial=UNET2015.spatial), still)} == {"deformed"}


def test_changes_of_value_in_their_order_and_only_of_the_sample() -> None:
    policy = Policy(intensity=(Brightness(1, (0.5, 2)), BrightnessShift(1, 1e-9), GaussianBlur(0.5, (1, 1))))
    found = set(words(policy, Mirroring(axes=())))
    assert {entry[2:] for entry in found} == {(), ("blur 1.0",)}
    assert all(entry[0].startswith("brightness x ") for entry in found)
    assert {entry[1] for entry in found} <= {"brightness +0.00", "brightness -0.00"}


@pytest.mark.parametrize("policy", [NNUNET, DA5, UNET2015], ids=["nnunet", "da5", "unet2015"])
def test_every_transform_has_a_word(policy: Policy) -> None:
    text = " ".join(word for entry in words(policy, Mirroring(axes=(0, 1, 2)), num_samples=200) for word in entry)
    assert "Parameters" not in text
