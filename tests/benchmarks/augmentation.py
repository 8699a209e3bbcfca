"""Milliseconds a batch of every augmentation policy with both backends, cut from a case in memory.

    python tests/benchmarks/augmentation.py [--device cuda] [--threads 2] [--batches 20]

Where batchgeneratorsv2 can be imported, nnU-Net's own default transforms are timed beside, one sample after another as
in its workers. Figures: `docs/benchmarks/`.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autounet.augmentation import POLICIES, device, workers
from autounet.augmentation.patches import Augmentation
from autounet.training.sampling import cut_box

# (name, batch size, patch size)
SIZES = (
    ("3D, Hippocampus", 8, (40, 56, 40)),
    ("3D, Hippocampus, half the slices", 2, (32, 48, 32)),
    ("2D", 2, (256, 256)),
    ("2D", 12, (256, 256)),
)


def milliseconds(make: Callable[[int], Any], num_batches: int, synchronize: Callable[[], None]) -> tuple[float, float]:
    """Mean and greatest time of a batch."""
    make(0)
    synchronize()
    taken = []
    for step in range(1, num_batches + 1):
        started = time.perf_counter()
        make(step)
        synchronize()
        taken.append(1000 * (time.perf_counter() - started))
    return float(np.mean(taken)), max(taken)


def batch_maker(name: str, batch_size: int, patch: tuple[int, ...], on: torch.device | None) -> Callable[[int], Any]:
    """Cuts and changes the batch of a step; with NumPy where no device is given."""
    augmentation = Augmentation.of(POLICIES[name], patch)
    case = [2 * edge for edge in patch]
    generator = np.random.default_rng(0)
    image = generator.normal(size=(1, *case)).astype(np.float16)
    label = generator.integers(0, 3, (1, *case)).astype(np.int8)

    def make(step: int) -> Any:
        pending = augmentation.draw(np.random.default_rng((0, step)), batch_size, 1)
        size = pending.spatial.region_size
        starts = [start + np.array(patch) // 2 for start in pending.spatial.region_start]
        images = np.stack([cut_box(image, start, size, 0) for start in starts]).astype(np.float32)
        labels = np.stack([cut_box(label, start, size, -1) for start in starts]).astype(np.int16)
        if on is None:
            return workers.apply(pending, images, labels)
        return device.apply(pending, torch.from_numpy(images).to(on), torch.from_numpy(labels).to(on))

    return make


def nnunet_maker(batch_size: int, patch: tuple[int, ...]) -> Callable[[int], Any] | None:
    """The same with nnU-Net's own transforms, if they are installed."""
    try:
        module = importlib.import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")
    except ImportError:
        return None
    initial = Augmentation.of(POLICIES["nnunet"], patch).initial_patch_size
    angle = np.pi if len(patch) == 2 else np.deg2rad(30)
    transforms = module.nnUNetTrainer.get_training_transforms(
        patch, (-angle, angle), None, tuple(range(len(patch))), False, use_mask_for_norm=[False]
    )
    generator = np.random.default_rng(0)
    image = torch.from_numpy(generator.normal(size=(1, *initial)).astype(np.float32))
    label = torch.from_numpy(generator.integers(0, 3, (1, *initial)).astype(np.int16))

    def make(step: int) -> Any:
        return [transforms(image=image.clone(), segmentation=label.clone()) for _ in range(batch_size)]

    return make


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    on = torch.device(arguments.device)
    wait = torch.cuda.synchronize if on.type == "cuda" else lambda: None
    print(f"{on.type}, {arguments.threads} threads; mean (greatest) of {arguments.batches} batches, ms")
    print("| batch | policy | workers, NumPy, one thread | device, torch |")
    print("|---|---|---|---|")
    for title, batch_size, patch in SIZES:
        shown = f"{title} {batch_size} x {'x'.join(map(str, patch))}"
        for name in sorted(POLICIES):
            cells = []
            for place in (None, on):
                mean, greatest = milliseconds(batch_maker(name, batch_size, patch, place), arguments.batches, wait)
                cells.append(f"{mean:.1f} ({greatest:.1f})")
            print(f"| {shown} | {name} | {' | '.join(cells)} |", flush=True)
        theirs = nnunet_maker(batch_size, patch)
        if theirs is not None:
            mean, greatest = milliseconds(theirs, arguments.batches, lambda: None)
            print(f"| {shown} | nnU-Net 2's own | {mean:.1f} ({greatest:.1f}) | |", flush=True)


if __name__ == "__main__":
    main()
