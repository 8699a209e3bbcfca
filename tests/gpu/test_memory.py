"""The cost of a training step beside what PyTorch's allocator counts on a GPU, in float32 and under autocast."""

from __future__ import annotations

import pytest
import torch

from autounet.labels import LabelClass, LabelSchema
from autounet.losses import LOSSES
from autounet.losses.deep_supervision import DeepSupervision
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.planners.memory import training_cost

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

LABELS = LabelSchema(classes=tuple(LabelClass(name=str(value), values=(value,)) for value in (1, 2, 3)))
BATCH_SIZE = 2
# Large enough that blocks of the allocator and handles of the libraries do not count.
PATCHES = {"2d": (512, 512), "3d": (96, 96, 96)}


def plan_of(name: str, num_spatial_dims: int) -> NetworkPlan:
    ones, twos, kernel = ((number,) * num_spatial_dims for number in (1, 2, 3))
    encoder, decoder = NETWORKS[name].default_depths(5)
    return NetworkPlan(
        name=name,
        features=(32, 64, 128, 256, 256),
        kernel_sizes=(kernel,) * 5,
        strides=(ones, twos, twos, twos, twos),
        num_convs_encoder=encoder,
        num_convs_decoder=decoder,
    )


def peak_bytes(plan: NetworkPlan, patch_size: tuple[int, ...], dtype: torch.dtype) -> int:
    """Of the third step, when the libraries have chosen their algorithms; what was in use before is left out."""
    before = torch.cuda.memory_allocated()
    network = NETWORKS[plan.name](plan, 1, LABELS.num_outputs).cuda()
    network.deep_supervision = True
    criterion = DeepSupervision(LOSSES["dice_ce"](LABELS, batch_dice=False), network.output_strides)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True, fused=True)

    def loss() -> torch.Tensor:
        image = torch.zeros(BATCH_SIZE, 1, *patch_size, device="cuda")
        label = torch.zeros(BATCH_SIZE, *patch_size, dtype=torch.int16, device="cuda")
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            outputs = network(image)
        result: torch.Tensor = criterion(outputs, label)
        return result

    for _ in range(3):
        torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("name", ["plain", "resenc"])
@pytest.mark.parametrize("kind", sorted(PATCHES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_peak_of_a_step_is_what_was_found(name: str, kind: str, dtype: torch.dtype) -> None:
    patch_size = PATCHES[kind]
    plan = plan_of(name, len(patch_size))
    cost = training_cost(
        plan,
        patch_size,
        num_channels=1,
        labels=LABELS,
        batch_dice=False,
        half_precision=dtype != torch.float32,
        num_optimizer_states=1,
    )
    assert cost.memory_bytes(BATCH_SIZE) == pytest.approx(peak_bytes(plan, patch_size, dtype), rel=0.1)
