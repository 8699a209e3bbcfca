"""The default planner: which memory, which depths, and a cascade whose inputs cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.labels import LabelClass, LabelSchema
from autounet.networks.choice import NetworkChoice
from autounet.planners.default import planner
from autounet.planners.network import constants_of
from autounet.planners.request import PlanRequest
from autounet.plans import Plan


def description(num_classes: int) -> DatasetDescription:
    classes = tuple(LabelClass(name=f"class {value}", values=(value,)) for value in range(1, num_classes + 1))
    return DatasetDescription(
        name="Dataset001_Test", channel_names=("CT",), labels=LabelSchema(classes=classes), file_ending=".nii"
    )


@pytest.fixture
def evidence(make_fingerprint: Callable[..., Fingerprint]) -> Fingerprint:
    return make_fingerprint([(1, 1, 1)] * 20, [(36, 50, 35)] * 20)


def test_depths_are_the_networks_own() -> None:
    assert constants_of(NetworkChoice.of("plain")).depths(4) == ((2, 2, 2, 2), (2, 2, 2))
    assert constants_of(NetworkChoice.of("resenc")).depths(6) == ((1, 3, 4, 6, 6, 6), (1, 1, 1, 1, 1))


def test_the_network_asked_for_is_planned(evidence: Fingerprint) -> None:
    network = planner(evidence, description(2), PlanRequest(network="resenc")).configurations["3d_fullres"].network
    assert network.name == "resenc"
    assert network.num_convs_encoder == (1, 3, 4, 6)
    assert planner(evidence, description(2)).configurations["3d_fullres"].network.name == "plain"


def test_classes_that_are_not_annotated_everywhere_cost_memory(evidence: Fingerprint) -> None:
    every = description(40)
    some = every.model_copy(update={"annotated": {"case_003": ("class 1",)}})
    request = PlanRequest(patch_size=(40, 56, 40), batch_size=2)
    plans = [planner(evidence, told, request) for told in (every, some)]
    assert [plan.partially_annotated for plan in plans] == [False, True]
    needed = [plan.configurations["3d_fullres"].memory for plan in plans]
    assert needed[0] is not None
    assert needed[1] is not None
    assert needed[1].total_bytes > 1.03 * needed[0].total_bytes
    # Plans of other datasets look as they always did.
    assert ["partially_annotated" in plan.model_dump() for plan in plans] == [False, True]
    assert all(Plan.model_validate(plan.model_dump(mode="json")) == plan for plan in plans)


def test_an_unknown_network_is_refused(evidence: Fingerprint) -> None:
    with pytest.raises(RequestError, match="resenc"):
        planner(evidence, description(2), PlanRequest(network="resnec"))


@pytest.mark.parametrize(
    ("asked", "device", "expected"), [(5.0, 3.0, 5.0), (None, 3.0, 3.0), (5.0, None, 5.0), (None, None, 8.0)]
)
def test_the_memory_asked_for_comes_before_the_devices(
    evidence: Fingerprint, asked: float | None, device: float | None, expected: float
) -> None:
    request = PlanRequest(memory_gib=asked, device_memory_gib=device)
    assert planner(evidence, description(2), request).memory_gib == expected


def test_a_cascade_counts_its_further_inputs(make_fingerprint: Callable[..., Fingerprint]) -> None:
    large = make_fingerprint([(1, 1, 1)] * 20, [(300, 300, 300)] * 20)
    made = planner(large, description(60), PlanRequest(memory_gib=6))
    second, full = made.configurations["3d_cascade_fullres"], made.configurations["3d_fullres"]
    assert made.num_inputs(second) == 61
    assert second.memory is not None
    assert full.memory is not None
    assert second.memory.total_bytes <= 6 * 2**30
    # Each voxel has 60 numbers more.
    assert second.memory.activations_bytes / full.memory.activations_bytes > 0.5
    assert (second.patch_size, second.memory) != (full.patch_size, full.memory)


def test_a_refusal_names_what_all_configurations_need(evidence: Fingerprint) -> None:
    # 2d, which is planned first, needs less than 3d_fullres: its kernels have a third as many weights.
    wish = PlanRequest(memory_gib=0.001, features=300, num_stages=3)
    with pytest.raises(RequestError, match=r"^0.001 GiB .*, 1 x 1 x 1 at batch size 2, needs") as refusal:
        planner(evidence, description(2), wish)
    named = float(str(refusal.value).split("--memory-gib ")[1].split(",")[0])
    assert planner(evidence, description(2), wish.model_copy(update={"memory_gib": named})).memory_gib == named


def test_valid_convolutions_get_a_tile_that_tells_of_the_whole_image(
    make_fingerprint: Callable[..., Fingerprint],
) -> None:
    images = make_fingerprint([(1, 1, 1)] * 20, [(1, 512, 512)] * 20)
    plan = planner(images, description(1), PlanRequest(network="unet2015", memory_gib=8))
    entry = plan.configurations["2d"]
    assert (plan.network, list(plan.configurations)) == ("unet2015", ["2d"])
    assert (entry.patch_size, entry.batch_size, entry.network.padding) == ((700, 700), 1, "valid")
    assert entry.network.features == (64, 128, 256, 512, 1024)
    reasons = {decision.name: decision.reason for decision in plan.decisions}
    assert "the 92 x 92 voxels that valid convolutions lose on each side" in reasons["2d.patch_size"]
    assert "as 'unet2015' was trained in its paper" in reasons["2d.batch_size"]
    assert "with 5 stages at most" in reasons["2d.strides"]
    little = planner(images, description(1), PlanRequest(network="unet2015", memory_gib=1.5)).configurations["2d"]
    assert little.patch_size < entry.patch_size
    assert little.network.takes(little.patch_size)
    assert little.memory is not None
    assert little.memory.total_bytes <= 1.5 * 2**30


def test_a_requested_patch_of_valid_convolutions_is_what_they_see(
    make_fingerprint: Callable[..., Fingerprint],
) -> None:
    images = make_fingerprint([(1, 1, 1)] * 20, [(1, 512, 512)] * 20)
    request = PlanRequest(network="unet2015", memory_gib=8, patch_size=(560, 572), features=8)
    assert planner(images, description(1), request).configurations["2d"].patch_size == (572, 572)


def test_only_configurations_that_a_network_is_made_for_are_planned(
    evidence: Fingerprint, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    for network, names in (("unet2015", ["2d"]), ("unet3d2016", ["3d_fullres"]), ("vnet", ["2d", "3d_fullres"])):
        assert list(planner(evidence, description(2), PlanRequest(network=network)).configurations) == names
    images = make_fingerprint([(1, 1, 1)] * 20, [(1, 512, 512)] * 20)
    with pytest.raises(RequestError, match=r"'unet3d2016' is made for volumes.*autounet networks"):
        planner(images, description(1), PlanRequest(network="unet3d2016"))


def test_kernels_depths_and_options_are_what_is_asked_for(evidence: Fingerprint) -> None:
    request = PlanRequest(network="vnet,variant=released,norm=batch")
    plan = planner(evidence, description(2), request)
    network = plan.configurations["3d_fullres"].network
    assert [(entry.value, entry.reason) for entry in plan.decisions if entry.name == "3d_fullres.norm"] == [
        ("batch", "requested by the user")
    ]
    assert network.kernel_sizes == ((5, 5, 5),) * network.num_stages
    assert network.num_convs_encoder == (1, 1, 2, 3)[: network.num_stages]
    assert network.options == (("norm", "batch"), ("variant", "released"))


def test_widths_must_suit_the_network(evidence: Fingerprint) -> None:
    with pytest.raises(RequestError, match="--features 7: the network 'unet3d2016' needs a multiple of 2"):
        planner(evidence, description(2), PlanRequest(network="unet3d2016", features=7))


def test_a_network_that_is_too_wide_is_narrowed_rather_than_blinded(evidence: Fingerprint) -> None:
    plan = planner(evidence, description(2), PlanRequest(memory_gib=0.1))
    entry = plan.configurations["3d_fullres"]
    assert entry.network.features == (16, 32, 64, 128)
    assert math.prod(entry.patch_size) >= 32**3
    assert entry.memory is not None
    assert entry.memory.total_bytes <= 0.1 * 2**30
    told = next(decision for decision in plan.decisions if decision.name == "3d_fullres.features")
    assert told.value == "16, 32, 64, 128"
    assert "; narrowed from the network's own 32, with which a patch of " in told.reason
    assert told.reason.endswith(" GiB, more than 0.1 GiB")


def test_a_width_that_is_asked_for_is_kept(evidence: Fingerprint) -> None:
    wide = planner(evidence, description(2), PlanRequest(memory_gib=0.1, features=32)).configurations["3d_fullres"]
    assert wide.network.features[0] == 32
    assert math.prod(wide.patch_size) < 32**3
    request = PlanRequest(memory_gib=0.1, features=32, patch_size=(40, 56, 40))
    with pytest.raises(RequestError, match=r"the requested patch, .* with 32 channels .* --features 16\."):
        planner(evidence, description(2), request)
    narrow = planner(evidence, description(2), request.model_copy(update={"features": None}))
    assert narrow.configurations["3d_fullres"].network.features[0] < 32


def test_a_second_stage_may_be_narrower_and_says_so(make_fingerprint: Callable[..., Fingerprint]) -> None:
    large = make_fingerprint([(1, 1, 1)] * 20, [(300, 300, 300)] * 20)
    made = planner(large, description(60), PlanRequest(memory_gib=0.28))
    stages = [made.configurations[name].network.features[0] for name in ("3d_fullres", "3d_cascade_fullres")]
    assert stages[1] < stages[0]
    assert "3d_cascade_fullres.features" in {decision.name for decision in made.decisions}


def test_what_a_network_does_not_read_is_not_shown(evidence: Fingerprint) -> None:
    told = {}
    for name in ("swin_unet", "swin_unetr"):
        plan = planner(evidence, description(2), PlanRequest(network=name))
        told[name] = {entry.name: entry.reason for entry in plan.decisions}
        # The file keeps its form.
        assert "kernel_sizes" in plan.model_dump()["configurations"]["2d"]["network"]
    assert "2d.kernel_sizes" not in told["swin_unet"]
    assert "2d.kernel_sizes" in told["swin_unetr"]
    assert "in the decoder" in told["swin_unet"]["2d.num_convs"]
    assert "decoder" not in told["swin_unetr"]["2d.num_convs"]
