"""The named policies against the tables that they come from, and how often what is drawn strikes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from autounet.augmentation import POLICIES
from autounet.augmentation.intensity import draw_intensity
from autounet.augmentation.parameters import BatchShape, ChannelParameters
from autounet.augmentation.patches import Augmentation, BatchParameters
from autounet.augmentation.policies import DA5, LIGHT, NNUNET, NONE, UNET2015
from autounet.errors import RequestError

Row = tuple[Any, ...]
# Far from a chance of one in a thousand, with as many samples as are drawn here.
SAMPLES, CHANNELS = 6000, 2
_SIGMAS = 4.5


def row(transform: Any) -> Row:
    return type(transform).__name__, *dataclasses.astuple(transform)


# Probability per sample, range, probability per channel, as in nnU-Net's table.
NNUNET_TABLE: tuple[Row, ...] = (
    ("GaussianNoise", 0.1, (0, 0.1)),
    ("GaussianBlur", 0.2, (0.5, 1.0), 0.5),
    ("Brightness", 0.15, (0.75, 1.25), 1.0),
    ("Contrast", 0.15, (0.75, 1.25), 1.0, True),
    ("LowResolution", 0.25, (0.5, 1), 0.5),
    ("Gamma", 0.1, (0.7, 1.5), True, 1.0),
    ("Gamma", 0.3, (0.7, 1.5), False, 1.0),
)


def test_nnunet_is_its_table() -> None:
    assert tuple(map(row, NNUNET.intensity)) == NNUNET_TABLE
    spatial = NNUNET.spatial
    assert (spatial.p_rotation, spatial.p_rotation_axis, spatial.p_scaling, spatial.scale) == (
        0.2,
        1.0,
        0.2,
        (0.7, 1.4),
    )
    assert (spatial.scale_axes, spatial.scale_law, spatial.margin) == ("all", "uniform", 0.85)
    assert (spatial.elastic, spatial.shift, spatial.p_quarter_turn, spatial.p_transpose) == (None, 0, 0, 0)
    assert NNUNET.mirrors


def test_light_is_the_cheap_part_of_nnunets() -> None:
    cheap = ("GaussianNoise", "Brightness", "Contrast")
    kept = [entry for entry in NNUNET_TABLE if entry[0] in cheap or entry[:2] == ("Gamma", 0.3)]
    assert list(map(row, LIGHT.intensity)) == kept
    assert LIGHT.spatial == dataclasses.replace(NNUNET.spatial, scale_law="about_one")


def test_da5_is_its_table() -> None:
    spatial = DA5.spatial
    assert (spatial.p_rotation, spatial.p_rotation_axis) == (0.4, 0.5)
    assert (spatial.p_scaling, spatial.scale, spatial.scale_axes) == (0.2, (0.7, 1.43), "each")
    assert (spatial.p_quarter_turn, spatial.p_transpose, spatial.margin) == (0.5, 0.5, 0.7)
    first, noise, shift, contrast, *others = DA5.intensity
    members = [row(member) for choice in (first, contrast) for member in choice.members]  # type: ignore[attr-defined]
    assert members == [
        ("MedianFilter", 0.2, (2, 7), 0.5),
        ("GaussianBlur", 0.2, (0.3, 1.5), 0.5),
        ("Contrast", 0.2, (0.5, 2), 0.5, True),
        ("Contrast", 0.2, (0.5, 2), 0.5, False),
    ]
    assert [row(noise), row(shift), *map(row, others)] == [
        ("GaussianNoise", 0.1, (0, 0.1)),
        ("BrightnessShift", 0.1, 0.5, 0.5),
        ("LowResolution", 0.15, (0.25, 1), 0.5),
        ("Gamma", 0.1, (0.7, 1.5), True, 1.0),
        ("Gamma", 0.1, (0.7, 1.5), True, 1.0),
        ("BlankRectangles", 0.4, (1, 4), (0.1, 1 / 3), 0.5),
        ("BrightnessGradient", 0.3, (1, 5), 0.5),
        ("LocalGamma", 0.3, (0.01, 0.8), (1.5, 4), 0.5),
        ("Sharpening", 0.2, (0.1, 1), 0.5),
    ]


def test_the_unet_of_2015_deforms_every_patch_by_10_pixels_on_3_nodes() -> None:
    elastic = UNET2015.spatial.elastic
    assert elastic is not None
    assert (elastic.p, elastic.num_nodes, elastic.sigma) == (1.0, 3, 10.0)
    assert not UNET2015.mirrors


def drawn_of(policy: Any) -> list[ChannelParameters]:
    shape = BatchShape(SAMPLES, CHANNELS, (20, 30))
    return [each for transform in policy.intensity for each in transform.draw(np.random.default_rng(0), shape)]


def strikes(rows: Any, p: float, p_channel: float) -> None:
    """The number of samples and of channels struck is what these probabilities give."""
    struck = np.zeros(SAMPLES * CHANNELS, dtype=bool)
    struck[rows] = True
    per_sample = struck.reshape(SAMPLES, CHANNELS)
    for share, expected in (
        (per_sample.mean(), p * p_channel),
        (per_sample.any(axis=1).mean(), p * (1 - (1 - p_channel) ** CHANNELS)),
    ):
        assert abs(share - expected) < _SIGMAS * np.sqrt(expected * (1 - expected) / SAMPLES)


# p, p_channel of what DA5 draws: each of two to choose from has half of the probability.
DA5_STRIKES = [(0.1, 0.5), (0.1, 0.5), (0.1, 1), (0.1, 0.5), (0.1, 0.5), (0.1, 0.5), (0.15, 0.5)]
DA5_STRIKES += [(0.1, 1), (0.1, 1), (0.4, 0.5), (0.3, 0.5), (0.3, 0.5), (0.2, 0.5)]
NNUNET_STRIKES = [(0.1, 1), (0.2, 0.5), (0.15, 1), (0.15, 1), (0.25, 0.5), (0.1, 1), (0.3, 1)]


@pytest.mark.parametrize(("policy", "expected"), [(NNUNET, NNUNET_STRIKES), (DA5, DA5_STRIKES)], ids=["nnunet", "da5"])
def test_transforms_strike_as_often_as_they_should(policy: Any, expected: list[tuple[float, float]]) -> None:
    drawn = drawn_of(policy)
    assert len(drawn) == len(expected)
    for parameters, (p, p_channel) in zip(drawn, expected, strict=True):
        strikes(parameters.rows, p, p_channel)


def even(values: Any, low: float, high: float) -> None:
    """The values are drawn evenly from the range (Kolmogorov-Smirnov)."""
    assert low <= values.min() and values.max() <= high
    assert stats.kstest(values, "uniform", args=(low, high - low)).pvalue > 1e-3


def about_one(values: Any, low: float, high: float) -> None:
    """Half of the values lie below 1, and both halves are drawn evenly."""
    assert abs((values < 1).mean() - 0.5) < _SIGMAS * 0.5 / np.sqrt(len(values))
    even(values[values < 1], low, 1)
    even(values[values > 1], 1, high)


def test_nnunets_values_follow_their_laws() -> None:
    noise, blur, brightness, contrast, low, inverted, gamma = (vars(drawn) for drawn in drawn_of(NNUNET))
    even(noise["sigma"][::CHANNELS], 0, 0.1)
    assert (noise["sigma"][::CHANNELS] == noise["sigma"][1::CHANNELS]).all()  # one strength in all channels
    even(blur["sigma"][:, 0], 0.5, 1)
    assert (blur["sigma"][:, 0] != blur["sigma"][:, 1]).all()  # another one along every axis
    about_one(brightness["factor"], 0.75, 1.25)
    about_one(contrast["factor"], 0.75, 1.25)
    even(low["zoom"][:, 0], 0.5, 1)
    assert (low["zoom"][:, 0] == low["zoom"][:, 1]).all()
    about_one(inverted["exponent"], 0.7, 1.5)
    about_one(gamma["exponent"], 0.7, 1.5)
    assert (inverted["inverted"], gamma["inverted"]) == (True, False)


def test_da5s_values_follow_their_laws() -> None:
    median, blur, _, shift, _, free, _, _, _, boxes, hill, local, sharp = (vars(drawn) for drawn in drawn_of(DA5))
    assert set(median["size"]) == set(range(2, 8))
    even(blur["sigma"].ravel(), 0.3, 1.5)
    assert stats.kstest(shift["offset"], "norm", args=(0, 0.5)).pvalue > 1e-3
    about_one(free["factor"], 0.5, 2)
    assert free["keep_range"] is False
    number = (boxes["stop"] > boxes["start"]).all(axis=2).sum(axis=1)
    assert set(number) == {1, 2, 3, 4}
    edges = (boxes["stop"] - boxes["start"])[boxes["stop"][..., 0] > boxes["start"][..., 0]]
    assert (edges.min(axis=0).tolist(), edges.max(axis=0).tolist()) == ([2, 3], [6, 10])  # a tenth to a third
    assert boxes["start"].min() >= 0 and (boxes["stop"] <= (20, 30)).all()
    even(np.abs(hill["strength"]), 1, 5)
    assert 0.4 < (hill["strength"] > 0).mean() < 0.6
    even(local["exponent"][local["exponent"] < 1], 0.01, 0.8)
    even(local["exponent"][local["exponent"] > 1], 1.5, 4)
    even(sharp["strength"], 0.1, 1)


def test_slices_are_not_made_coarser() -> None:
    shape = BatchShape(200, 1, (4, 20, 20), slice_wise=True)
    (drawn,) = draw_intensity(NNUNET.intensity[4:5], np.random.default_rng(0), shape)
    zoom = vars(drawn)["zoom"]
    assert (zoom[:, 0] == 1).all()
    assert (zoom[:, 1:] < 1).all()


def test_policies_are_data() -> None:
    for policy in POLICIES.values():
        assert hash(policy) == hash(dataclasses.replace(policy))
        with pytest.raises(dataclasses.FrozenInstanceError):
            policy.mirrors = False  # type: ignore[misc]
    assert NONE.intensity == ()
    assert Augmentation.of(NONE, (8, 8)).mirror_axes == ()
    assert not NONE.spatial.changes
    with pytest.raises(RequestError, match="nnunet"):
        POLICIES.find("nnunett")


def same(first: BatchParameters, second: BatchParameters) -> bool:
    pairs = [(vars(first.spatial), vars(second.spatial))]
    pairs += [(vars(one), vars(two)) for one, two in zip(first.intensity, second.intensity, strict=False)]
    alike = all(np.array_equal(one[name], two[name]) for one, two in pairs for name in one if one[name] is not None)
    return alike and len(first.intensity) == len(second.intensity)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_one_seed_draws_the_same_and_no_global_generator_is_touched(name: str) -> None:
    augmentation = Augmentation.of(POLICIES[name], (12, 12, 10))
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first, second, other = (augmentation.draw(np.random.default_rng(seed), 4, 2) for seed in (5, 5, 6))
    assert same(first, second)
    assert same(first, other) == (name == "none")
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]  # noqa: NPY002
