"""The two backends: the same images from the same parameters, the same distributions from different ones.

And the policy `light` against the transforms of batchgenerators that it once consisted of.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from batchgenerators.transforms.color_transforms import (
    BrightnessMultiplicativeTransform,
    ContrastAugmentationTransform,
    GammaTransform,
)
from batchgenerators.transforms.noise_transforms import GaussianNoiseTransform
from batchgenerators.transforms.spatial_transforms import MirrorTransform, SpatialTransform
from scipy import stats

from autounet.augmentation import POLICIES
from autounet.augmentation.backends import choose_backend
from autounet.augmentation.intensity import GaussianNoise, IntensityTransform
from autounet.augmentation.patches import Augmentation, BatchParameters
from autounet.augmentation.policies import LIGHT, Policy
from autounet.errors import RequestError

Array = npt.NDArray[Any]
Both = Callable[[BatchParameters, Array, Array], tuple[tuple[Array, Array], tuple[Array, Array]]]
PATCHES = {"3d": (12, 16, 14), "cube": (10, 10, 10), "slice-wise": (4, 16, 20), "2d": (16, 14), "square": (16, 16)}
STATISTICS = ("mean", "deviation", "minimum", "maximum", "area", "centre", "roughness")

policies = pytest.mark.parametrize("name", sorted(POLICIES))
patches = pytest.mark.parametrize("patch", PATCHES.values(), ids=list(PATCHES))


def without_noise(policy: Policy) -> Policy:
    """Noise is the one thing that the backends make themselves."""
    kept = tuple(transform for transform in policy.intensity if not isinstance(transform, GaussianNoise))
    return dataclasses.replace(policy, intensity=kept)


@policies
@patches
def test_the_same_parameters_make_the_same_images(name: str, patch: tuple[int, ...], both_applied: Both) -> None:
    augmentation = Augmentation.of(without_noise(POLICIES[name]), patch)
    for seed in range(3):
        generator = np.random.default_rng(seed)
        drawn = augmentation.draw(generator, 4, 2)
        size = drawn.spatial.region_size
        image = generator.normal(size=(4, 2, *size)).astype(np.float32)
        label = generator.integers(-1, 4, (4, 2, *size)).astype(np.int16)
        (image_1, label_1), (image_2, label_2) = both_applied(drawn, image, label)
        assert image_1.shape == image_2.shape == (4, 2, *patch)
        assert label_1.shape == label_2.shape == (4, 2, *patch)
        types = [array.dtype.name for array in (image_1, image_2, label_1, label_2)]
        assert types == ["float32", "float32", "int16", "int16"]
        # Coordinates are float64 here and float32 there.
        assert np.abs(image_1 - image_2).max() < 2e-4
        assert (label_1 != label_2).mean() < 2e-3
        assert min(label_1.min(), label_2.min()) >= 0


@pytest.mark.parametrize(
    "transform",
    [each for name in ("nnunet", "da5") for each in without_noise(POLICIES[name]).intensity],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("patch", [(9, 12, 11), (20, 17)], ids=["3d", "2d"])
def test_every_change_of_value_alone(transform: IntensityTransform, patch: tuple[int, ...], both_applied: Both) -> None:
    augmentation = Augmentation.of(Policy(intensity=(transform,), mirrors=False), patch)
    generator = np.random.default_rng(1)
    drawn = augmentation.draw(generator, 80, 2)
    image = generator.normal(size=(80, 2, *patch)).astype(np.float32)
    (first, _), (second, _) = both_applied(drawn, image, np.zeros((80, 1, *patch), dtype=np.int16))
    struck = np.concatenate([parameters.rows for parameters in drawn.intensity])
    assert len(struck) >= 4
    change = np.abs(first - image).reshape(160, -1).max(axis=1)
    changed = set(np.flatnonzero(change))
    assert changed <= set(struck)
    assert len(changed) > 0.8 * len(struck)  # a resolution of 99 % changes nothing
    assert np.abs(first - second).max() < 1e-4


@policies
def test_one_set_of_parameters_makes_one_result_bit_for_bit(name: str, both_applied: Both) -> None:
    augmentation = Augmentation.of(POLICIES[name], (10, 12, 8))
    drawn = augmentation.draw(np.random.default_rng(3), 4, 2)
    size = drawn.spatial.region_size
    image = np.random.default_rng(0).normal(size=(4, 2, *size)).astype(np.float32)
    label = np.random.default_rng(1).integers(-1, 4, (4, 1, *size)).astype(np.int16)
    first, second = both_applied(drawn, image, label), both_applied(drawn, image, label)
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1], two[1])


def scene(patch: tuple[int, ...], region: tuple[int, ...], centre: Array) -> tuple[Array, Array]:
    """A smooth image with an off-centre organ, the same around every centre: `(B, 1, *region)` each."""
    images, labels = [], []
    for middle in centre:
        axes = np.meshgrid(*[np.arange(edge) - at for edge, at in zip(region, middle, strict=True)], indexing="ij")
        waves = sum(np.sin(axis / 3 + index) for index, axis in enumerate(axes))
        distance = sum((axis - 1) ** 2 for axis in axes)
        organ = distance < (min(patch) / 3) ** 2
        images.append(waves + 2 * organ)
        labels.append(organ)
    return np.stack(images)[:, None].astype(np.float32), np.stack(labels)[:, None].astype(np.int16)


def figures(image: Array, label: Array) -> dict[str, Array]:
    """Numbers of each sample, by which distributions are compared."""
    flat = image.reshape(len(image), -1)
    foreground = (label.reshape(len(label), -1) > 0).astype(float)
    place = np.arange(foreground.shape[1])
    values = (
        flat.mean(axis=1),
        flat.std(axis=1),
        flat.min(axis=1),
        flat.max(axis=1),
        foreground.sum(axis=1),
        (foreground * place).sum(axis=1) / np.maximum(foreground.sum(axis=1), 1),
        np.abs(np.diff(image, axis=-1)).reshape(len(image), -1).mean(axis=1),
    )
    return dict(zip(STATISTICS, values, strict=True))


def many(name: str, patch: tuple[int, ...], seeds: range, both_applied: Both, backend: int) -> dict[str, Array]:
    found = []
    for seed in seeds:
        drawn = Augmentation.of(POLICIES[name], patch).draw(np.random.default_rng(seed), 40, 1)
        results = both_applied(drawn, *scene(patch, drawn.spatial.region_size, drawn.spatial.origin))
        found.append(figures(results[backend][0], results[backend][1][:, 0]))
    return {key: np.concatenate([each[key] for each in found]) for key in STATISTICS}


def alike(first: dict[str, Array], second: dict[str, Array]) -> None:
    """Two-sample Kolmogorov-Smirnov of every figure, and the share of samples in which it is untouched."""
    for name in STATISTICS:
        # Rounded, because untouched samples are equal here and nearly equal there.
        one, two = first[name].round(3), second[name].round(3)
        assert stats.ks_2samp(one, two).pvalue > 1e-3, name
        values, counts = np.unique(one, return_counts=True)
        commonest = values[counts.argmax()]
        shares = [(each == commonest).mean() for each in (one, two)]
        assert abs(shares[0] - shares[1]) < 4.5 * np.sqrt(0.5 / len(one)), name


CASES = [(name, patch) for name in ("nnunet", "da5", "light") for patch in ((8, 10, 8), (16, 14))]


@pytest.mark.parametrize(("name", "patch"), [*CASES, ("unet2015", (16, 14))])
def test_different_parameters_make_the_same_distributions(
    name: str, patch: tuple[int, ...], both_applied: Both
) -> None:
    alike(
        many(name, patch, range(8), both_applied, backend=0),
        many(name, patch, range(100, 108), both_applied, backend=1),
    )


def test_distributions_tell_policies_apart(both_applied: Both) -> None:
    with pytest.raises(AssertionError):
        alike(
            many("light", (16, 14), range(8), both_applied, backend=0),
            many("da5", (16, 14), range(8), both_applied, backend=1),
        )


def batchgenerators_light(patch: tuple[int, ...], num_batches: int) -> dict[str, Array]:
    """The same policy by the transforms of batchgenerators, which draw from the global generators."""
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    angle = np.deg2rad(30) if len(patch) == 3 else np.pi
    turns = {"angle_x": (-angle, angle), "angle_y": (-angle, angle), "angle_z": (-angle, angle)}
    border = {"border_mode_data": "constant", "border_mode_seg": "constant", "border_cval_seg": -1}
    transforms = [
        SpatialTransform(
            patch, None, False, do_scale=True, scale=(0.7, 1.4), order_data=1, order_seg=0, random_crop=False,
            p_rot_per_sample=0.2, p_scale_per_sample=0.2, **turns, **border,
        ),
        GaussianNoiseTransform((0, 0.1), p_per_sample=0.1),
        BrightnessMultiplicativeTransform((0.75, 1.25), p_per_sample=0.15),
        ContrastAugmentationTransform(p_per_sample=0.15),
        GammaTransform((0.7, 1.5), False, True, retain_stats=True, p_per_sample=0.3),
        MirrorTransform(tuple(range(len(patch)))),
    ]  # fmt: skip
    region = Augmentation.of(LIGHT, patch).initial_patch_size
    centre = np.broadcast_to((np.array(region) - 1) / 2, (40, len(patch)))
    found = []
    for _ in range(num_batches):
        image, label = scene(patch, region, centre)
        data = {"data": image, "seg": label.astype(np.float32)}
        for transform in transforms:
            data = transform(**data)
        found.append(figures(data["data"], data["seg"][:, 0]))
    return {key: np.concatenate([each[key] for each in found]) for key in STATISTICS}


@pytest.mark.parametrize("patch", [(8, 10, 8), (16, 14)], ids=["3d", "2d"])
def test_light_is_what_it_was_with_batchgenerators(patch: tuple[int, ...], both_applied: Both) -> None:
    theirs = batchgenerators_light(patch, 8)
    alike(theirs, many("light", patch, range(8), both_applied, backend=0))
    alike(theirs, many("light", patch, range(50, 58), both_applied, backend=1))


def test_noise_of_both_backends_is_normal(both_applied: Both) -> None:
    augmentation = Augmentation.of(Policy(intensity=(GaussianNoise(p=1, sigma=(0.2, 0.2)),), mirrors=False), (60, 60))
    drawn = augmentation.draw(np.random.default_rng(0), 2, 1)
    blank = np.zeros((2, 1, 60, 60), dtype=np.float32)
    (first, _), (second, _) = both_applied(drawn, blank, np.zeros((2, 1, 60, 60), dtype=np.int16))
    for noise in (first, second):
        assert stats.kstest(noise.ravel(), "norm", args=(0, 0.2)).pvalue > 1e-3
        assert not np.array_equal(noise[0], noise[1])
    assert not np.array_equal(first, second)


def test_the_backend_follows_the_bottleneck_unless_told() -> None:
    assert [choose_backend("auto", kind).on_device for kind in ("cuda", "cpu", "mps")] == [True, True, False]
    for kind in ("cuda", "cpu"):
        assert not choose_backend("workers", kind).on_device
        assert choose_backend("device", kind).on_device
        assert "asked" in choose_backend("device", kind).reason
    assert not choose_backend("auto", "cuda", needs_maps=True).on_device
    with pytest.raises(RequestError, match="maps"):
        choose_backend("device", "cuda", needs_maps=True)
