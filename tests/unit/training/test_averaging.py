"""The average of the weights by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from autounet.training.averaging import WeightAverage


def network_of(value: float) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    set_to(network, value)
    return network


def set_to(network: nn.Linear, value: float) -> None:
    with torch.no_grad():
        network.weight.fill_(value)


def test_the_average_by_hand() -> None:
    network = network_of(1.0)
    average = WeightAverage(network, 0.1)
    expected = 1.0
    for value, progress in ((3.0, 0.05), (-2.0, 0.02), (0.5, 0.3)):
        set_to(network, value)
        average.update(progress)
        expected += (1 - math.exp(-progress / 0.1)) * (value - expected)
    assert average.weights()["weight"].item() == pytest.approx(expected)
    assert network.weight.item() == 0.5


def test_two_half_steps_weigh_as_one_whole() -> None:
    whole, halves = network_of(0.0), network_of(0.0)
    first, second = WeightAverage(whole, 0.1), WeightAverage(halves, 0.1)
    set_to(whole, 1.0)
    set_to(halves, 1.0)
    first.update(0.08)
    second.update(0.04)
    second.update(0.04)
    torch.testing.assert_close(first.weights(), second.weights())


def test_applied_puts_the_average_in_and_the_weights_back_even_after_an_error() -> None:
    network = network_of(0.0)
    average = WeightAverage(network, 0.1)
    set_to(network, 1.0)
    average.update(0.1)
    expected = 1 - math.exp(-1)
    with average.applied():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 1.0
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert network.weight.item() == 1.0


def test_applied_leaves_gradients_on_outside_of_it() -> None:
    network = network_of(1.0)
    average = WeightAverage(network, 0.1)
    with average.applied():
        pass
    assert network(torch.ones(1, 1)).requires_grad


def test_without_a_share_the_weights_are_the_networks_own() -> None:
    network = network_of(1.0)
    average = WeightAverage(network, 0.0)
    set_to(network, 5.0)
    average.update(0.1)
    assert average.weights()["weight"].item() == 5.0
    with average.applied():
        assert network.weight.item() == 5.0


def test_what_was_saved_is_put_back() -> None:
    network = network_of(0.0)
    average = WeightAverage(network, 0.1)
    set_to(network, 1.0)
    average.update(0.1)
    saved = {name: value.clone() for name, value in average.weights().items()}
    other = WeightAverage(network_of(9.0), 0.1)
    other.load(saved)
    torch.testing.assert_close(other.weights(), saved)
    with pytest.raises(KeyError):
        other.load({})


def test_running_statistics_are_averaged_and_counts_are_the_networks() -> None:
    network = nn.BatchNorm2d(1)
    average = WeightAverage(network, 0.5)
    mean, count = network.get_buffer("running_mean"), network.get_buffer("num_batches_tracked")
    mean.fill_(1.0)
    count.fill_(7)
    average.update(0.5)
    weights = average.weights()
    assert set(weights) == set(network.state_dict())
    assert float(weights["running_mean"]) == pytest.approx(1 - math.exp(-1))
    assert int(weights["num_batches_tracked"]) == 7
