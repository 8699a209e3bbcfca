"""The flags of `autounet train` that are fields of `TrainConfig`; their parameters bear the fields' names.

A flag that is not given is `None`: then the recipe, or the file given by `--config`, decides.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer


def _by_recipe(name: str, *, help: str) -> Any:
    return typer.Option(name, help=help, show_default="by recipe")


NumEpochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Length of the run.", show_default="1000")]
StepsPerEpoch = Annotated[
    int | None, typer.Option("--steps-per-epoch", min=1, help="Steps between validations.", show_default="250")
]
NumSteps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Length of the run, instead of epochs.", show_default=False)
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time",
        help="Time for the whole command, for example 30m or 2h; the schedule is laid over it.",
        show_default="the plan's, if it was made for a time",
    ),
]
Patience = Annotated[
    int | None,
    typer.Option("--patience", min=1, help="End after so many validations without a better one.", show_default="never"),
]
Optimizer = Annotated[str | None, _by_recipe("--optimizer", help="sgd, adamw or muon.")]
LearningRate = Annotated[float | None, _by_recipe("--learning-rate", help="At its peak.")]
Momentum = Annotated[float | None, _by_recipe("--momentum", help="Of SGD and Muon.")]
WeightDecay = Annotated[float | None, _by_recipe("--weight-decay", help="On all parameters.")]
Schedule = Annotated[str | None, _by_recipe("--schedule", help="poly, cosine, or constant with a cool-down.")]
Warmup = Annotated[float | None, _by_recipe("--warmup", help="Share of the run over which the rate rises.")]
Cooldown = Annotated[float | None, _by_recipe("--cooldown", help="Share over which a constant rate falls at the end.")]
GradientClip = Annotated[float | None, _by_recipe("--gradient-clip", help="Largest norm of the gradient.")]
EmaShare = Annotated[float | None, _by_recipe("--ema-share", help="Average weights over this share of the run; 0: no.")]
Growth = Annotated[
    str | None,
    _by_recipe("--growth", help="Smaller patches first: END:FACTOR,..., as 0.5:0.5,0.75:0.75, or none."),
]
GrowthBatch = Annotated[float | None, _by_recipe("--growth-batch", help="1 keeps a step's voxels while patches grow.")]
ForegroundShare = Annotated[
    float | None, _by_recipe("--foreground-share", help="Patches of a batch centred on foreground.")
]
AugmentationName = Annotated[
    str | None, _by_recipe("--augmentation", help="Random changes: nnunet, da5, light, unet2015 or none.")
]
AugmentationBackend = Annotated[
    str | None,
    typer.Option(
        "--augmentation-backend", help="Where they are made: auto, workers (NumPy) or device.", show_default="auto"
    ),
]
Laterality = Annotated[
    str | None,
    typer.Option(
        "--laterality",
        help="Mirrors and left and right classes: swap their labels, no_flip, or ignore.",
        show_default="swap",
    ),
]
Loss = Annotated[
    str | None,
    typer.Option("--loss", help="Loss, or NAME,key=value,... (docs/reference/losses.md).", show_default="dice_ce"),
]
DeepSupervision = Annotated[
    bool | None,
    typer.Option("--deep-supervision/--no-deep-supervision", help="Train coarser outputs too.", show_default="yes"),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="auto, float32, bfloat16 or float16.", show_default="auto"),
]
Compile = Annotated[bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile.", show_default="no")]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Of initialisation, sampling, augmentation.", show_default="0")
]
CheckpointSeconds = Annotated[
    float | None, typer.Option("--checkpoint-seconds", help="Time between checkpoints.", show_default="60")
]
