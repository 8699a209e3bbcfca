"""Memory of a training step as the planners find it, beside what it takes on this CPU; run from the checkout.

    python tests/benchmarks/memory.py

Prints a table in Markdown. Real memory is the profiler's record of every allocation over two steps of SGD with
momentum, and the weights; the time is what finding the estimate took, nothing where that network was there before.
The profiler writes some lines of its own to the error output.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from autounet.labels import LabelClass, LabelSchema
from autounet.losses import LOSSES
from autounet.losses.deep_supervision import DeepSupervision
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.planners.memory import TrainingCost, training_cost

MIB = 2**20


@dataclass(frozen=True)
class Case:
    """A training step.

    Attributes:
        network: Its name.
        width: Features of the finest stage; doubled from stage to stage, up to 320.
        num_stages: Resolutions.
        patch_size: Of the image.
        batch_size: Patches a batch.
        num_classes: Foreground classes.
        flat_stages: Stages whose kernel is 1 along the first axis, which is not strided within them.
        bfloat16: The network runs under autocast.
    """

    network: str
    width: int
    num_stages: int
    patch_size: tuple[int, ...]
    batch_size: int
    num_classes: int = 3
    flat_stages: int = 0
    bfloat16: bool = False

    def plan(self) -> NetworkPlan:
        """The network's plan."""
        dims, stages = len(self.patch_size), range(self.num_stages)
        encoder, decoder = NETWORKS[self.network].default_depths(self.num_stages)
        flat = [(1,) + (3,) * (dims - 1) if stage < self.flat_stages else (3,) * dims for stage in stages]
        strides = [tuple(1 if stage == 0 or edge == 1 else 2 for edge in flat[stage]) for stage in stages]
        return NetworkPlan(
            name=self.network,
            features=tuple(min(320, self.width * 2**stage) for stage in stages),
            kernel_sizes=tuple(flat),
            strides=tuple(strides),
            num_convs_encoder=encoder,
            num_convs_decoder=decoder,
        )

    def labels(self) -> LabelSchema:
        """The classes."""
        return LabelSchema(
            classes=tuple(LabelClass(name=str(value), values=(value,)) for value in range(1, self.num_classes + 1))
        )

    def row(self) -> str:
        """What it is, as cells of the table."""
        patch = " x ".join(map(str, self.patch_size))
        precision = "bfloat16" if self.bfloat16 else "float32"
        return f"| {self.network} | {self.width} | {patch} | {self.batch_size} | {self.num_classes} | {precision} "


CASES = (
    Case("plain", 16, 4, (40, 56, 40), 2),
    Case("plain", 16, 4, (40, 56, 40), 4),
    Case("plain", 16, 5, (96, 96, 96), 1),
    Case("plain", 32, 4, (64, 64, 64), 2),
    Case("plain", 32, 5, (32, 32, 32), 2),
    Case("plain", 16, 4, (48, 48, 48), 2, num_classes=30),
    Case("plain", 16, 5, (16, 80, 80), 2, flat_stages=2),
    Case("plain", 32, 6, (192, 192), 4),
    Case("plain", 24, 5, (128, 128), 4, num_classes=30),
    Case("resenc", 16, 4, (40, 56, 40), 2),
    Case("resenc", 16, 4, (64, 64, 64), 2),
    Case("resenc", 16, 5, (16, 80, 80), 2, flat_stages=2),
    Case("resenc", 32, 5, (128, 128), 4),
    Case("plain", 16, 4, (40, 56, 40), 2, bfloat16=True),
    Case("plain", 32, 6, (192, 192), 4, bfloat16=True),
)


def measure(case: Case) -> int:
    """Bytes at the peak of a real step."""
    labels = case.labels()
    network = NETWORKS[case.network](case.plan(), 1, labels.num_outputs)
    network.deep_supervision = True
    criterion = DeepSupervision(LOSSES["dice_ce"](labels, batch_dice=False), network.output_strides)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True, fused=True)

    def loss() -> torch.Tensor:
        image = torch.randn(case.batch_size, 1, *case.patch_size)
        label = torch.randint(case.num_classes + 1, (case.batch_size, *case.patch_size), dtype=torch.int16)
        with torch.autocast("cpu", torch.bfloat16, enabled=case.bfloat16):
            outputs = network(image)
        result: torch.Tensor = criterion(outputs, label)
        return result

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()
    assert recording.profiler is not None
    events = [event for event in recording.profiler.kineto_results.events() if event.name() == "[memory]"]
    in_use = peak = sum(parameter.nbytes for parameter in network.parameters())
    for event in sorted(events, key=lambda event: int(event.start_ns())):
        in_use += event.nbytes()
        peak = max(peak, in_use)
    return peak


def estimate(case: Case) -> TrainingCost:
    """What the planners find."""
    return training_cost(
        case.plan(),
        case.patch_size,
        num_channels=1,
        labels=case.labels(),
        batch_dice=False,
        half_precision=case.bfloat16,
        num_optimizer_states=1,
    )


def main() -> None:
    """Print a row a case."""
    torch.manual_seed(0)
    print("| network | width | patch | batch | classes | precision | parameters | estimate | measured | ratio | time |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        start = time.perf_counter()
        cost = estimate(case)
        milliseconds = 1000 * (time.perf_counter() - start)
        found, real = cost.memory_bytes(case.batch_size), measure(case)
        print(
            f"{case.row()}| {cost.num_parameters / 1e6:.1f} M | {found / MIB:.1f} MiB | {real / MIB:.1f} MiB "
            f"| {found / real:.3f} | {milliseconds:.0f} ms |",
            flush=True,
        )


if __name__ == "__main__":
    main()
