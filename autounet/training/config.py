"""Every choice of a training run as one record, checked whole before anything starts."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from autounet.augmentation.backends import BackendChoice
from autounet.laterality import LateralityMode
from autounet.records import Record

OptimizerName = Literal["sgd", "adamw", "muon"]
ScheduleName = Literal["poly", "cosine", "constant"]
RecipeName = Literal["nnunet", "clock", "paper"]
RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)
FormatName = Literal["float32", "bfloat16", "float16"]
PrecisionName = Literal["auto", FormatName]


# nnU-Net: the last third of a batch is centred on foreground.
FOREGROUND_SHARE = 0.33


class TrainConfig(Record):
    """How to train. The defaults are nnU-Net's recipe; `for_clock` is the one for a given time.

    Attributes:
        num_epochs: Length of the run, where neither steps nor a time are given.
        steps_per_epoch: Steps between two validations, where no time is given.
        num_steps: Length of the run in steps, instead of epochs.
        max_seconds: Length of the whole command; the schedule is laid over the time that is left for training.
        patience: End the run after so many validations without a better score; `None` never does.
        optimizer: `sgd` is SGD with Nesterov momentum; `muon` orthogonalises the updates of convolutions.
        learning_rate: At its peak.
        momentum: Of SGD and Muon.
        weight_decay: On all parameters.
        schedule: How the learning rate falls to zero: along a cosine, nnU-Net's polynomial, or `constant` with a
            linear cool-down at the end.
        warmup: Share of the run over which the learning rate rises.
        cooldown: Share of the run over which a constant learning rate falls at its end.
        gradient_clip: Largest norm of the gradient.
        ema_share: Weights are averaged over about this share of the run; 0 for no averaging.
        growth: Patch sizes to begin with: pairs of (share of the run at which the stage ends, factor on the patch).
        growth_batch: By how much a smaller patch makes up in batch size: 1 keeps the voxels of a step.
        foreground_share: Patches of a batch that are centred on foreground.
        augmentation: Name of the policy.
        augmentation_backend: What carries it out: `workers` (NumPy, beside the training) or the training `device`
            (torch); `auto` takes what keeps the bottleneck free.
        laterality: What mirrors do to left and right classes: `swap` their labels along the left-right axis (where the
            plan confirms them, else as `no_flip`), `no_flip` that axis, or `ignore` it as nnU-Net does.
        objective: What for: `segmentation`, `diffusion` (`NAME` or `NAME,key=value,...`), or `auto`, the network's own.
        loss: Of segmentation, as `NAME` or `NAME,key=value,...`.
        deep_supervision: Whether the coarser outputs are trained too.
        precision: `auto` measures what the device is fast at.
        compile: Compile the network with `torch.compile`; needs a C++ compiler, and pays on long runs.
        seed: Of initialisation, sampling and augmentation.
        checkpoint_seconds: Time between two checkpoints.
    """

    num_epochs: int = Field(1000, ge=1)
    steps_per_epoch: int = Field(250, ge=1)
    num_steps: int | None = Field(None, ge=1)
    max_seconds: float | None = Field(None, gt=0)
    patience: int | None = Field(None, ge=1)
    optimizer: OptimizerName = "sgd"
    learning_rate: float = Field(0.01, gt=0)
    momentum: float = Field(0.99, ge=0, lt=1)
    weight_decay: float = Field(3e-5, ge=0)
    schedule: ScheduleName = "poly"
    warmup: float = Field(0.0, ge=0, lt=1)
    cooldown: float = Field(0.3, gt=0, le=1)
    gradient_clip: float = Field(12.0, gt=0)
    ema_share: float = Field(0.0, ge=0, lt=1)
    growth: tuple[tuple[float, float], ...] = ()
    growth_batch: float = Field(0.0, ge=0)
    foreground_share: float = Field(FOREGROUND_SHARE, ge=0, le=1)
    augmentation: str = "nnunet"
    augmentation_backend: BackendChoice = "auto"
    laterality: LateralityMode = "swap"
    objective: str = "auto"
    loss: str = "dice_ce"
    deep_supervision: bool = True
    precision: PrecisionName = "auto"
    compile: bool = False
    seed: int = Field(0, ge=0)
    checkpoint_seconds: float = Field(60.0, gt=0)

    @property
    def total_steps(self) -> int:
        """Length of the run in steps, where no time is given."""
        return self.num_steps or self.num_epochs * self.steps_per_epoch

    @classmethod
    def recipe(cls, name: RecipeName, max_seconds: float | None = None) -> TrainConfig:
        """The named set of choices that others are laid over; those of a network's paper come over nnU-Net's."""
        return cls.for_clock(max_seconds) if name == "clock" else cls(max_seconds=max_seconds)

    @classmethod
    def for_clock(cls, max_seconds: float | None) -> TrainConfig:
        """The recipe for a given time; docs/log.md has the trials behind it."""
        return cls(
            max_seconds=max_seconds,
            optimizer="muon",
            learning_rate=4e-3,
            momentum=0.95,
            weight_decay=1e-2,
            schedule="cosine",
            warmup=0.05,
            ema_share=0.02,
            growth=((0.5, 0.5), (0.75, 0.75)),
            growth_batch=0.5,
            foreground_share=0.5,
            augmentation="light",
        )

    @model_validator(mode="after")
    def _lengths_agree(self) -> TrainConfig:
        if self.num_steps is not None and self.max_seconds is not None:
            raise ValueError(
                f"num_steps {self.num_steps} and max_seconds {self.max_seconds:g} both tell how long to train: give one"
            )
        if self.schedule == "constant" and self.warmup + self.cooldown > 1:
            raise ValueError(
                f"warmup {self.warmup:g} and cooldown {self.cooldown:g} are shares of the run and must add up to at "
                "most 1: shorten one"
            )
        return self

    @model_validator(mode="after")
    def _growth_ascends(self) -> TrainConfig:
        ends = [end for end, _ in self.growth]
        if ends != sorted(ends) or any(not 0 < end < 1 for end in ends):
            raise ValueError(f"growth must list stages by their end, between 0 and 1, got {self.growth}")
        if any(not 0 < factor <= 1 for _, factor in self.growth):
            raise ValueError(f"growth factors must lie in (0, 1], got {self.growth}")
        if self.growth_batch and not self.growth:
            raise ValueError(
                f"growth_batch {self.growth_batch:g} is for patches that grow: give growth too, for example 0.5:0.5"
            )
        return self
