"""What a network said and what was right, made ready for any loss: written once, for labels, regions, ignore, parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from autounet.labels import LabelSchema
from autounet.losses.functional.cross_entropy import binary_cross_entropy_map, counted, cross_entropy_map
from autounet.losses.functional.marginal import background_where_not_annotated, marginal_logits
from autounet.losses.functional.tensors import at_least_single, one_hot

IGNORE_INDEX = -100


@dataclass(frozen=True)
class Targets:
    """Logits and label maps as the losses compare them; what is not asked for is not computed.

    Attributes:
        logits: `(B, N, *spatial)` in float32 (float64 where that is given): background first, or one a region. Classes
            that were not annotated are united with background.
        num_classes: `K`, foreground classes or regions.
        mask: `(B, 1, *spatial)` bool, where voxels count; `None` where all do.
        annotated: `(B, K)` bool, in the order of the outputs; `None` where all classes were.
        pool_batch: Whether losses that divide sums pool them over the batch.
        index: `(B, *spatial)` int64, the output that is right, `IGNORE_INDEX` where a voxel does not count; `None` for
            regions.
        regions: `(B, K, *spatial)` float32, 0 or 1; `None` but for regions.
        maps: `(B, M, *spatial)` float32, what the loss asked to be computed from the label map.
    """

    logits: Tensor
    num_classes: int
    mask: Tensor | None
    annotated: Tensor | None
    pool_batch: bool
    index: Tensor | None = None
    regions: Tensor | None = None
    maps: Tensor | None = None

    @cached_property
    def target(self) -> Tensor:
        """`(B, K, *spatial)` float32, 1 where a foreground class is."""
        if self.index is None:
            assert self.regions is not None
            return self.regions
        return one_hot(self.index - 1, self.num_classes)

    @cached_property
    def outputs(self) -> Tensor:
        """Probabilities `(B, N, *spatial)`."""
        return self.logits.sigmoid() if self.index is None else self.logits.softmax(dim=1)

    @property
    def probabilities(self) -> Tensor:
        """Probabilities `(B, K, *spatial)` of the foreground classes."""
        return self.outputs if self.index is None else self.outputs[:, 1:]

    @property
    def foreground(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Probabilities, targets, mask and annotated pairs of the foreground classes."""
        return self.probabilities, self.target, self.mask, self.annotated

    @property
    def all_outputs(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """As `foreground`, with background as a class of its own, always annotated; regions have none."""
        if self.index is None:
            return self.foreground
        background = 1 - self.target.sum(1, keepdim=True)
        annotated = self.annotated
        if annotated is not None:
            annotated = torch.cat([torch.ones_like(annotated[:, :1]), annotated], dim=1)
        return self.outputs, torch.cat([background, self.target], dim=1), self.mask, annotated

    @cached_property
    def cross_entropy(self) -> Tensor:
        """Of each voxel, `(B, 1, *spatial)`, and for regions of each region, `(B, K, *spatial)`."""
        if self.index is None:
            return binary_cross_entropy_map(self.logits, self.target)
        return cross_entropy_map(self.logits, self.index, IGNORE_INDEX)

    @cached_property
    def counts(self) -> Tensor | None:
        """Which entries of `cross_entropy` count, bool of its shape; `None` where all do."""
        return counted(self.cross_entropy, self.mask, self.annotated if self.index is None else None)

    @property
    def positive(self) -> Tensor:
        """Which entries of `cross_entropy` are of foreground, bool of its shape."""
        return self.target > 0 if self.index is None else (self.index > 0).unsqueeze(1)


def prepare(
    labels: LabelSchema,
    logits: Tensor,
    label: Tensor,
    annotated: Tensor | None = None,
    maps: Tensor | None = None,
    *,
    pool_batch: bool,
) -> Targets:
    """Make logits `(B, N, *spatial)` and a label map `(B, *spatial)` ready to be compared.

    Args:
        labels: What the values mean.
        logits: The network's, in any precision.
        label: The dataset's values; negative ones are background.
        annotated: `(B, num_classes)` bool in the order of the schema; `None` where all classes were annotated.
        maps: `(B, M, *spatial)`, handed on.
        pool_batch: Handed on.
    """
    logits = at_least_single(logits)
    label = label.long().clamp_min(0)
    counts = None if labels.ignore_value is None else label != labels.ignore_value
    mask = None if counts is None else counts.unsqueeze(1)
    if labels.has_regions:
        regions = _regions(labels, label)
        return Targets(logits, labels.num_classes, mask, annotated, pool_batch, regions=regions, maps=maps)
    index = _output_index(labels, label)
    if annotated is not None:
        annotated = annotated[:, torch.tensor(labels.class_of_output, device=annotated.device)]
        logits = marginal_logits(logits, annotated)
        index = background_where_not_annotated(index, annotated)
    index = index if counts is None else torch.where(counts, index, IGNORE_INDEX)
    return Targets(logits, labels.num_classes, mask, annotated, pool_batch, index=index, maps=maps)


def _output_index(labels: LabelSchema, label: Tensor) -> Tensor:
    """The output channel of each voxel's value; of a value to be ignored, any."""
    values = labels.output_values
    if values == tuple(range(len(values))):
        return label
    index = torch.zeros(max(labels.declared_values) + 1, dtype=torch.long, device=label.device)
    index[list(values)] = torch.arange(len(values), device=label.device)
    return index[label]


def _regions(labels: LabelSchema, label: Tensor) -> Tensor:
    regions = [torch.isin(label, torch.tensor(entry.values, device=label.device)) for entry in labels.classes]
    return torch.stack(regions, dim=1).float()
