"""Copies, and what is nearly one."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from autounet.data.likeness import SAME, digest, similar_pairs, thumbnail


def test_the_digest_is_of_voxels_and_shape() -> None:
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert digest(array) == digest(array.copy())
    assert digest(array) != digest(array.reshape(1, 2, 4, 3))
    assert digest(array) != digest(array + 1)


def test_thumbnails_correlate_whatever_the_gain_and_not_with_others() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 1, 12, 14, 16)).astype(np.float32)
    first = thumbnail(one)
    np.testing.assert_allclose(first @ thumbnail(3 * one + 100), 1, atol=1e-5)
    assert first @ thumbnail(other) < 0.3
    # By hand: blocks of an axis of 20 are pairs, and their means are compared.
    column = np.tile(np.arange(20, dtype=np.float32)[:, None, None], (1, 1, 1))[None]
    means = np.arange(0.5, 20, 2)
    expected = (means - means.mean()) / np.linalg.norm(means - means.mean())
    np.testing.assert_allclose(thumbnail(column), expected, atol=1e-6)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Scenes of soft shapes, `(1, 1, 80, 90)`, values from 0 to 255."""
    noise = np.random.default_rng(0).normal(size=(8, 80, 90))
    soft = np.stack([ndimage.gaussian_filter(one, 4) for one in noise])
    return [np.rint(255 * (one - one.min()) / np.ptp(one))[None, None].astype(np.float32) for one in soft]


def as_jpeg(image: np.ndarray) -> np.ndarray:
    stored = io.BytesIO()
    PIL.Image.fromarray(image[0, 0].astype(np.uint8)).save(stored, format="JPEG", quality=60)
    return np.asarray(PIL.Image.open(stored), np.float32)[None, None]


def pairs(images: list[np.ndarray]) -> list[tuple[int, int]]:
    found = similar_pairs([image.shape for image in images], [thumbnail(image) for image in images], SAME)
    return [(one, other) for one, other, _ in found]


def test_copies_with_losses_are_the_same_and_different_images_are_not(photographs: list[np.ndarray]) -> None:
    noise = np.random.default_rng(1).normal(0, 3, photographs[2].shape).astype(np.float32)
    copies = [as_jpeg(photographs[0]), np.rint(photographs[1] / 8), photographs[2] + noise]
    assert pairs([*photographs, *copies]) == [(0, 8), (1, 9), (2, 10)]


def test_images_of_other_shapes_and_constant_ones_are_never_the_same(photographs: list[np.ndarray]) -> None:
    turned = photographs[0].transpose(0, 1, 3, 2)
    assert pairs([photographs[0], turned, 0 * turned, 0 * turned]) == []
