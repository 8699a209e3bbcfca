"""A network as it is asked for: its name, and what differs from its own options."""

from __future__ import annotations

from typing import Any

from autounet.network_plan import NetworkPlan, OptionValue
from autounet.networks import NETWORKS
from autounet.records import Record
from autounet.registry import split_choice


class NetworkChoice(Record):
    """What `--network NAME,key=value,...` means.

    Attributes:
        name: In `NETWORKS`, or `module:Class`.
        options: Sorted by name.
    """

    name: str
    options: tuple[tuple[str, OptionValue], ...] = ()

    @classmethod
    def of(cls, text: str) -> NetworkChoice:
        """The choice that is written so; several numbers are written `7/7`.

        Raises:
            RequestError: There is no such network or option, or the value does not fit.
        """
        name, written = split_choice(text, "network")
        network = NETWORKS.find(name)
        content: dict[str, Any] = {key: value.split("/") if "/" in value else value for key, value in written.items()}
        options = network.Options.named(name, content)
        return cls(name=name, options=tuple((key, getattr(options, key)) for key in sorted(content)))

    def __str__(self) -> str:
        """As it is written: `vnet`, `vnet,variant=paper`, `package.module:Class`."""
        values = {key: "/".join(map(str, value)) if isinstance(value, tuple) else value for key, value in self.options}
        return ",".join([self.name, *(f"{key}={value}" for key, value in values.items())])

    def applied(self, plan: NetworkPlan) -> NetworkPlan:
        """The plan with these options over its own."""
        return plan.model_copy(update={"options": tuple(sorted({**dict(plan.options), **dict(self.options)}.items()))})
