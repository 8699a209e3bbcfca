"""The network of a topology, as its class and the user want it."""

from __future__ import annotations

from dataclasses import replace

from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.choice import NetworkChoice
from autounet.networks.description import PlannedOption
from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.topology import Stages, Topology, bare_network

# More stages than any patch can be halved for.
_MOST_STAGES = 16


def constants_of(choice: NetworkChoice) -> PlannerConstants:
    """nnU-Net's constants with what the class of a registered network wants.

    Raises:
        RequestError: There is no such network.
    """
    network = NETWORKS.find(choice.name)
    options = network.Options.named(choice.name, dict(choice.options))
    design = network.design_for(options)
    encoder, decoder = network.default_depths(_MOST_STAGES, options)
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
        stem_doubles=design.stem_doubles,
        batch_size=design.batch_size,
        min_batch_size=design.min_batch_size,
        unread=frozenset(design.unread),
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


def network_of_strides(
    choice: NetworkChoice,
    strides: Stages,
    *,
    base_features: int | None = None,
    max_features: int | None = None,
    flat_stages: int = 0,
) -> NetworkPlan:
    """A network without a dataset: as its class wants it, on the smallest patch that it can be trained on.

    Args:
        choice: Which, with options.
        strides: Of each stage; the second's are those of the stem where they are twos.
        base_features: Instead of its own width.
        max_features: Instead of its own limit.
        flat_stages: Stages, the finest, whose kernels are flat along the first axis.
    """
    constants = constants_of(choice)
    if base_features is not None:
        constants = replace(constants, base_features=base_features)
    if max_features is not None:
        limit = replace(constants.of(len(strides[0])), max_features=max_features)
        constants = replace(constants, two_d=limit, three_d=limit)
    topology = _topology_of(strides, constants, flat_stages)
    patch_size = bare_network(topology, constants).smallest_size
    return network_plan(replace(topology, patch_size=patch_size), constants)


def reference_network(choice: NetworkChoice, num_spatial_dims: int) -> NetworkPlan:
    """The network as its paper has it, options included: none follow from a patch."""
    constants = constants_of(choice)
    twos = ((2,) * num_spatial_dims,) * (NETWORKS.find(choice.name).design.reference_stages - 1)
    return bare_network(_topology_of(((1,) * num_spatial_dims, *twos), constants), constants)


def _topology_of(strides: Stages, constants: PlannerConstants, flat_stages: int = 0) -> Topology:
    """Strides with those of the stem, kernels for them, and no patch; arguments as for `network_of_strides`."""
    dims = len(strides[0])
    stem = tuple(constants.stem_stride if step > 1 else 1 for step in strides[1]) if len(strides) > 1 else ()
    kernel = (constants.kernel_edge,) * dims
    kernels = tuple((1, *kernel[1:]) if stage < flat_stages else kernel for stage in range(len(strides)))
    return Topology((1,) * dims, (strides[0], stem, *strides[2:])[: len(strides)], kernels)
