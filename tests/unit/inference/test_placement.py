"""Tiles of valid convolutions: what they say of an image does not depend on how it was cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from autounet.geometry import mirrored_indices
from autounet.inference.placement import Abutting
from autounet.inference.sliding_window import SlidingWindow
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.planners.network import network_of_strides
from autounet.training.precision import Precision

FLOAT32 = Precision(torch.float32, "as it is")


def unet2015(stages: int = 3) -> SegmentationNetwork:
    plan = network_of_strides(NetworkChoice.of("unet2015"), ((1, 1), *((2, 2),) * (stages - 1)), base_features=4)
    torch.manual_seed(0)
    return NETWORKS["unet2015"](plan, 1, 2).eval()


def window_of(network: SegmentationNetwork, tile: tuple[int, ...], mirror_axes: tuple[int, ...] = ()) -> SlidingWindow:
    return SlidingWindow(tile, mirror_axes, FLOAT32, halo=network.halo, divisor=network.divisor, skip=False)


@pytest.mark.parametrize(("start", "extent", "size"), [(-5, 14, 4), (0, 3, 3), (-2, 5, 1), (-3, 9, 2), (7, 4, 3)])
def test_beyond_its_ends_an_axis_is_mirrored_at_its_outermost_voxels(start: int, extent: int, size: int) -> None:
    before, after = max(0, -start), max(0, start + extent - size)
    expected = np.pad(np.arange(size), (before, after), mode="reflect")[max(0, start) :][:extent]
    assert mirrored_indices(start, extent, size).tolist() == expected.tolist()


@pytest.mark.parametrize("mirror_axes", [(), (0, 1)])
def test_logits_do_not_depend_on_the_tiles(mirror_axes: tuple[int, ...]) -> None:
    network = unet2015()
    image = torch.randn(1, 3, 61, 50)
    # What a tile of 44 + 4 k tells of is 4 + 4 k: strides of 2 and 2 need multiples of 4.
    sizes = network.plan.legal_size((52, 52))[0], network.plan.legal_size((80, 80))[0]
    said = [
        window_of(network, tile, mirror_axes).logits((network,), image) for tile in itertools.product(sizes, repeat=2)
    ]
    for other in said[1:]:
        torch.testing.assert_close(other, said[0], rtol=1e-5, atol=1e-5)


def test_one_tile_is_the_network_on_the_mirrored_image() -> None:
    network = unet2015()
    image = torch.randn(1, 1, 12, 12)
    tile = network.plan.legal_size([12 + 2 * halo for halo in network.halo])
    padded = torch.from_numpy(
        np.pad(
            image[0, 0].numpy(),
            [(halo, edge - halo - 12) for halo, edge in zip(network.halo, tile, strict=True)],
            "reflect",
        )
    )
    with torch.inference_mode():
        (expected,) = network(padded[None, None])
    logits = window_of(network, tile).logits((network,), image)
    assert torch.equal(logits[:, 0], expected[0, :, :12, :12])


def test_every_voxel_is_told_of_once() -> None:
    placement = Abutting((21, 30), (52, 60), (20, 20), (4, 4))
    total = torch.zeros(1, 21, 30)
    for origin in placement.origins:
        assert all(start % 4 == 0 for start in origin)
        before = total.clone()
        placement.add(total, origin, torch.ones(1, 12, 20))
        assert not ((before == 1) & (total != before)).any()
    assert (total == 1).all()


def test_tiles_that_tell_of_less_than_a_step_lie_side_by_side() -> None:
    placement = Abutting((10,), (188,), (92,), (16,))
    assert placement.origins == [(0,), (4,), (8,)]
    assert placement.padded(torch.zeros(1, 1, 10)).shape == (1, 1, 8 + 188)


def test_tiles_are_counted_as_they_are_laid() -> None:
    window = SlidingWindow((572, 572), (), FLOAT32, halo=(92, 92), divisor=(16, 16))
    # As in the paper: four tiles of 572 for an image of 512.
    assert window.num_tiles((3, 512, 512)) == 3 * 4
    assert window.padded_shape((3, 512, 512)) == (3, 512, 512)
