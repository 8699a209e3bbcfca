"""Tiles added up in half precision, on another device, with other overlaps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from autounet.inference.sliding_window import SlidingWindow
from autounet.networks.base import SegmentationNetwork
from autounet.training.precision import Precision

Build = Callable[[int], SegmentationNetwork]
FLOAT32 = Precision(torch.float32, "test")


@pytest.mark.parametrize("step", [0.2, 0.5, 1.0])
def test_half_precision_is_off_by_its_own_rounding_whatever_the_overlap(point_wise: Build, step: float) -> None:
    image = torch.randn(2, 30, 14, 12, generator=torch.Generator().manual_seed(0)) * 5
    half, exact = (
        SlidingWindow((10, 8, 8), (0, 1), FLOAT32, step, 4, accumulate=dtype).logits([point_wise(3)], image)
        for dtype in (torch.float16, torch.float32)
    )
    assert half.dtype == torch.float16
    torch.testing.assert_close(exact, point_wise(3)(image[None])[0][0], rtol=1e-4, atol=1e-4)
    error = (half.float() - exact).abs()
    # Rounded once for each tile that covers a voxel, to 11 bits of the logit's size.
    num_tiles = (1 + round(1 / step)) ** 3
    assert float((error / exact.abs().clamp_min(1)).max()) < 2**-11 * num_tiles
    assert float(error.mean()) < 2**-11 * float(exact.abs().mean()) * 4


def test_large_logits_do_not_overflow_in_half_precision() -> None:
    class Large(SegmentationNetwork):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [torch.full_like(x, 60_000.0)]

    window = SlidingWindow((8, 8, 8), (0, 1, 2), FLOAT32, 0.25, accumulate=torch.float16)
    logits = window.logits([Large()], torch.randn(1, 20, 20, 20))
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.float(), torch.full_like(logits.float(), 60_000.0), rtol=2e-2, atol=0)


def test_progress_is_told_to_the_end(point_wise: Build) -> None:
    told: list[tuple[int, int]] = []
    window = SlidingWindow((8, 8, 8), (0, 1, 2), FLOAT32, batch_size=5)
    window.logits([point_wise(3)], torch.randn(2, 12, 8, 8), tell=lambda done, of: told.append((done, of)))
    assert told == [(4, 16), (8, 16), (12, 16), (16, 16)]


@pytest.mark.parametrize(
    ("shape", "tile", "padded"), [((4, 9, 20), (8, 8, 8), (8, 9, 20)), ((4, 5, 20), (8, 8), (4, 8, 20))]
)
def test_padded_shape(shape: tuple[int, ...], tile: tuple[int, ...], padded: tuple[int, ...]) -> None:
    assert SlidingWindow(tile, (), FLOAT32).padded_shape(shape) == padded
