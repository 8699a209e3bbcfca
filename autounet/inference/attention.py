"""What a network attends to, as images that lie over the case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from autounet.data.dataset import RawCase
from autounet.data.io import Image, label_ending, read_image, write_label
from autounet.geometry import Array, Box
from autounet.inference.cascade import input_channels
from autounet.inference.predictor import Predictor
from autounet.inference.raw_frame import RawFrame
from autounet.networks.base import SegmentationNetwork
from autounet.progress import Reporter

ATTENTION_FOLDER = "attention_maps"
# What lets all pass; formats of label maps hold whole numbers only.
_FULL = 255


class _AttentionOf(SegmentationNetwork):
    """A network that tells of each gate how much it lets pass, instead of logits."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.follow(network.plan)
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to `(B, gates, *spatial)`."""
        return [self.network.attention(x)]


def write_attention(predictor: Predictor, cases: Sequence[RawCase], output: Path, reporter: Reporter) -> None:
    """Write one image a gate and case into `attention_maps/`: `CASE_gate1` and so on, the finest first, 0 to 255.

    Args:
        predictor: Of networks with gates; folds and mirrors are averaged.
        cases: Whose images to look at.
        output: Folder of the masks.
        reporter: Shows the progress.

    Raises:
        RequestError: The networks have no gates, or an image does not fit them.
    """
    # A mirror of the image exchanges no gates, as it does left and right classes.
    window = replace(predictor.window, swap_axis=None, swapped_channels=())
    watching = replace(predictor, networks=tuple(map(_AttentionOf, predictor.networks)), window=window)
    ending = label_ending(predictor.plan.file_ending)
    for case in reporter.track(cases, "attention maps", len(cases)):
        image = read_image(case.images, len(predictor.plan.channels))
        for number, gate in enumerate(_raw_maps(watching, image), start=1):
            path = output / ATTENTION_FOLDER / f"{case.name}_gate{number}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label(path, np.rint(gate * _FULL).astype(np.uint8), image.geometry)


def _raw_maps(predictor: Predictor, image: Image) -> Array:
    """`(gates, Z, Y, X)` in the frame of the image, 0 to 1; 0 outside what was looked at."""
    prepared = predictor.prepare(image)
    maps = predictor.logits(input_channels(prepared, predictor.plan))
    frame = RawFrame.of(maps, prepared.properties, predictor.plan)
    whole = Box(start=(0, 0, 0), stop=frame.crop.shape)
    raw = np.zeros((len(maps), *frame.shape), dtype=np.float32)
    raw[(slice(None), *frame.crop.slices)] = frame.interpolated(frame.samples(whole), whole)
    return raw
