"""Every registered network is narrowed by the same rule where memory is scarce, and fits then."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autounet.labels import LabelClass, LabelSchema
from autounet.networks import NETWORKS
from autounet.networks.choice import NetworkChoice
from autounet.planners.measured import GIB, MeasuredBudget
from autounet.planners.memory import training_cost
from autounet.planners.network import constants_of, network_plan
from autounet.planners.patch import PatchSearch

LABELS = LabelSchema(classes=(LabelClass(name="organ", values=(1,)),))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_fits_narrower_where_its_own_width_does_not(name: str) -> None:
    constants = constants_of(NetworkChoice.of(name))
    dims = min(constants.dims)
    edge = constants.of(dims).least_patch_edge
    search = PatchSearch((1.0,) * dims, (edge,) * dims, ("z", "y", "x")[-dims:], constants)
    useful, batch = search.least_useful, constants.batch_size or constants.min_batch_size
    cost = training_cost(
        network_plan(useful, constants), useful.patch_size, num_channels=1, labels=LABELS, batch_dice=False
    )
    budget = MeasuredBudget(0.8 * cost.memory_bytes(batch) / 0.9 / GIB, LABELS, False)
    width = budget.narrowed(search, batch_size=None, num_inputs=1)
    found = budget.fit(width.search, 1e12, batch_size=None, num_inputs=1)
    assert constants.least_features <= width.search.constants.base_features < constants.base_features
    assert width.search.constants.base_features % constants.width_multiple == 0
    assert f"narrowed from the network's own {constants.base_features}" in width.reason
    assert math.prod(found.topology.field) >= edge**dims
    assert found.memory is not None
    assert found.memory.total_bytes <= budget.memory_gib * GIB
    ample = replace(budget, memory_gib=2 * budget.memory_gib)
    assert ample.narrowed(search, batch_size=None, num_inputs=1).search is search
