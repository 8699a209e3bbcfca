"""What reaches the network of a diffusion objective, and what its loss is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from autounet.diffusion.intensity import ChannelRange, IntensityRange, Line
from autounet.diffusion.options import DiffusionOptions
from autounet.labels import LabelClass, LabelSchema
from autounet.network_plan import NetworkPlan
from autounet.networks.diffusion_unet import DiffusionUNet
from autounet.training.diffusion import DiffusionObjective
from autounet.training.precision import Precision
from autounet.training.replicas import alone
from autounet.training.sampling import PatchBatch

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
CHANNEL = ChannelRange(mean=5.0, std=2.0, low=0.0, high=9.0, raw_low=0.0, raw_high=9.0, whole_numbers=False)
INTENSITIES = IntensityRange(channels=(CHANNEL,), num_files=1, cases=((Line(offset=0.0, scale=1.0),),))
PLAN = NetworkPlan(
    name="diffusion_unet",
    features=(8,),
    kernel_sizes=((3, 3),),
    strides=((1, 1),),
    num_convs_encoder=(1,),
    num_convs_decoder=(),
    options=(("context", 4), ("tokens", 2)),
)


@dataclass
class Seen:
    """What a network was called with."""

    inputs: list[Tensor] = field(default_factory=list)
    times: list[Tensor] = field(default_factory=list)
    names: list[Tensor] = field(default_factory=list)


class Recording(DiffusionUNet):
    """Says nothing, and keeps what it is told."""

    seen: Seen

    def embed(self, tokens: Tensor) -> Tensor:
        self.seen.names.append(tokens)
        return super().embed(tokens)

    def forward(self, x: Tensor, times: Tensor | None = None, context: Tensor | None = None) -> list[Tensor]:
        assert times is not None
        self.seen.inputs.append(x)
        self.seen.times.append(times)
        return super().forward(x, times, context)


def network() -> Recording:
    torch.manual_seed(0)
    made = Recording(PLAN, 1 + 3, 1)
    made.seen = Seen()
    return made


def objective(**options: object) -> DiffusionObjective:
    chosen = DiffusionOptions.parse(options, "the test")
    return DiffusionObjective(chosen, LABELS, INTENSITIES, Precision(torch.float32, ""), alone(torch.device("cpu")))


def batch(size: int = 4, edge: int = 16) -> PatchBatch:
    generator = np.random.default_rng(0)
    image = generator.normal(5.0, 2.0, (size, 1, edge, edge)).astype(np.float32)
    label = np.zeros((size, edge, edge), dtype=np.int16)
    label[1, 3:6, 3:6] = 2
    return PatchBatch(image, label)


def test_a_network_that_says_nothing_has_the_targets_variance_as_its_loss() -> None:
    """Noise and v of images of unit variance both have variance 1."""
    for prediction in ("noise", "v"):
        torch.manual_seed(1)
        loss = objective(prediction=prediction)(network(), batch(16, 32))
        assert float(loss.detach()) == pytest.approx(1, abs=0.03)


def test_masks_and_names_reach_the_network() -> None:
    made = network()
    objective(drop=0)(made, batch())
    masks = made.seen.inputs[0][:, 1:]
    assert masks.sum(dim=(2, 3)).tolist() == [[256, 0, 0], [247, 0, 9], [256, 0, 0], [256, 0, 0]]
    assert made.seen.names[0].tolist() == [[0, 0], [0, 2], [0, 0], [0, 0]]


def test_a_dropped_condition_is_hidden_whole() -> None:
    made = network()
    objective(drop=1)(made, batch())
    assert not made.seen.inputs[0][:, 1:].any()
    assert not made.seen.names[0].any()
    assert made.seen.inputs[0][:, :1].std() > 0.5, "the noisy image is still there"


def test_conditions_are_dropped_as_often_as_asked() -> None:
    made, torch_seed = network(), torch.manual_seed(0)
    assert torch_seed is not None
    for _ in range(10):
        objective(drop=0.25)(made, batch(40, 4))
    given = torch.cat(made.seen.inputs)[:, 1:].flatten(1).any(dim=1)
    assert float((~given).float().mean()) == pytest.approx(0.25, abs=0.06)  # three standard deviations


def test_times_are_drawn_evenly_from_all_of_the_schedule() -> None:
    made = network()
    torch.manual_seed(0)
    for _ in range(10):
        objective(times=10)(made, batch(100, 4))
    counts = torch.bincount(torch.cat(made.seen.times), minlength=10)
    assert counts.sum() == 1000
    assert ((counts - 100).abs() < 40).all()  # four standard deviations


def test_the_same_state_of_the_generator_gives_the_same_loss() -> None:
    losses = []
    for seed in (3, 3, 4):
        made = network()
        torch.manual_seed(seed)
        losses.append(float(objective()(made, batch()).detach()))
    assert losses[0] == losses[1] != losses[2]
