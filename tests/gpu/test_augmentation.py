"""Augmentation on a GPU makes what it makes on the CPU, and waits for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autounet.augmentation import POLICIES, device, workers
from autounet.augmentation.patches import Augmentation

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("patch", [(24, 32, 28), (4, 32, 40), (48, 48)], ids=["3d", "slice-wise", "2d"])
def test_the_gpu_makes_what_the_cpu_makes(name: str, patch: tuple[int, ...]) -> None:
    augmentation = Augmentation.of(POLICIES[name], patch, (0,))
    for seed in range(3):
        generator = np.random.default_rng(seed)
        drawn = augmentation.draw(generator, 4, 2)
        size = drawn.spatial.region_size
        image = generator.normal(size=(4, 2, *size)).astype(np.float32)
        label = generator.integers(-1, 4, (4, 1, *size)).astype(np.int16)
        expected = workers.apply(drawn, image, label)
        found = device.apply(drawn, torch.from_numpy(image).cuda(), torch.from_numpy(label).cuda())
        assert (found[1].cpu().numpy() != expected[1]).mean() < 2e-3
        # Each makes its own noise, of a standard deviation of 0.1 at most; TF32 may be on.
        difference = np.abs(found[0].cpu().numpy() - expected[0])
        assert np.quantile(difference, 0.999) < 0.6
        assert np.median(difference) < 0.1


def test_nothing_is_read_back_from_the_gpu() -> None:
    augmentation = Augmentation.of(POLICIES["nnunet"], (32, 32, 32))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for seed in range(10):
            drawn = augmentation.draw(np.random.default_rng(seed), 2, 1)
            size = drawn.spatial.region_size
            image = torch.zeros((2, 1, *size), pin_memory=True).cuda(non_blocking=True)
            device.apply(drawn, image, torch.zeros((2, 1, *size), dtype=torch.int16, device="cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
