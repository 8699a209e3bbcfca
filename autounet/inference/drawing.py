"""New images drawn for given label maps, by a network that was trained to take noise off images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autounet.data.io import Image
from autounet.diffusion.condition import masks_of
from autounet.diffusion.process import ddim_step, estimate, guided, within
from autounet.diffusion.schedule import ddim_times
from autounet.errors import RequestError
from autounet.geometry import Array, Box, Geometry
from autounet.inference.predictor import Predictor, prediction_precision
from autounet.inference.raw_frame import RawFrame
from autounet.inference.sliding_window import SlidingWindow
from autounet.models.folder import ModelRecord, fold_folder, load_network, trained_folds
from autounet.networks.base import SegmentationNetwork
from autounet.preprocessing.case import CaseProperties, prepare_case
from autounet.training.diffusion import Denoiser
from autounet.training.precision import Precision
from autounet.workspace import dataset_number

# Neighbouring tiles overlap by this share where an image is larger than the patch.
_OVERLAP = 0.25


@dataclass(frozen=True)
class DrawOptions:
    """How images are drawn.

    Attributes:
        steps: Times that noise is taken off.
        guidance: How much more than the condition alone asks for; 1 for that, 0 to ignore it.
        eta: Share of the noise that a step draws anew: 0 as in DDIM, 1 as in DDPM.
        seed: Of all that is drawn at random.
    """

    steps: int = 50
    guidance: float = 2.0
    eta: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges; the steps are checked against the model's.

        Raises:
            RequestError: A value is out of range.
        """
        if self.guidance < 0:
            raise RequestError(f"--guidance {self.guidance:g}: give 0 or more; 1 draws by the label map, 2 more so")
        if not 0 <= self.eta <= 1:
            raise RequestError(f"--eta {self.eta:g}: give 0 to 1")


@dataclass(frozen=True)
class Drawer:
    """A network that draws images.

    Attributes:
        record: Of its training.
        network: On its device.
        window: How it is moved over images that are larger than its patch.
        precision: What it computes in.
    """

    record: ModelRecord
    network: SegmentationNetwork
    window: SlidingWindow
    precision: Precision

    @classmethod
    def load(cls, model: Path, fold: str | None, device: torch.device) -> Drawer:
        """Load a fold of a model folder, the first if none is named.

        Raises:
            RequestError: There is none, it is damaged, or it segments.
        """
        folds = trained_folds(model)
        name = next(iter(folds)) if fold is None else fold
        if name not in folds:
            raise RequestError(f"{model} has no finished fold {name}; finished: {', '.join(folds)}")
        record = folds[name]
        if record.diffusion is None:
            raise RequestError(
                f"{model} segments images and draws none. Train one that does: "
                f"autounet train {dataset_number(record.plan.dataset_name)} {record.configuration.name} 0 "
                "--network diffusion_unet"
            )
        network = load_network(fold_folder(model, record.fold), record, device)
        precision = prediction_precision(device)
        predictor = Predictor.of(record, (network,), device=device, precision=precision, mirror=False)
        predictor.lay_out()
        # Noise varies everywhere, so that no tile could be skipped; tiles are told apart by their masks too.
        window = replace(predictor.window, step=1 - _OVERLAP, skip=False, mirror_axes=())
        return cls(record, network, window, precision)

    def draw(
        self,
        label: Array,
        geometry: Geometry,
        options: DrawOptions,
        name: str = "",
        tell: Callable[[], None] = lambda: None,
    ) -> Image:
        """Draw an image for a label map.

        Args:
            label: `(Z, Y, X)`, values of the dataset.
            geometry: Where it lies.
            options: How to draw.
            name: Of the image: another one is drawn from other noise.
            tell: Called after every step.

        Returns:
            The image `(C, Z, Y, X)` where the label map lies, in the range of the dataset's intensities.

        Raises:
            RequestError: A label value is none of the dataset's, or there are not so many steps.
        """
        self._require_known(label)
        plan, intensities = self.record.plan, self.record.intensities
        assert intensities is not None
        # Ones, so that nothing is cropped: where the body ends is for the network to say.
        blank = Image(np.ones((len(plan.channels), *label.shape), dtype=np.float32), geometry)
        prepared = prepare_case(blank, label, plan, self.record.configuration)
        assert prepared.label is not None
        generator = torch.Generator().manual_seed(_seed(options.seed, name))
        case = int(torch.randint(len(intensities.cases), (1,), generator=generator))
        device = next(self.network.parameters()).device
        masks = masks_of(torch.from_numpy(prepared.label)[None].to(device), plan.labels)
        drawn = self._drawn(masks, options, generator, tell)[0].cpu().numpy()
        raw = intensities.raw(_in_raw_frame(drawn, prepared.properties, self.record), case)
        return Image(np.ascontiguousarray(raw), geometry)

    @torch.inference_mode()
    def _drawn(
        self, masks: Tensor, options: DrawOptions, generator: torch.Generator, tell: Callable[[], None]
    ) -> Tensor:
        """Images `(1, C, Z, Y, X)` of the network's range for masks `(1, M, Z, Y, X)`."""
        diffusion, intensities = self.record.diffusion, self.record.intensities
        assert diffusion is not None and intensities is not None
        schedule, shape = diffusion.noise_schedule, (1, len(self.record.plan.channels), *masks.shape[2:])
        shares = schedule.alpha_bars.to(torch.float32).to(masks.device)
        image = torch.randn(shape, generator=generator).to(masks.device)
        low, high = intensities.bounds(image)
        times = ddim_times(options.steps, schedule.num_times)
        for time, after in zip(times, (*times[1:], 0), strict=True):
            share, next_share = shares[time], shares[after]
            predicted = self._predicted(image, masks, time, options.guidance)
            found = within(estimate(predicted, image, share, diffusion.prediction), image, share, low, high)
            fresh = torch.randn(shape, generator=generator).to(image.device) if options.eta else None
            image = ddim_step(found, share, next_share, options.eta, fresh)
            tell()
        return image.clamp(low, high)

    def _predicted(self, image: Tensor, masks: Tensor, time: int, guidance: float) -> Tensor:
        """What the network predicts of the whole image, tile by tile."""
        guide = _AtTime(Denoiser(self.network, self.precision), image.shape[1], time, guidance)
        return self.window.logits([guide], torch.cat([image, masks], dim=1)[0])[None]  # type: ignore[list-item]

    def _require_known(self, label: Array) -> None:
        labels = self.record.plan.labels
        unknown = sorted(set(np.unique(label).tolist()) - set(labels.declared_values))
        if unknown:
            raise RequestError(
                f"label values {unknown} are none of the model's: {list(labels.declared_values)}. Renumber the labels."
            )


class _AtTime(nn.Module):
    """A denoiser at one time and with guidance, as a network of one output: image and masks in, prediction out."""

    def __init__(self, denoiser: Denoiser, num_channels: int, time: int, guidance: float) -> None:
        super().__init__()
        self._denoiser = denoiser
        self._num_channels, self._time, self._guidance = num_channels, time, guidance

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C + M, *spatial)` to `(B, C, *spatial)`."""
        image, masks = x[:, : self._num_channels], x[:, self._num_channels :]
        conditioned = self._at_time(image, masks) if self._guidance else None
        without = self._at_time(image, torch.zeros_like(masks)) if self._guidance != 1 else None
        if conditioned is None or without is None:
            (only,) = (entry for entry in (conditioned, without) if entry is not None)
            return [only]
        return [guided(without, conditioned, self._guidance)]

    def _at_time(self, image: Tensor, masks: Tensor) -> Tensor:
        times = torch.full((len(image),), self._time, device=image.device)
        return self._denoiser(image, times, masks)


def _in_raw_frame(
    drawn: npt.NDArray[np.float32], properties: CaseProperties, record: ModelRecord
) -> npt.NDArray[np.float32]:
    """A prepared image `(C, Z, Y, X)` on the grid of the raw one."""
    frame = RawFrame.of(drawn, properties, record.plan)
    whole = Box(start=(0, 0, 0), stop=frame.crop.shape)
    return frame.interpolated(frame.samples(whole), whole)


def _seed(seed: int, name: str) -> int:
    return int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1)[0])
