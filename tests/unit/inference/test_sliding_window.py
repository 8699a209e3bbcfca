"""A network moved over an image: nothing of the tiles may remain, and what remains of mirrors is their mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autounet.inference.sliding_window import SlidingWindow
from autounet.inference.tiles import gaussian_weights, tile_starts
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.plain import PlainUNet
from autounet.training.precision import Precision

Build = Callable[[int], SegmentationNetwork]
FLOAT32 = Precision(torch.float32, "test")


def window(
    tile: tuple[int, ...], mirror_axes: tuple[int, ...] = (), batch_size: int = 1, step: float = 0.5
) -> SlidingWindow:
    return SlidingWindow(tile, mirror_axes, FLOAT32, step, batch_size)


def random_image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dims=st.sampled_from([2, 3]),
    shape=st.tuples(*[st.integers(1, 13)] * 3),
    tile=st.tuples(*[st.integers(1, 9)] * 3),
    mirrors=st.sets(st.integers(0, 1)),
    batch_size=st.integers(1, 7),
)
def test_a_pointwise_network_gives_its_own_logits_whatever_the_tiles(
    point_wise: Build,
    dims: int,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    mirrors: set[int],
    batch_size: int,
) -> None:
    network, image = point_wise(dims), random_image(2, *shape)
    logits = window(tile[:dims], tuple(sorted(mirrors)), batch_size).logits((network,), image)
    assert logits.shape == (3, *shape)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, network(image[None])[0][0], rtol=1e-5, atol=1e-5)


def small_unet(dims: int, seed: int = 0) -> PlainUNet:
    torch.manual_seed(seed)
    return PlainUNet(
        NetworkPlan(
            name="plain",
            features=(3, 4),
            kernel_sizes=((3,) * dims,) * 2,
            strides=((1,) * dims, (2,) * dims),
            num_convs_encoder=(1, 1),
            num_convs_decoder=(1,),
        ),
        1,
        2,
    )


@pytest.mark.parametrize(("tile", "mirrors"), [((6, 8, 4), (0, 1, 2)), ((6, 8), (0, 1)), ((6, 8), ())])
def test_the_batch_size_leaves_no_trace(tile: tuple[int, ...], mirrors: tuple[int, ...]) -> None:
    network, image = small_unet(len(tile)), random_image(1, 7, 11, 9)
    one, *others = (window(tile, mirrors, size).logits((network,), image) for size in (1, 3, 1000))
    for other in others:
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_an_image_of_one_tile_is_predicted_at_once() -> None:
    network, image = small_unet(3), random_image(1, 8, 8, 8)
    with torch.inference_mode():
        expected = network(image[None])[0][0]
    torch.testing.assert_close(window((8, 8, 8)).logits((network,), image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_mirrors_are_the_mean_of_every_combination(dims: int) -> None:
    network, image = small_unet(dims), random_image(1, *(8,) * 3)
    views = []
    with torch.inference_mode():
        for axes in ([], [-1], [-2], [-1, -2]):
            flipped = image.flip(axes)
            slices = flipped[None] if dims == 3 else flipped.transpose(0, 1)
            out = network(slices)[0]
            views.append((out[0] if dims == 3 else out.transpose(0, 1)).flip(axes))
    logits = window((8,) * dims, (dims - 2, dims - 1)).logits((network,), image)
    torch.testing.assert_close(logits, torch.stack(views).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_overlapping_tiles_are_blended_by_their_weights(ramp: Callable[[int, int], SegmentationNetwork]) -> None:
    tile, shape = (4, 6, 8), (4, 6, 19)
    logits = window(tile).logits((ramp(3, 2),), torch.zeros(1, *shape))[0]
    # By hand: at every voxel the places inside the tiles that hold it, weighted by the Gaussian.
    weights = gaussian_weights(tile)
    total, norm = np.zeros(shape), np.zeros(shape)
    for start in tile_starts(19, 8):
        total[..., start : start + 8] += weights * np.arange(8)
        norm[..., start : start + 8] += weights
    np.testing.assert_allclose(logits.numpy(), total / norm, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "before"), [(4, 2), (5, 1), (7, 0), (8, 0)])
def test_a_small_image_lies_in_the_middle_of_a_tile_of_zeros(
    ramp: Callable[[int, int], SegmentationNetwork], size: int, before: int
) -> None:
    logits = window((8, 8, 8)).logits((ramp(3, 1),), torch.full((1, 3, size, 9), 100.0))
    assert logits.shape == (1, 3, size, 9)
    expected = 100.0 + torch.arange(before, before + size)
    torch.testing.assert_close(logits[0, 1, :, 4], expected)


def test_mirroring_a_ramp_flattens_it(ramp: Callable[[int, int], SegmentationNetwork]) -> None:
    for axis in range(3):
        flat = window((8, 8, 8), (axis,)).logits((ramp(3, axis),), torch.zeros(1, 8, 8, 8))
        torch.testing.assert_close(flat, torch.full_like(flat, 3.5))
        steep = window((8, 8, 8), ((axis + 1) % 3,)).logits((ramp(3, axis),), torch.zeros(1, 8, 8, 8))
        assert steep.std() > 1


def test_a_2d_network_sees_every_slice_alone() -> None:
    network, image = small_unet(2), random_image(1, 5, 9, 10)
    volume = window((6, 6), (0, 1), 4).logits((network,), image)
    for index in range(5):
        alone = window((6, 6), (0, 1), 4).logits((network,), image[:, index : index + 1])
        torch.testing.assert_close(volume[:, index : index + 1], alone, rtol=1e-4, atol=1e-5)


def test_networks_are_averaged() -> None:
    first, second, image = small_unet(3, 0), small_unet(3, 1), random_image(1, 9, 8, 8)
    single = [window((8, 8, 8)).logits((network,), image) for network in (first, second)]
    both = window((8, 8, 8)).logits((first, second), image)
    torch.testing.assert_close(both, (single[0] + single[1]) / 2, rtol=1e-4, atol=1e-5)


def test_half_precision_is_added_up_in_float32() -> None:
    network, image = small_unet(3), random_image(1, 12, 8, 8)
    exact = window((8, 8, 8)).logits((network,), image)
    half = SlidingWindow((8, 8, 8), (), Precision(torch.bfloat16, "test"), 0.5, 2).logits((network,), image)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.1, atol=0.1)


def test_the_image_is_not_changed(point_wise: Build) -> None:
    image = random_image(2, 5, 5, 5)
    kept = image.clone()
    window((8, 8, 8), (0, 1, 2)).logits((point_wise(3),), image)
    assert torch.equal(image, kept)


class Table(SegmentationNetwork):
    """Three logits a voxel that do not depend on the image: 10, 20 and 30, plus the place in the tile."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        place = torch.arange(x.shape[-1], dtype=x.dtype).expand_as(x)
        return [torch.cat([10 + place, 20 + place, 30 + place], dim=1)]


def test_logits_of_a_mirrored_tile_are_swapped_by_hand() -> None:
    mirrored = SlidingWindow((1, 2), (1,), FLOAT32, swap_axis=1, swapped_channels=(0, 2, 1))
    logits = mirrored.logits((Table(),), torch.zeros(1, 1, 1, 2))[:, 0, 0]
    # As it is: 10 11, 20 21, 30 31. Mirrored back and swapped: 11 10, 31 30, 21 20.
    torch.testing.assert_close(logits, torch.tensor([[10.5, 10.5], [25.5, 25.5], [25.5, 25.5]]))


@pytest.mark.parametrize("tile", [(4, 6, 5), (6, 5)])
def test_a_network_that_tells_sides_gives_the_same_with_and_without_mirrors(
    sides: Build, tile: tuple[int, ...]
) -> None:
    dims = len(tile)
    network, image = sides(dims), random_image(1, 7, 9, 8)
    axes = tuple(range(dims))
    mirrored = SlidingWindow(tile, axes, FLOAT32, swap_axis=dims - 1, swapped_channels=(0, 2, 1), batch_size=3)
    plain = window(tile).logits((network,), image)
    torch.testing.assert_close(mirrored.logits((network,), image), plain, rtol=1e-5, atol=1e-5)
    # Left as they are, the logits of left and right become alike.
    ignoring = window(tile, axes).logits((network,), image)
    torch.testing.assert_close(ignoring[1], ignoring[2], rtol=1e-5, atol=1e-5)
    assert (plain[1] - plain[2]).abs().max() > 0.5
