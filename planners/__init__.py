"""Planners: a dataset's fingerprint in, every decision before training out, each with its reason."""

if __name__ != "autounet.planners":
    raise ImportError(f"this folder is imported as autounet.planners, not as {__name__}")

from typing import Protocol

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.planners.request import PlanRequest
from autounet.plans import Plan
from autounet.registry import Registry
from autounet.workspace import dataset_number


class Planner(Protocol):
    """What an entry of `PLANNERS` is: a pure function from evidence to a plan.

    Attributes:
        asks_device: Its default memory is that of the device, which the request then must tell.
        network: What it plans for if nobody asks for another.
    """

    asks_device: bool
    network: str

    def __call__(
        self, fingerprint: Fingerprint, description: DatasetDescription, request: PlanRequest | None = None
    ) -> Plan:
        """Plan a dataset.

        Args:
            fingerprint: What was measured on the training cases.
            description: What `dataset.json` says.
            request: What the user asks for; nothing by default.

        Returns:
            The plan; each of its values has a decision with a reason.

        Raises:
            RequestError: The request cannot be planned.
        """
        ...


DEFAULT_PLANNER = "default"


def planner_option(planner: str, network: str | None = None) -> str:
    """The options that a command needs for a planner's plan, and for its plan for a network that was asked for."""
    of_planner = "" if planner == DEFAULT_PLANNER else f" --planner {planner}"
    return of_planner if network is None else f"{of_planner} --network {network}"


def training_command(plan: Plan, configuration: str, fold: int | str) -> str:
    """What trains a fold of a plan's configuration."""
    options = planner_option(plan.planner, plan.network)
    return f"autounet train {dataset_number(plan.dataset_name)} {configuration} {fold}{options}"


PLANNERS: Registry[Planner] = Registry(
    "autounet.planners",
    "planner",
    {
        DEFAULT_PLANNER: "autounet.planners.default:planner",
        "nnunet": "autounet.planners.nnunet:planner",
        "nnunet_resenc": "autounet.planners.nnunet:planner_resenc",
        "nnunet_resenc_m": "autounet.planners.nnunet:planner_resenc_m",
        "nnunet_resenc_l": "autounet.planners.nnunet:planner_resenc_l",
        "nnunet_resenc_xl": "autounet.planners.nnunet:planner_resenc_xl",
    },
)
