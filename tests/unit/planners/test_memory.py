"""The cost of a training step: tiny networks by hand, and how it changes with the batch and the patch."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
import torch

from autounet.errors import RequestError
from autounet.labels import LabelClass, LabelSchema
from autounet.network_plan import NetworkPlan
from autounet.planners.memory import TrainingCost, training_cost, upper_hull

ONE_CLASS = LabelSchema(classes=(LabelClass(name="organ", values=(1,)),))
# 1 to 4 channels by a 3x3 convolution, instance norm, leaky ReLU, and a 1x1 head with two outputs.
TINY = NetworkPlan(
    name="plain", features=(4,), kernel_sizes=((3, 3),), strides=((1, 1),), num_convs_encoder=(1,), num_convs_decoder=()
)


def u_net(num_spatial_dims: int = 3, name: str = "plain", features: tuple[int, ...] = (8, 12, 16)) -> NetworkPlan:
    stages = len(features)
    return NetworkPlan(
        name=name,
        features=features,
        kernel_sizes=((3,) * num_spatial_dims,) * stages,
        strides=((1,) * num_spatial_dims, *((2,) * num_spatial_dims,) * (stages - 1)),
        num_convs_encoder=(2,) * stages,
        num_convs_decoder=(2,) * (stages - 1),
    )


def cost_of(plan: NetworkPlan, *patch_size: int, half_precision: bool = False, num_states: int = 2) -> TrainingCost:
    return training_cost(
        plan,
        patch_size,
        num_channels=1,
        labels=ONE_CLASS,
        batch_dice=True,
        half_precision=half_precision,
        num_optimizer_states=num_states,
    )


def test_parameters_and_the_optimizers_share_are_counted_by_hand() -> None:
    cost = cost_of(TINY, 8, 8, num_states=3)
    convolution, norm, head = 4 * 9 + 4, 4 + 4, 2 * 4 + 2
    assert cost.num_parameters == convolution + norm + head
    assert cost.parameter_bytes == 4 * (convolution + norm + head)
    assert cost.optimizer_bytes == 3 * cost.parameter_bytes


def test_what_is_kept_for_the_backward_pass_is_counted_by_hand() -> None:
    voxels = 8 * 8
    image = 4 * voxels
    convolved, normalized, statistics = 4 * 4 * voxels, 4 * 4 * voxels, 2 * 4 * 4
    softmax, log_softmax, index, one_hot = 2 * 4 * voxels, 2 * 4 * voxels, 8 * voxels, 4 * voxels
    kept = image + convolved + normalized + statistics + softmax + log_softmax + index + one_hot
    assert cost_of(TINY, 8, 8).activation_bytes_per_sample == kept


def test_operations_are_counted_by_hand() -> None:
    voxels = 8 * 8
    convolution, head = voxels * 4 * 9, voxels * 2 * 4
    # The image needs no gradient: the first convolution runs forward and for its weights only.
    assert cost_of(TINY, 8, 8).flops_per_sample == 2 * (2 * convolution + 3 * head)


def test_at_the_peak_there_are_at_least_weights_states_gradients_and_activations() -> None:
    cost = cost_of(u_net(), 16, 16, 16)
    assert cost.memory_bytes(0) >= 2 * cost.parameter_bytes + cost.optimizer_bytes
    kept = cost.parameter_bytes + cost.optimizer_bytes + 4 * cost.activation_bytes_per_sample
    assert kept < cost.memory_bytes(4) < 1.5 * kept


@pytest.mark.parametrize("name", ["plain", "resenc"])
def test_a_patch_of_eight_times_the_voxels_takes_what_the_smaller_one_tells(name: str) -> None:
    small, large = cost_of(u_net(name=name), 8, 12, 16), cost_of(u_net(name=name), 16, 24, 32)
    for batch_size in (2, 5, 40):
        # Means and deviations of instance norms do not grow with the voxels.
        told = small.memory_bytes(batch_size, voxel_ratio=8)
        assert told == pytest.approx(large.memory_bytes(batch_size), rel=2e-3)
        assert told >= large.memory_bytes(batch_size)
    assert large.flops_per_sample == 8 * small.flops_per_sample


@pytest.mark.parametrize("voxel_ratio", [0.37, 1.0, 3.3])
def test_the_largest_batch_is_the_last_that_fits(voxel_ratio: float) -> None:
    cost = cost_of(u_net(), 16, 16, 16)
    for batch_size in (1, 2, 3, 17):
        needed = cost.memory_bytes(batch_size, voxel_ratio)
        assert cost.largest_batch(needed, voxel_ratio) == batch_size
        assert cost.largest_batch(needed - 1, voxel_ratio) == batch_size - 1


def test_nothing_fits_where_there_is_not_even_room_for_the_weights() -> None:
    cost = cost_of(u_net(), 16, 16, 16)
    assert cost.largest_batch(cost.parameter_bytes) == 0
    assert cost.largest_batch(0) == 0


@pytest.mark.parametrize("num_spatial_dims", [2, 3])
def test_half_precision_halves_the_activations_but_not_what_belongs_to_the_weights(num_spatial_dims: int) -> None:
    plan, patch = u_net(num_spatial_dims), (32,) * num_spatial_dims
    full, half = cost_of(plan, *patch), cost_of(plan, *patch, half_precision=True)
    # The loss stays in float32.
    assert 0.5 < half.activation_bytes_per_sample / full.activation_bytes_per_sample < 0.6
    assert half.optimizer_bytes == full.optimizer_bytes
    assert half.flops_per_sample == full.flops_per_sample
    assert half.memory_bytes(0) >= 2 * full.parameter_bytes + full.optimizer_bytes


def test_more_states_of_the_optimizer_add_their_bytes_and_nothing_else() -> None:
    one, two = cost_of(u_net(), 16, 16, 16, num_states=1), cost_of(u_net(), 16, 16, 16, num_states=2)
    assert two.memory_bytes(3) - one.memory_bytes(3) == one.parameter_bytes


def test_measuring_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    cost_of(u_net(features=(5, 7)), 8, 8, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_works_where_gradients_are_switched_off() -> None:
    with torch.no_grad():
        assert cost_of(u_net(features=(5, 9)), 8, 8, 8).flops_per_sample > 0


@pytest.mark.parametrize(("network", "loss"), [("plane", "dice_ce"), ("plain", "dice_cee")])
def test_an_unknown_name_is_refused_and_nothing_stays_switched_on(network: str, loss: str) -> None:
    with pytest.raises(RequestError, match="Did you mean"):
        training_cost(u_net(name=network), (8, 8, 8), num_channels=1, labels=ONE_CLASS, batch_dice=False, loss=loss)
    assert torch._C._len_torch_dispatch_stack() == 0
    assert torch._C._len_torch_function_stack() == 0
    assert torch.ones(2).device.type == "cpu"


def test_the_hull_has_the_same_maximum_everywhere_and_no_line_too_many() -> None:
    generator = random.Random(0)
    for _ in range(50):
        lines = [(generator.randrange(200), generator.randrange(12)) for _ in range(generator.randrange(1, 12))]
        hull = upper_hull(lines)
        # Both maxima bend where lines cross: equal there, at 0 and beyond, they are equal everywhere.
        points = {Fraction(0), Fraction(1000)} | {
            Fraction(one[0] - other[0], other[1] - one[1])
            for one, other in itertools.permutations(lines, 2)
            if one[1] != other[1]
        }
        for x in (point for point in points if point >= 0):
            assert max(fixed + slope * x for fixed, slope in lines) == max(fixed + slope * x for fixed, slope in hull)
        turns = [Fraction(left[0] - right[0], right[1] - left[1]) for left, right in itertools.pairwise(hull)]
        assert turns == sorted(set(turns))
        assert all(turn > 0 for turn in turns)
