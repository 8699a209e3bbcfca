"""The weights of a trained network in one with other channels or classes.

Tensors are matched by name and shape. Where a tensor has an axis that counts the image's channels (the stem) or the
classes (the heads, those of deep supervision too), the entries of that axis are matched by the names of the channels
and classes. Which axis that is, is not told by the network but seen: it is the one that grows when the network is built
with one channel, or one class, more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from autounet.errors import RequestError
from autounet.training.ports import BACKGROUND_PORT, Port, Ports, Role, ports_of
from autounet.training.transfer_report import TransferredTensor, TransferReport

Weights = Mapping[str, Tensor]
# Of a source without a record, what lies at a place is taken for what the network has there.
_BY_PLACE = "taken by place, as no record beside the source names its {}"


@dataclass(frozen=True)
class Source:
    """Trained weights and what is known of them.

    Attributes:
        path: The file, for the report.
        weights: By the names that the network gave them.
        ports: What they take and give; `None` where nothing beside the file says so.
    """

    path: str
    weights: Weights
    ports: Ports | None


class Fate(Enum):
    """What became of a tensor."""

    LOADED = "as it was"
    ADAPTED = "in part"
    NEW = "freshly initialised"


@dataclass(frozen=True)
class _Outcome:
    tensor: Tensor
    fate: Fate
    reason: str = ""


def transfer(
    fresh: Weights, role_of: Mapping[str, Role], ports: Ports, source: Source
) -> tuple[Weights, TransferReport]:
    """The weights with which a network starts.

    Input channels that the source has keep their kernels. A new image channel gets the mean of the source's kernels of
    image channels; then all kernels of a feature are scaled by one factor so that its output has the variance that it
    had, taking channels as uncorrelated and of unit variance, as z-scoring leaves them (behind a norm that is for
    numbers only: the norm would undo any factor). Where no channel is new or gone, that factor is 1. A new mask of an
    earlier stage starts at zero, so that the network begins as it was.

    Outputs that the source has keep their weights and biases, background among them; new ones stay freshly
    initialised. A softmax of background and one class is a sigmoid of the difference of the two logits; so where the
    source has a softmax and the network regions, a region's weights are its class's less background's, and the other
    way round background's are zero. With one class that is exact.

    Args:
        fresh: The network's own weights, freshly initialised.
        role_of: As `roles` tells.
        ports: Of the network.
        source: Where the weights come from.

    Returns:
        A tensor for every one of `fresh`, and what became of each.

    Raises:
        RequestError: The source has another number of spatial axes, is not finite, or none of its kernels fits.
    """
    _require_sound(source, fresh)
    outcomes = {name: _outcome(name, own, role_of[name], ports, source) for name, own in fresh.items()}
    report = TransferReport(
        source=source.path,
        loaded=_entries(outcomes, Fate.LOADED),
        adapted=_entries(outcomes, Fate.ADAPTED),
        new=_entries(outcomes, Fate.NEW),
        unused=tuple(name for name in source.weights if name not in fresh),
    )
    if not any(len(entry.shape) > 1 and role_of[entry.name] is Role.BODY for entry in report.loaded):
        kernels = [entry for entry in report.new if len(entry.shape) > 1]
        why = f" Say {kernels[0].name}: {kernels[0].reason}." if kernels else ""
        raise RequestError(
            f"{source.path} shares no kernel with this network, so there is nothing to start from.{why} Plan with the "
            "source's --network, --features and --stages, so that layers are the same, or train without --from."
        )
    return {name: outcome.tensor for name, outcome in outcomes.items()}, report


def _require_sound(source: Source, fresh: Weights) -> None:
    broken = next((name for name, value in source.weights.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise RequestError(
            f"{source.path} holds values in '{broken}' that are not finite: that training went wrong, or the file is "
            "damaged. Start from another fold or an earlier copy."
        )
    found, wanted = (
        max((value.ndim for value in weights.values()), default=2) - 2 for weights in (source.weights, fresh)
    )
    if found != wanted and found > 0:
        raise RequestError(
            f"{source.path} is of a {found}D network, and this one is {wanted}D. Start from a {wanted}D model, or "
            f"train a {found}D configuration."
        )


def _outcome(name: str, own: Tensor, role: Role, ports: Ports, source: Source) -> _Outcome:
    """Decide on one tensor."""
    given = source.weights.get(name)
    if given is None:
        return _Outcome(own, Fate.NEW, "the source has no such tensor")
    axis = {Role.STEM: 1, Role.HEAD: 0}.get(role)
    if _without(given.shape, axis) != _without(own.shape, axis):
        return _Outcome(own, Fate.NEW, f"the source's is {tuple(given.shape)}, this one is {tuple(own.shape)}")
    given = given.to(own)
    if role is Role.BODY or source.ports == ports:
        return _Outcome(given, Fate.LOADED)
    if role is Role.OTHER:
        return _Outcome(own, Fate.NEW, "it mixes channels and classes, which are not the source's")
    if source.ports is not None:
        _require_fit(name, given, role, source.ports, source.path)
    match = _match_inputs if role is Role.STEM else _match_outputs
    return match(own, given, ports, source.ports)


def _without(shape: Sequence[int], axis: int | None) -> tuple[int, ...]:
    return tuple(size for index, size in enumerate(shape) if index != axis)


def _require_fit(name: str, given: Tensor, role: Role, ports: Ports, path: str) -> None:
    found, named = (given.shape[1], ports.inputs) if role is Role.STEM else (given.shape[0], ports.outputs)
    if found != len(named):
        raise RequestError(
            f"{path} does not belong to the model.json beside it: '{name}' has {found} channels or classes, and the "
            f"record names {len(named)}. Put the right record there, or remove it to match by place."
        )


def _match_inputs(own: Tensor, given: Tensor, ports: Ports, known: Ports | None) -> _Outcome:
    """A stem's kernels `(features, inputs, *spatial)`."""
    if known is None:
        if own.shape == given.shape:
            return _Outcome(given, Fate.LOADED, _BY_PLACE.format("channels"))
        sources = tuple(ports_of([f"channel {index + 1}" for index in range(given.shape[1])], "image"))
    else:
        sources = known.inputs
    if sources == ports.inputs:
        return _Outcome(given, Fate.LOADED)
    mean = given[:, [index for index, port in enumerate(sources) if port.kind == "image"]].mean(dim=1)

    def kernel(port: Port) -> Tensor:
        if port in sources:
            return given[:, sources.index(port)]
        return torch.zeros_like(mean) if port.starts_at_zero else mean

    adapted = torch.stack([kernel(port) for port in ports.inputs], dim=1)
    if set(sources) != set(ports.inputs):
        adapted = adapted * _factor(given, adapted)
    return _Outcome(adapted, Fate.ADAPTED, _told("channels", ports.inputs, sources, "new, of the mean kernel"))


def _factor(given: Tensor, adapted: Tensor) -> Tensor:
    """Per feature, `(features, 1, ...)`: what gives its output the variance back that it had."""
    before, after = (kernels.flatten(1).double().square().sum(1) for kernels in (given, adapted))
    # A feature whose kernels are gone has nothing to scale.
    factor = torch.where(after > 0, (before / after).sqrt(), 1.0)
    return factor.to(given.dtype).reshape(-1, *[1] * (given.ndim - 1))


def _match_outputs(own: Tensor, given: Tensor, ports: Ports, known: Ports | None) -> _Outcome:
    """A head's weights or biases `(outputs, ...)`."""
    if known is None:
        if own.shape == given.shape:
            return _Outcome(given, Fate.LOADED, _BY_PLACE.format("classes"))
        counts = f"the source's {given.shape[0]} outputs are {own.shape[0]} here"
        return _Outcome(own, Fate.NEW, f"{counts}, and no record beside it says which are which")
    sources = known.outputs
    if sources == ports.outputs and known.has_regions == ports.has_regions:
        return _Outcome(given, Fate.LOADED)
    if not set(sources) & set(ports.outputs):
        return _Outcome(own, Fate.NEW, f"none of the source's classes: {', '.join(port.name for port in sources)}")
    told = _told("classes", ports.outputs, sources, "new")
    if ports.has_regions and not known.has_regions:
        given = given - given[sources.index(BACKGROUND_PORT)]
        told = f"{told}; each less background, as sigmoids ask for"
    adapted = own.clone()
    for place, port in enumerate(ports.outputs):
        if port in sources:
            adapted[place] = given[sources.index(port)]
        elif port.starts_at_zero:
            adapted[place] = 0
    return _Outcome(adapted, Fate.ADAPTED, told)


def _told(what: str, wanted: Sequence[Port], sources: Sequence[Port], new: str) -> str:
    """What became of channels or classes: `classes kept: background, liver; new: spleen; left out: kidney`."""
    missing = [port for port in wanted if port not in sources]
    left_out = [port for port in sources if port not in wanted]
    groups = {
        f"{what} kept": [port for port in wanted if port in sources],
        new: [port for port in missing if not port.starts_at_zero],
        "from zero": [port for port in missing if port.starts_at_zero],
        "left out": left_out,
    }
    told = "; ".join(f"{name}: {', '.join(port.name for port in group)}" for name, group in groups.items() if group)
    spelt = [old.name for port in missing for old in left_out if port.name.casefold() == old.name.casefold()]
    return f"{told}; spelt otherwise, and so not matched: {', '.join(spelt)}" if spelt else told


def _entries(outcomes: Mapping[str, _Outcome], fate: Fate) -> tuple[TransferredTensor, ...]:
    return tuple(
        TransferredTensor(name=name, shape=tuple(outcome.tensor.shape), reason=outcome.reason)
        for name, outcome in outcomes.items()
        if outcome.fate is fate
    )
