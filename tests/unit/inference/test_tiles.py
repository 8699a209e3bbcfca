"""Tiles by hand, their properties, and the weights against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal.windows import gaussian as gaussian_window

from autounet.inference.tiles import gaussian_weights, tile_origins, tile_starts


@pytest.mark.parametrize(
    ("size", "tile", "step", "expected"),
    [
        (10, 10, 0.5, [0]),
        (11, 10, 0.5, [0, 1]),
        (15, 10, 0.5, [0, 5]),
        (16, 10, 0.5, [0, 3, 6]),
        # nnU-Net's docstring: tile 64 on 110 with step 0.5 gives 0, 23, 46.
        (110, 64, 0.5, [0, 23, 46]),
        (30, 10, 1.0, [0, 10, 20]),
        (31, 10, 1.0, [0, 7, 14, 21]),
        (8, 4, 0.25, [0, 1, 2, 3, 4]),
    ],
)
def test_starts_by_hand(size: int, tile: int, step: float, expected: list[int]) -> None:
    assert tile_starts(size, tile, step) == expected


@given(st.integers(1, 200), st.integers(0, 400), st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.75, 1.0]))
def test_tiles_cover_the_image_end_flush_and_are_no_farther_apart_than_asked(tile: int, more: int, step: float) -> None:
    starts = tile_starts(tile + more, tile, step)
    assert starts[0] == 0
    assert starts[-1] == more
    gaps = np.diff(starts)
    assert (gaps >= 0).all()
    assert (gaps <= max(1, math.ceil(step * tile - 1e-9))).all()  # whole voxels
    covered = np.zeros(tile + more, dtype=int)
    for start in starts:
        covered[start : start + tile] += 1
    assert covered.all()


@given(st.integers(1, 100), st.integers(0, 200))
def test_there_are_no_more_tiles_than_needed(tile: int, more: int) -> None:
    assert len(tile_starts(tile + more, tile, 0.5)) == math.ceil(2 * more / tile) + 1


def test_origins_are_all_combinations() -> None:
    assert tile_origins((4, 6), (4, 4)) == [(0, 0), (0, 2)]
    assert len(tile_origins((8, 8, 8), (4, 4, 4))) == 27


@pytest.mark.parametrize("tile", [(16,), (8, 24), (16, 8, 32)])
def test_weights_are_a_gaussian_of_an_eighth_of_the_tile(tile: tuple[int, ...]) -> None:
    weights = gaussian_weights(tile)
    expected = np.ones(())
    for edge in tile:
        # A window of an odd number of points has its peak on a point; the tile's peak lies at `edge // 2`.
        expected = np.multiply.outer(expected, gaussian_window(edge + 1, edge / 8)[:edge])
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-12)
    assert weights.max() == 1
    assert np.unravel_index(weights.argmax(), tile) == tuple(edge // 2 for edge in tile)


@pytest.mark.parametrize("tile", [(1, 1), (2, 3), (128, 128, 128), (20, 320, 256), (5, 7, 9)])
def test_no_weight_is_zero(tile: tuple[int, ...]) -> None:
    weights = gaussian_weights(tile)
    assert weights.shape == tile
    assert (weights > 0).all()
    assert np.isfinite(1 / weights).all()
