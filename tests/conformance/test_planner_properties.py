"""Any dataset, however odd, is planned: soundly, always alike, and within the memory.

Random fingerprints: voxels of 0.05 to 20 mm, 1 to 2000 of them an axis, protocols mixed, up to 120 classes.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelClass, LabelSchema
from autounet.losses import LOSSES
from autounet.losses.deep_supervision import DeepSupervision
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.choice import NetworkChoice
from autounet.planners import DEFAULT_PLANNER, PLANNERS
from autounet.planners.memory import training_cost
from autounet.planners.network import constants_of
from autounet.planners.patch import PatchSearch
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, IntensityStatistics, Plan

GIB = 2**30
STATISTICS = IntensityStatistics(
    mean=40, std=20, minimum=-1000, maximum=3000, percentile_00_5=-50, median=38, percentile_99_5=160
)
# Networks that the default planner can plan for; the others have one each.
WAYS = [*((name, None) for name in sorted(PLANNERS)), (DEFAULT_PLANNER, "resenc")]
MEASURED = [None, "resenc"]


@dataclass(frozen=True)
class Dataset:
    """A random dataset, told briefly where a test fails.

    Attributes:
        kinds: Spacing and shape of its protocols, in turn over the cases.
        regions: Classes overlap.
    """

    kinds: tuple[tuple[Triple, Shape3], ...]
    num_cases: int
    num_channels: int
    num_classes: int
    regions: bool
    ignore: bool
    half_precision: bool

    @property
    def fingerprint(self) -> Fingerprint:
        """What a planner gets to see of the images."""
        cases = [self.kinds[index % len(self.kinds)] for index in range(self.num_cases)]
        spacings_mm, shapes = zip(*cases, strict=True)
        return Fingerprint.of_sizes("Dataset001_Test", spacings_mm, shapes, (STATISTICS,) * self.num_channels, 0.6)

    @property
    def description(self) -> DatasetDescription:
        """What `dataset.json` says."""
        values = range(1, self.num_classes + 1)
        has_regions = self.regions and self.num_classes > 1
        first = LabelClass(name="first", values=tuple(values) if has_regions else (1,))
        others = (LabelClass(name=f"class {value}", values=(value,)) for value in values[1:])
        return DatasetDescription(
            name="Dataset001_Test",
            channel_names=tuple(f"channel {index}" for index in range(self.num_channels)),
            labels=LabelSchema(
                classes=(first, *others),
                ignore_value=self.num_classes + 1 if self.ignore else None,
                region_order=tuple(values) if has_regions else None,
            ),
            file_ending=".nii.gz",
        )

    def planned(self, planner: str, network: str | None, memory_gib: float) -> Plan:
        """Its plan."""
        request = PlanRequest(memory_gib=memory_gib, network=network, half_precision=self.half_precision)
        return PLANNERS.find(planner)(self.fingerprint, self.description, request)


edges = st.one_of(st.integers(1, 64), st.integers(1, 2000), st.just(2000))
millimetres = st.one_of(st.floats(0.05, 20), st.sampled_from([0.05, 1.0, 20.0]))
kinds = st.tuples(st.tuples(millimetres, millimetres, millimetres), st.tuples(edges, edges, edges))
datasets = st.builds(
    Dataset,
    kinds=st.lists(kinds, min_size=1, max_size=3).map(tuple),
    num_cases=st.integers(1, 40),
    num_channels=st.integers(1, 8),
    num_classes=st.integers(1, 120),
    regions=st.booleans(),
    ignore=st.booleans(),
    half_precision=st.booleans(),
)
memories = st.floats(0.5, 80)
EXTREME = Dataset((((20, 0.05, 0.05), (2000, 2000, 2000)),), 3, 2, 5, True, True, True)
SMALL = Dataset((((1, 1, 1), (12, 20, 16)), ((3, 1, 1), (5, 18, 17))), 20, 2, 3, True, True, False)


def examples(number: int) -> Callable[..., Callable[..., None]]:
    """Settings of so many examples, always the same ones."""
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def work_of(configuration: Configuration) -> tuple[int, int]:
    """Channels and voxels of a batch: where memory is scarce, a wider network comes before a larger patch."""
    return configuration.network.features[0], math.prod(configuration.patch_size) * configuration.batch_size


@pytest.mark.parametrize(("planner", "network"), WAYS)
@examples(2)
@given(dataset=datasets, memory_gib=memories)
@example(dataset=EXTREME, memory_gib=0.5)
@example(dataset=SMALL, memory_gib=80)
def test_every_dataset_is_planned_soundly(
    planner: str, network: str | None, dataset: Dataset, memory_gib: float
) -> None:
    made = dataset.planned(planner, network, memory_gib)
    content = made.model_dump(mode="json")
    assert Plan.parse(json.loads(json.dumps(content)), "memory") == made
    assert json.dumps(dataset.planned(planner, network, memory_gib).model_dump(mode="json")) == json.dumps(content)
    assert all(decision.value and decision.reason for decision in made.decisions)
    names = [decision.name for decision in made.decisions]
    assert len(names) == len(set(names))
    for name, configuration in made.configurations.items():
        sizes = zip(configuration.patch_size, configuration.network.divisor, strict=True)
        assert all(size >= factor and size % factor == 0 for size, factor in sizes)
        assert configuration.batch_size >= 2
        assert configuration.inherits_from or f"{name}.patch_size" in names


def test_another_process_makes_the_same_plans(repository: Path) -> None:
    dataset = Dataset((((3, 0.7, 0.9), (90, 500, 400)), ((1, 1, 1), (300, 300, 200))), 9, 2, 4, True, True, False)
    program = (
        "import sys\n"
        "from autounet.data.description import DatasetDescription\n"
        "from autounet.fingerprint import Fingerprint\n"
        "from autounet.planners import PLANNERS\n"
        "evidence, description = sys.stdin.read().splitlines()\n"
        "known = Fingerprint.model_validate_json(evidence), DatasetDescription.model_validate_json(description)\n"
        "for name in sorted(PLANNERS):\n"
        "    print(PLANNERS.find(name)(*known).model_dump_json())\n"
    )
    evidence, description = dataset.fingerprint, dataset.description
    there = subprocess.run(
        [sys.executable, "-c", program],
        input=f"{evidence.model_dump_json()}\n{description.model_dump_json()}",
        env={**os.environ, "PYTHONHASHSEED": "4321", "OMP_NUM_THREADS": "1"},
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    here = [PLANNERS.find(name)(evidence, description).model_dump_json() for name in sorted(PLANNERS)]
    assert there.stdout.splitlines() == here


@pytest.mark.parametrize("network", MEASURED)
@examples(3)
@given(dataset=datasets, memory_gib=memories)
@example(dataset=EXTREME, memory_gib=6)
def test_a_measured_plan_fills_its_memory_and_no_more(network: str | None, dataset: Dataset, memory_gib: float) -> None:
    made = dataset.planned(DEFAULT_PLANNER, network, memory_gib)
    for configuration in made.configurations.values():
        assert configuration.memory is not None
        assert configuration.memory.total_bytes <= memory_gib * GIB
        if configuration.name in ("2d", "3d_fullres"):
            assert_next_larger_patch_does_not_fit(configuration, dataset, memory_gib * GIB)


def assert_next_larger_patch_does_not_fit(configuration: Configuration, dataset: Dataset, memory_bytes: float) -> None:
    """Of the patches in their order, the one before the chosen takes more than nine tenths at a batch of two."""
    own = constants_of(NetworkChoice.of(configuration.network.name))
    constants = replace(own, base_features=configuration.network.features[0])
    axes = ("z", "y", "x")[-configuration.num_spatial_dims :]
    search = PatchSearch(configuration.spacing_mm, configuration.median_shape, axes, constants)
    larger = None
    for topology in search.sizes():
        if topology.patch_size == configuration.patch_size:
            break
        larger = topology
    if larger is None:
        return
    encoder, decoder = constants.depths(larger.num_stages)
    widest = constants.of(configuration.num_spatial_dims).max_features
    network = NetworkPlan(
        name=configuration.network.name,
        features=tuple(min(constants.features(stage), widest) for stage in range(larger.num_stages)),
        kernel_sizes=larger.kernel_sizes,
        strides=larger.strides,
        num_convs_encoder=encoder,
        num_convs_decoder=decoder,
    )
    cost = training_cost(
        network,
        larger.patch_size,
        num_channels=dataset.num_channels,
        labels=dataset.description.labels,
        batch_dice=False,
        half_precision=dataset.half_precision,
    )
    assert cost.memory_bytes(2) * 1.002 > 0.9 * memory_bytes


@pytest.mark.parametrize("network", MEASURED)
@examples(4)
@given(dataset=datasets, memory_gib=memories, factor=st.one_of(st.floats(1, 1.1), st.floats(1, 8)))
def test_more_memory_never_gives_less_work_a_step(
    network: str | None, dataset: Dataset, memory_gib: float, factor: float
) -> None:
    # Not so for nnU-Net's own rules: a residual preset's patch must fit at one batch size and is filled at another.
    less, more = (
        dataset.planned(DEFAULT_PLANNER, network, memory).configurations for memory in (memory_gib, memory_gib * factor)
    )
    for name in {"2d", "3d_fullres"} & set(less):
        assert work_of(more[name]) >= work_of(less[name])


@pytest.mark.parametrize("network", MEASURED)
@examples(1)
@given(dataset=datasets, features=st.integers(64, 700))
def test_too_little_memory_names_what_would_do(network: str | None, dataset: Dataset, features: int) -> None:
    wish = PlanRequest(
        memory_gib=1e-4, network=network, half_precision=dataset.half_precision, features=features, num_stages=3
    )
    plan = PLANNERS.find(DEFAULT_PLANNER)
    with pytest.raises(RequestError, match="too little to train network") as refusal:
        plan(dataset.fingerprint, dataset.description, wish)
    named = str(refusal.value).split("--memory-gib ")[1].split(",")[0]
    enough = wish.model_copy(update={"memory_gib": float(named)})
    assert plan(dataset.fingerprint, dataset.description, enough).memory_gib == float(named)
    if float(named) > 0.02:
        with pytest.raises(RequestError, match="too little"):
            scarce = wish.model_copy(update={"memory_gib": float(named) - 0.02})
            plan(dataset.fingerprint, dataset.description, scarce)


@pytest.mark.parametrize(
    ("planner", "network"),
    [("default", None), ("default", "resenc"), ("nnunet", None), ("nnunet_resenc", None)],
)
@examples(1)
@given(dataset=datasets, memory_gib=memories)
@example(dataset=SMALL, memory_gib=0.5)
def test_the_planned_networks_train(planner: str, network: str | None, dataset: Dataset, memory_gib: float) -> None:
    made = dataset.planned(planner, network, memory_gib)
    for configuration in made.configurations.values():
        train_a_step(made, configuration)


def train_a_step(made: Plan, configuration: Configuration) -> None:
    """Forward and backward, with numbers where they are few."""
    plan, batch = configuration.network, configuration.batch_size
    work = 2 * math.prod(configuration.patch_size) * plan.features[0]
    weights = sum(math.prod(kernel) * width**2 for kernel, width in zip(plan.kernel_sizes, plan.features, strict=True))
    device = "cpu" if work <= 1_000_000 and weights <= 10_000_000 else "meta"
    batch = 2 if device == "cpu" else batch
    with torch.device(device):
        model = NETWORKS.find(plan.name)(plan, made.num_inputs(configuration), made.labels.num_outputs)
        model.deep_supervision = True
        image = torch.ones(batch, made.num_inputs(configuration), *configuration.patch_size)
        label = torch.ones(batch, *configuration.patch_size, dtype=torch.int16)
        criterion = DeepSupervision(
            LOSSES.find("dice_ce")(made.labels, batch_dice=configuration.batch_dice), model.output_strides
        )
        outputs = model(image)
        assert_shapes_follow(outputs, model.output_strides, configuration)
        criterion(outputs, label).backward()
    # The coarsest output may have no weight in the loss.
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trainable if not name.startswith("heads.")} <= trained
    assert "heads.0.weight" in trained


def assert_shapes_follow(
    outputs: Sequence[Tensor], strides: Sequence[Sequence[int]], configuration: Configuration
) -> None:
    """One output a resolution, the finest of the patch's size."""
    for output, stride in zip(outputs, strides, strict=True):
        sizes = zip(configuration.patch_size, stride, strict=True)
        assert tuple(output.shape[2:]) == tuple(size // step for size, step in sizes)
