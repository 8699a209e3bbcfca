"""Export of the logits of many classes: time and memory, beside nnU-Net's own function.

    python tests/benchmarks/export.py [--classes 105] [--shape 128 160 160] [--raw 256 512 512] [--smooth]
    python tests/benchmarks/export.py --nnunet PYTHON     # the same by nnU-Net, installed for that interpreter

Every measurement runs in a process of its own, whose peak memory above the input is told. Logits are float16, as
nnU-Net's window gives them. `--smooth` makes them like a network's, far apart; without it they are noise: the worst
case.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

_GIB_IN_KIB = 2**20


def make_logits(classes: int, shape: tuple[int, ...], *, smooth: bool) -> Any:
    """Logits `(K, Z, Y, X)`, float16, the same in every process."""
    generator = np.random.default_rng(0)
    logits = np.empty((classes, *shape), dtype=np.float16)
    grid = [np.linspace(0, 1, size, dtype=np.float32) for size in shape]
    for channel in logits:
        if not smooth:
            channel[...] = generator.standard_normal(shape, dtype=np.float32)
            continue
        z, y, x = ((axis - centre) ** 2 for axis, centre in zip(grid, generator.random(3), strict=True))
        channel[...] = 10 - 200 * (z[:, None, None] + y[:, None] + x)
    return logits


def peak_gib() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _GIB_IN_KIB


def export_here(logits: Any, raw: tuple[int, int, int]) -> Any:
    """The mask by autounet."""
    from autounet.geometry import Box
    from autounet.inference.export import export_label
    from autounet.labels import LabelClass, LabelSchema
    from autounet.preprocessing.case import CaseProperties

    shape = logits.shape[1:]
    classes = tuple(LabelClass(name=str(value), values=(value,)) for value in range(1, len(logits)))
    # Of a plan, export reads labels and axis order alone.
    plan: Any = SimpleNamespace(labels=LabelSchema(classes=classes), transpose_backward=(0, 1, 2))
    target = tuple(new / old for new, old in zip(raw, shape, strict=True))
    properties = CaseProperties(
        spacing_mm=(1, 1, 1),
        target_spacing_mm=(target[0], target[1], target[2]),
        shape_before_crop=raw,
        crop=Box.whole(raw),
        shape=shape,
    )
    return export_label(logits, properties, plan)


def export_nnunet(logits: Any, raw: tuple[int, int, int]) -> Any:
    """The mask by nnU-Net 2: its resampling of all classes, then the arg-max, as its export does."""
    import torch
    from nnunetv2.preprocessing.resampling.default_resampling import (  # type: ignore[import-not-found]
        resample_data_or_seg_to_shape,
    )

    target = [new / old for new, old in zip(raw, logits.shape[1:], strict=True)]
    resampled = resample_data_or_seg_to_shape(
        torch.from_numpy(logits), raw, target, [1.0, 1.0, 1.0], is_seg=False, order=1, order_z=0
    )
    return torch.as_tensor(resampled).argmax(0).numpy()


def main() -> None:
    """Measure one of the two, or start a process for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=105)
    parser.add_argument("--shape", type=int, nargs=3, default=[128, 160, 160])
    parser.add_argument("--raw", type=int, nargs=3, default=[256, 512, 512])
    parser.add_argument("--smooth", action="store_true")
    parser.add_argument("--nnunet", metavar="PYTHON", help="an interpreter that has nnunetv2")
    parser.add_argument("--by", choices=("autounet", "nnunet"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.nnunet:
        arguments = [argument for argument in sys.argv[1:] if argument not in ("--nnunet", options.nnunet)]
        subprocess.run([options.nnunet, __file__, "--by", "nnunet", *arguments], check=True)
        return
    logits = make_logits(options.classes, tuple(options.shape), smooth=options.smooth)
    before = peak_gib()
    start = time.perf_counter()
    export = export_nnunet if options.by == "nnunet" else export_here
    mask = export(logits, tuple(options.raw))
    seconds = time.perf_counter() - start
    print(
        f"{options.by or 'autounet'}: {logits.nbytes / 2**30:.2f} GiB of logits {logits.shape} to {mask.shape}: "
        f"{seconds:.1f} s, peak {peak_gib() - before:.2f} GiB above the input, {len(np.unique(mask))} values"
    )


if __name__ == "__main__":
    main()
