"""Planners: a dataset's fingerprint in, every decision before training out, each with its reason."""

if __name__ != "autounet.planners":
    raise ImportError(f"this folder is imported as autounet.planners, not as {__name__}")

from typing import Protocol

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.geometry import Triple
from autounet.plans import Plan
from autounet.registry import Registry


class Planner(Protocol):
    """What an entry of `PLANNERS` is: a pure function from evidence to a plan."""

    def __call__(
        self,
        fingerprint: Fingerprint,
        description: DatasetDescription,
        *,
        memory_gib: float = 8.0,
        spacing_mm: Triple | None = None,
    ) -> Plan:
        """Plan a dataset.

        Args:
            fingerprint: What was measured on the training cases.
            description: What `dataset.json` says.
            memory_gib: Memory of the device that the plan is made for.
            spacing_mm: Target spacing `(z, y, x)` in the images' own axis order, instead of the planner's choice.

        Returns:
            The plan; each of its values has a decision with a reason.

        Raises:
            RequestError: The request cannot be planned.
        """
        ...


PLANNERS: Registry[Planner] = Registry("autounet.planners", "planner", {"nnunet": "autounet.planners.nnunet:plan"})
