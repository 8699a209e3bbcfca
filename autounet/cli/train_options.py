"""The flags of `autounet train` that are fields of `TrainConfig`; their parameters bear the fields' names.

A flag that is not given is `None`: then the recipe, or the file given by `--config`, decides.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

_BY_RECIPE = "by recipe"


def _choice(*names: str, help: str, default: str = _BY_RECIPE, min: int | None = None) -> Any:
    return typer.Option(*names, help=help, show_default=default, min=min, rich_help_panel="How to train")


# How long; these stand with the command's own options.
MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time",
        help="Time for the whole command, for example 30m or 2h; the schedule is laid over it.",
        show_default="the plan's, if it was made for a time",
    ),
]
NumEpochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Length of the run.", show_default="1000")]
NumSteps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Length of the run, instead of epochs.", show_default=False)
]

Optimizer = Annotated[str | None, _choice("--optimizer", help="sgd, adamw or muon.")]
LearningRate = Annotated[float | None, _choice("--learning-rate", help="At its peak.")]
Momentum = Annotated[float | None, _choice("--momentum", help="Of SGD and Muon.")]
WeightDecay = Annotated[float | None, _choice("--weight-decay", help="On all parameters.")]
Schedule = Annotated[str | None, _choice("--schedule", help="poly, cosine, or constant with a cool-down.")]
Warmup = Annotated[float | None, _choice("--warmup", help="Share of the run over which the rate rises.")]
Cooldown = Annotated[
    float | None, _choice("--cooldown", help="Share over which a constant rate falls at the end.", default="0.3")
]
GradientClip = Annotated[float | None, _choice("--gradient-clip", help="Largest norm of the gradient.", default="12")]
EmaShare = Annotated[float | None, _choice("--ema-share", help="Average weights over this share of the run; 0: no.")]
Growth = Annotated[
    str | None, _choice("--growth", help="Smaller patches first: END:FACTOR,..., as 0.5:0.5,0.75:0.75, or none.")
]
GrowthBatch = Annotated[float | None, _choice("--growth-batch", help="1 keeps a step's voxels while patches grow.")]
ForegroundShare = Annotated[float | None, _choice("--foreground-share", help="Patches centred on foreground.")]
AugmentationName = Annotated[
    str | None,
    _choice("--augmentation", help="Changes: nnunet, da5, light, unet2015, unet3d2016, mirror, none."),
]
AugmentationBackend = Annotated[
    str | None, _choice("--augmentation-backend", help="What makes them: workers or device.", default="auto")
]
Laterality = Annotated[
    str | None,
    _choice("--laterality", help="Mirrors of left and right classes: swap labels, no_flip, ignore.", default="swap"),
]
Objective = Annotated[
    str | None,
    _choice(
        "--objective",
        help="segmentation, or diffusion,key=value,... (docs/how-to/draw-images.md).",
        default="network's",
    ),
]
Loss = Annotated[
    str | None,
    _choice("--loss", help="Loss, or NAME,key=value,... (docs/reference/losses.md).", default="dice_ce"),
]
DeepSupervision = Annotated[
    bool | None,
    _choice("--deep-supervision/--no-deep-supervision", help="Train coarser outputs too.", default="yes"),
]
Precision = Annotated[str | None, _choice("--precision", help="auto, float32, bfloat16 or float16.", default="auto")]
Compile = Annotated[bool | None, _choice("--compile/--no-compile", help="Use torch.compile.", default="no")]
Seed = Annotated[
    int | None, _choice("--seed", help="Of initialisation, sampling and augmentation.", default="0", min=0)
]
StepsPerEpoch = Annotated[
    int | None, _choice("--steps-per-epoch", help="Steps between validations.", default="250", min=1)
]
Patience = Annotated[
    int | None, _choice("--patience", help="End after so many validations without a better.", default="never", min=1)
]
CheckpointSeconds = Annotated[
    float | None, _choice("--checkpoint-seconds", help="Time between two checkpoints.", default="60")
]
