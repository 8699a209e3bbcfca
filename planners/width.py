"""How wide a network is where memory is scarce: a narrow one that sees enough beats a wide one that sees too little.

Rule: the width is halved until the smallest useful patch fits at the smallest batch (`PatchSearch.least_useful`), but
not below `least_features`; only then may the patch become smaller than that. The width that a user asks for is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from autounet.planners.patch import PatchSearch
from autounet.planners.reasons import by_axis, gib, number


@dataclass(frozen=True)
class Narrowing:
    """A network as wide as a budget allows.

    Attributes:
        search: The patches to choose from, for a network of that width.
        reason: Why it is narrower than its own; empty where it is not.
    """

    search: PatchSearch
    reason: str = ""


def narrowed(
    search: PatchSearch, needed_bytes: Callable[[PatchSearch], int], memory_gib: float, batch_size: int
) -> Narrowing:
    """The network as wide as its smallest useful patch fits.

    Args:
        search: The patches to choose from, for the network's own width.
        needed_bytes: Memory to plan for, so that the smallest useful patch of a search fits.
        memory_gib: What there is.
        batch_size: At which it must fit.
    """
    narrow = search
    for constants in (search.constants, *search.constants.narrower()):
        narrow = replace(search, constants=constants)
        if needed_bytes(narrow) <= memory_gib * 2**30:
            break
    if narrow == search:
        return Narrowing(search)
    own, needs = search.constants.base_features, gib(needed_bytes(search))
    reason = (
        f"narrowed from the network's own {own}, with which {_least_useful(search)} at batch size {batch_size} would "
        f"take {needs} GiB, more than {number(memory_gib)} GiB"
    )
    return Narrowing(narrow, reason)


def _least_useful(search: PatchSearch) -> str:
    """The smallest useful patch, and what makes it so."""
    size = by_axis(search.least_useful.patch_size)
    if search.requested is not None:
        return f"the patch requested, {size},"
    if search.least_useful == search.first:
        return f"a patch of the median case, {size},"
    edge = search.constants.of(search.num_spatial_dims).least_patch_edge
    return f"a patch of {size}, the smallest that tells of {edge}^{search.num_spatial_dims} voxels,"
