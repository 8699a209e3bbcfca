"""Our own planner: nnU-Net's rules for spacing and topology, and a budget that is measured on the network.

Source of the rules: Isensee et al., Nature Methods 2021. Where nnU-Net estimates memory by constants fitted to its own
two networks, the training of the network chosen is measured (`memory`), on the device's own memory by default.
"""

from __future__ import annotations

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.networks.choice import NetworkChoice
from autounet.planners import DEFAULT_PLANNER
from autounet.planners.constants import NNUNET
from autounet.planners.experiment import plan_experiment
from autounet.planners.measured import MeasuredBudget, TooLittleMemoryError
from autounet.planners.network import constants_of
from autounet.planners.request import PlanRequest
from autounet.plans import Plan

DEFAULT_NETWORK = "plain"


class DefaultPlanner:
    """nnU-Net's rules within a measured budget."""

    asks_device = True
    network = DEFAULT_NETWORK

    def __call__(
        self, fingerprint: Fingerprint, description: DatasetDescription, request: PlanRequest | None = None
    ) -> Plan:
        """Plan a dataset; see `autounet.planners.Planner`.

        The memory is the one asked for, else the device's, else nnU-Net's 8 GiB.

        Raises:
            RequestError: The request cannot be planned; or nothing fits into the memory, and the message says what
                would.
        """
        request = request or PlanRequest()
        memory_gib = request.memory_gib or request.device_memory_gib or NNUNET.reference_memory_gib
        try:
            return _planned(fingerprint, description, request, memory_gib)
        except TooLittleMemoryError as refusal:
            raise _smallest_that_works(refusal, fingerprint, description, request, memory_gib) from None


def _planned(
    fingerprint: Fingerprint, description: DatasetDescription, request: PlanRequest, memory_gib: float
) -> Plan:
    budget = MeasuredBudget(memory_gib, description.labels, request.half_precision, description.is_partially_annotated)
    choice = NetworkChoice.of(request.network or DEFAULT_NETWORK)
    return plan_experiment(
        DEFAULT_PLANNER,
        fingerprint,
        description,
        request,
        constants_of(choice),
        budget,
        memory_gib,
        counts_inputs=True,
        asked_for=None if str(choice) == DEFAULT_NETWORK else str(choice),
    )


def _smallest_that_works(
    refusal: TooLittleMemoryError,
    fingerprint: Fingerprint,
    description: DatasetDescription,
    request: PlanRequest,
    memory_gib: float,
) -> TooLittleMemoryError:
    """The refusal of the configuration that needs most, not of the first that needs more than there is."""
    while True:
        try:
            _planned(fingerprint, description, request, refusal.needed_gib)
        except TooLittleMemoryError as further:
            refusal = TooLittleMemoryError(memory_gib, further.network, further.need, further.needed_gib)
        else:
            return refusal


planner = DefaultPlanner()
