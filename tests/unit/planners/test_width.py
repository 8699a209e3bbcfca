"""How wide a network is where memory is scarce, on costs made up so that they can be reckoned by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autounet.planners.constants import NNUNET
from autounet.planners.patch import PatchSearch
from autounet.planners.width import narrowed

AXES = ("z", "y", "x")
SEARCH = PatchSearch((1, 1, 1), (64, 64, 64), AXES)
# Of a voxel of two patches and a channel: 32^3 voxels and 32 channels take an eighth of a GiB.
A_VOXEL = 2**27 // 32**4


def needed_bytes(search: PatchSearch) -> int:
    return math.prod(search.least_useful.patch_size) * search.constants.base_features * A_VOXEL


def width_of(search: PatchSearch, memory_gib: float) -> tuple[int, str]:
    found = narrowed(search, needed_bytes, memory_gib, 2)
    return found.search.constants.base_features, found.reason


def test_the_least_useful_patch_is_the_last_of_its_voxels() -> None:
    assert SEARCH.least_useful.patch_size == (32, 32, 32)
    sizes = [topology.patch_size for topology in SEARCH.sizes()]
    assert math.prod(sizes[sizes.index((32, 32, 32)) + 1]) < 32**3
    assert PatchSearch((1, 1), (300, 300), AXES[1:]).least_useful.patch_size == (128, 128)


def test_a_case_of_fewer_voxels_is_seen_whole() -> None:
    search = PatchSearch((1, 1, 1), (16, 24, 24), AXES)
    assert search.least_useful == search.first


def test_what_valid_convolutions_tell_counts() -> None:
    valid = replace(NNUNET, padding="valid", max_stages=4)
    search = PatchSearch((1, 1), (300, 300), AXES[1:], valid)
    field = search.least_useful.field
    assert math.prod(field) >= 128**2
    assert math.prod(search.least_useful.patch_size) > 2 * 128**2


def test_a_network_keeps_its_width_while_its_least_useful_patch_fits() -> None:
    assert width_of(SEARCH, 0.125) == (32, "")
    assert narrowed(SEARCH, needed_bytes, 0.125, 2).search is SEARCH


@pytest.mark.parametrize(("memory_gib", "width"), [(0.124, 16), (0.0625, 16), (0.0624, 8), (0.03125, 8), (0.001, 8)])
def test_the_width_is_halved_until_it_fits_or_is_eight(memory_gib: float, width: int) -> None:
    assert width_of(SEARCH, memory_gib)[0] == width


def test_the_reason_says_what_its_own_width_would_take() -> None:
    assert width_of(SEARCH, 0.1)[1] == (
        "narrowed from the network's own 32, with which a patch of 32 x 32 x 32, the smallest that tells of 32^3 "
        "voxels, at batch size 2 would take 0.13 GiB, more than 0.1 GiB"
    )
    whole = PatchSearch((1, 1, 1), (16, 16, 16), AXES)
    assert "with which a patch of the median case, 16 x 16 x 16, at" in width_of(whole, 0.01)[1]
    asked = PatchSearch((1, 1, 1), (64, 64, 64), AXES, requested=(48, 48, 48))
    width, reason = width_of(asked, 0.22)
    assert width == 16  # 48^3 is 3.375 times 32^3, so that 32 channels take 0.42 GiB and 16 of them 0.21
    assert "with which the patch requested, 48 x 48 x 48, at" in reason


def test_a_narrow_network_is_made_no_narrower() -> None:
    narrow = replace(SEARCH, constants=replace(NNUNET, base_features=8))
    assert width_of(narrow, 0.001) == (8, "")
    odd = replace(SEARCH, constants=replace(NNUNET, base_features=15))
    assert width_of(odd, 0.001)[0] == 8
