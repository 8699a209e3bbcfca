"""The order in which patches are tried."""

from __future__ import annotations

import pytest

from autounet.planners.patch import PatchSearch, initial_patch_size

AXES = ("z", "y", "x")


@pytest.mark.parametrize(
    ("spacing", "size"),
    [
        ((1, 1, 1), (256, 256, 256)),
        ((1, 1), (2048, 2048)),
        ((1, 2), (2896, 1448)),  # 2048 * sqrt(2), 2048 / sqrt(2)
        ((2, 1, 1), (161, 323, 323)),  # 256 * 2 ** (-2 / 3), 256 * 2 ** (1 / 3)
        ((1e9, 1, 1), (1, 256_000, 256_000)),
    ],
)
def test_the_initial_patch_has_equal_edges_in_mm(spacing: tuple[float, ...], size: tuple[int, ...]) -> None:
    assert initial_patch_size(spacing) == size


def test_the_first_patch_is_the_median_shape_padded() -> None:
    search = PatchSearch((1, 1, 1), (36, 50.5, 35), AXES)
    assert search.wanted == (36, 50.5, 35)
    assert search.first.patch_size == (40, 56, 40)


def test_sizes_shrink_along_the_axis_that_covers_most_and_end() -> None:
    search = PatchSearch((1, 1, 1), (64, 48, 32), AXES)
    sizes = [topology.patch_size for topology in search.sizes()]
    # All axes cover their median, so the last goes first: below 32 = 4 x 8, an axis is pooled twice, 28 = 7 x 4.
    assert sizes[:3] == [(64, 48, 32), (64, 48, 28), (64, 40, 28)]
    assert sizes[-1] == (1, 1, 1)
    assert len(set(sizes)) == len(sizes)


def test_a_requested_patch_is_the_only_one_and_is_padded() -> None:
    search = PatchSearch((1, 1, 1), (64, 48, 32), AXES, requested=(60, 100, 30))
    (only,) = search.sizes()
    assert only.patch_size == (64, 112, 32)
    assert only.divisor == (16, 16, 8)
    assert search.explain_first() == (
        "60 x 100 x 30 requested by the user; padded to be divisible by 16 x 16 x 8 it is 64 x 112 x 32"
    )
