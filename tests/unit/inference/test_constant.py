"""Tiles in which nothing varies: computed once, and no logit changes."""

from __future__ import annotations

import pytest
import torch

from autounet.inference.constant import constant_tiles, without_rounding
from autounet.inference.sliding_window import SlidingWindow
from autounet.network_plan import NetworkPlan
from autounet.networks.plain import PlainUNet
from autounet.training.precision import Precision

FLOAT32 = Precision(torch.float32, "test")


class Counting(PlainUNet):
    """A network that counts what it sees."""

    num_seen = 0

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        self.num_seen += len(x)
        return super().forward(x)


def network(dims: int, seed: int = 0) -> Counting:
    torch.manual_seed(seed)
    ones, twos = (1,) * dims, (2,) * dims
    plan = NetworkPlan(
        name="plain",
        features=(3, 4),
        kernel_sizes=((3,) * dims,) * 2,
        strides=(ones, twos),
        num_convs_encoder=(1, 1),
        num_convs_decoder=(1,),
    )
    return Counting(plan, 2, 3).eval()


def body_in_air(air: tuple[float, float] = (-1.5, 0.0)) -> torch.Tensor:
    """Two channels of noise in a corner of air of one value each."""
    image = torch.tensor(air)[:, None, None, None].expand(2, 24, 24, 24).clone()
    image[:, :9, :7, :8] = torch.randn(2, 9, 7, 8, generator=torch.Generator().manual_seed(0))
    return image


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("mirrors", [(), (0, 1)])
@pytest.mark.parametrize("num_networks", [1, 2])
def test_skipping_changes_no_logit_and_saves_most_of_the_work(
    dims: int, mirrors: tuple[int, ...], num_networks: int
) -> None:
    logits, seen = {}, {}
    for skip in (True, False):
        networks = [network(dims, seed) for seed in range(num_networks)]
        window = SlidingWindow((8,) * dims, mirrors, FLOAT32, batch_size=3, skip=skip)
        logits[skip] = window.logits(networks, body_in_air())
        seen[skip] = networks[0].num_seen
    torch.testing.assert_close(logits[True], logits[False], rtol=1e-5, atol=1e-5)
    assert torch.equal(logits[True].argmax(0), logits[False].argmax(0))
    assert seen[True] < 0.5 * seen[False]


def test_an_image_without_anything_is_one_pass_through_the_network() -> None:
    net = network(3)
    window = SlidingWindow((8, 8, 8), (0, 1, 2), FLOAT32, swap_axis=2, swapped_channels=(0, 2, 1))
    skipped = window.logits([net], torch.zeros(2, 20, 8, 8))
    assert net.num_seen == 1
    plain = SlidingWindow((8, 8, 8), (0, 1, 2), FLOAT32, swap_axis=2, swapped_channels=(0, 2, 1), skip=False)
    torch.testing.assert_close(skipped, plain.logits([net], torch.zeros(2, 20, 8, 8)), rtol=1e-5, atol=1e-5)


def test_a_tile_counts_as_constant_only_if_every_channel_is() -> None:
    images = torch.zeros(1, 2, 4)
    images[0, 0] = torch.tensor([3.0, 3.0, 3.0, 4.0])
    images[0, 1] = torch.tensor([5.0, 5.0, 6.0, 6.0])
    places = [(0, (slice(start, start + 2),)) for start in range(3)]
    assert constant_tiles(images, places) == [(3.0, 5.0), None, None]
    assert constant_tiles(images, []) == []


def test_rounding_about_the_lowest_value_and_zero_is_taken_away_and_nothing_else() -> None:
    values = [-1.0, -1.0 + 5e-7, -1e-7, 0.0, 1e-7, 1e-4, 0.5, 1.0, -0.9999]
    image = torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)
    found = without_rounding(image).flatten().tolist()
    assert found[:5] == [-1.0, -1.0, 0.0, 0.0, 0.0]
    assert found[5:] == image.flatten().tolist()[5:]
    assert without_rounding(torch.zeros(2, 0, 3, 3)).shape == (2, 0, 3, 3)
