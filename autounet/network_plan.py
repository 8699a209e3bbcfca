"""The plan of a network: its stages, the sizes that it takes, and what differs from the network's own options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from autounet.records import Record

OptionValue = bool | int | float | str | tuple[int, ...]
Padding = Literal["same", "valid"]


class NetworkPlan(Record):
    """The topology of a U-shaped network; one entry a stage, the finest first.

    Attributes:
        name: Its name in `autounet.networks.NETWORKS`.
        features: Channels of each stage.
        kernel_sizes: Kernel of each stage, as many numbers as the network has spatial axes.
        strides: Stride on entering each stage; all ones for the first.
        num_convs_encoder: Convolutions of each encoder stage; residual blocks where the network is made of them.
        num_convs_decoder: The same of each decoder stage, one entry fewer.
        padding: Convolutions keep the size, or are `valid`: they lose what their kernels reach beyond.
        options: What differs from the network's own options, sorted by name: an object in the file. The network's
            class checks and reads them (`NetworkOptions.of`).
    """

    name: str
    features: tuple[int, ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    num_convs_encoder: tuple[int, ...]
    num_convs_decoder: tuple[int, ...]
    padding: Padding = "same"
    options: tuple[tuple[str, OptionValue], ...] = ()

    @field_validator("options", mode="before")
    @classmethod
    def _options_of_object(cls, value: Any) -> Any:
        return tuple(sorted(value.items())) if isinstance(value, Mapping) else value

    @model_serializer(mode="wrap")
    def _options_as_object(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Left out where they say nothing, as in plans from before there were such things."""
        written: dict[str, Any] = handler(self)
        written["options"] = dict(written["options"])
        if not written["options"]:
            del written["options"]
        if self.padding == "same":
            del written["padding"]
        return written

    @model_validator(mode="after")
    def _stages_agree(self) -> NetworkPlan:
        lengths = {len(self.features), len(self.kernel_sizes), len(self.strides), len(self.num_convs_encoder)}
        if lengths != {self.num_stages} or len(self.num_convs_decoder) != self.num_stages - 1:
            raise ValueError(
                f"the network has {self.num_stages} stages by its features, but other entries count differently"
            )
        numbers = (self.features, self.num_convs_encoder, self.num_convs_decoder, *self.kernel_sizes, *self.strides)
        if not self.features or min((value for entry in numbers for value in entry), default=1) < 1:
            raise ValueError("the network needs one stage or more, and all its numbers must be 1 or more")
        if {len(stage) for stage in (*self.kernel_sizes, *self.strides)} - {self.num_spatial_dims}:
            raise ValueError("strides and kernel_sizes must have as many axes at every stage")
        if max(self.strides[0]) > 1:
            raise ValueError(f"strides must begin with ones, as stage 1 has full resolution, got {self.strides[0]}")
        even = [kernel for kernel in self.kernel_sizes if any(size % 2 == 0 for size in kernel)]
        if even:
            raise ValueError(f"kernel_sizes must be odd, so that padding keeps the size, got {even[0]}")
        return self

    @property
    def num_stages(self) -> int:
        """Resolutions, the bottleneck included."""
        return len(self.features)

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def divisor(self) -> tuple[int, ...]:
        """Per axis, the product of the strides: sizes that the network takes are so far apart."""
        return self._steps[-1]

    @property
    def halo(self) -> tuple[int, ...]:
        """Per axis, context that valid convolutions lose on each side; zero for padded ones.

        With kernels `k`, convolutions `n` and products of strides `p` of the stages: half the sum of `p n (k - 1)` over
        all stages of encoder and decoder.
        """
        decoder = (*self.num_convs_decoder, 0)
        both = tuple(down + up for down, up in zip(self.num_convs_encoder, decoder, strict=True))
        return tuple(lost // 2 for lost in self._lost(both))

    @property
    def remainder(self) -> tuple[int, ...]:
        """Per axis, what a size leaves over when divided by `divisor`: every pooling must see a size it divides."""
        lost = self._lost((*self.num_convs_encoder[:-1], 0))
        return tuple(value % step for value, step in zip(lost, self.divisor, strict=True))

    def takes(self, size: Sequence[int]) -> bool:
        """Whether an input may have this size."""
        return tuple(size) == self.legal_size(size)

    def legal_size(self, at_least: Sequence[float]) -> tuple[int, ...]:
        """The smallest input on each axis that the network takes, and that has so many voxels or more."""
        sizes = []
        for wanted, halo, step, rest in zip(at_least, self.halo, self.divisor, self.remainder, strict=True):
            least = max(wanted, 2 * halo + 1)
            sizes.append(math.ceil((least - rest) / step) * step + rest)
        return tuple(sizes)

    @property
    def smallest_size(self) -> tuple[int, ...]:
        """The smallest input worth training on: of one voxel at the coarsest stage, instance norm knows nothing."""
        return self.legal_size([2 * step + 2 * halo for step, halo in zip(self.divisor, self.halo, strict=True)])

    def nearest_size(self, wanted: Sequence[int]) -> tuple[int, ...]:
        """On each axis the size wanted where it is legal, else the nearest that is, `smallest_size` at least."""
        nearest = self.legal_size([edge - (step - 1) // 2 for edge, step in zip(wanted, self.divisor, strict=True)])
        legal = self.legal_size(wanted)
        changed = map(max, nearest, self.smallest_size)
        return tuple(edge if edge == own else new for edge, own, new in zip(wanted, legal, changed, strict=True))

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Size of the finest logits of an input."""
        return tuple(edge - 2 * halo for edge, halo in zip(size, self.halo, strict=True))

    @property
    def size_rule(self) -> str:
        """The sizes that the network takes, in words."""
        rest = f" with a remainder of {self.remainder}" if any(self.remainder) else ""
        return f"divisible by {self.divisor}{rest}"

    @property
    def _steps(self) -> tuple[tuple[int, ...], ...]:
        """Of each stage, the product of the strides so far."""
        steps = [(1,) * self.num_spatial_dims]
        for stride in self.strides[1:]:
            steps.append(tuple(product * factor for product, factor in zip(steps[-1], stride, strict=True)))
        return tuple(steps)

    def _lost(self, num_convs: Sequence[int]) -> tuple[int, ...]:
        """Voxels of the input that so many valid convolutions of each stage lose, both sides counted."""
        if self.padding == "same":
            return (0,) * self.num_spatial_dims
        stages = tuple(zip(self._steps, self.kernel_sizes, num_convs, strict=True))
        return tuple(
            sum(step[axis] * (kernel[axis] - 1) * num for step, kernel, num in stages)
            for axis in range(self.num_spatial_dims)
        )
