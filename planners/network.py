"""The network of a topology, as its class and the user want it."""

from __future__ import annotations

from dataclasses import replace

from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.choice import NetworkChoice
from autounet.networks.description import PlannedOption
from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.topology import Topology, bare_network

# More stages than any patch can be halved for.
_MOST_STAGES = 16


def constants_of(choice: NetworkChoice) -> PlannerConstants:
    """nnU-Net's constants with what the class of a registered network wants.

    Raises:
        RequestError: There is no such network.
    """
    network = NETWORKS.find(choice.name)
    design, (encoder, decoder) = network.design, network.default_depths(_MOST_STAGES)
    max_2d, max_3d = design.max_features
    return replace(
        NNUNET,
        network=choice.name,
        dims=design.dims,
        depths_encoder=encoder,
        depths_decoder=decoder,
        max_stages=design.max_stages,
        base_features=design.base_features,
        width_multiple=design.width_multiple,
        kernel_edge=design.kernel_edge,
        padding=design.padding,
        stem_stride=design.stem_stride,
        batch_size=design.batch_size,
        min_batch_size=design.min_batch_size,
        options=choice.options,
        options_for=network.options_for,
        two_d=replace(NNUNET.two_d, max_features=max_2d),
        three_d=replace(NNUNET.three_d, max_features=max_3d),
    )


def planned_options(topology: Topology, constants: PlannerConstants) -> tuple[PlannedOption, ...]:
    """Options of the network that follow from the patch and that the user leaves to the planner."""
    if constants.options_for is None:
        return ()
    return constants.options_for(bare_network(topology, constants), topology.patch_size)


def network_plan(topology: Topology, constants: PlannerConstants = NNUNET) -> NetworkPlan:
    """The network of a topology with all its options."""
    network = bare_network(topology, constants)
    own = {entry.name: entry.value for entry in planned_options(topology, constants)}
    return network.model_copy(update={"options": tuple(sorted({**own, **dict(network.options)}.items()))})
