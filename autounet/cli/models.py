"""Verbs on trained models: `import_nnunet`, and `autounet model` with `info`, `test`, `pack` and `unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autounet.cli.app import app
from autounet.cli.common import DeviceOption, JobsOption, WorkspaceOption, chosen_workspace, console_reporter

model_app = typer.Typer(
    name="model",
    help="Look at a trained model, test it, and hand it on as one file.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelArgument = Annotated[Path, typer.Argument(help="A model folder, with fold_0 and so on.")]


@app.command("import_nnunet")
def import_nnunet(
    folder: Annotated[
        Path | None, typer.Argument(help="nnU-Net's folder TRAINER__PLANS__CONFIGURATION.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The model folder to make.", show_default=False)
    ] = None,
    folds: Annotated[
        list[str] | None, typer.Option("-f", "--fold", help="Which folds; several may follow.", show_default="all")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Which checkpoint of a fold.")] = "checkpoint_final.pth",
    plans: Annotated[
        Path | None,
        typer.Option(help="Instead of a folder: nnU-Net's plans.json alone, to train by.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="With --plans: the raw dataset.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="With --plans: what the plan is to be called.")] = "nnunet-like",
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take over a trained model of nnU-Net v2, to predict with it; or its plan alone, to train by it."""
    from autounet import pipeline
    from autounet.errors import RequestError

    reporter = console_reporter()
    if plans is not None:
        if folder is not None or output is not None or dataset is None:
            raise RequestError(
                "--plans goes with -d DATASET, and without a folder and -o: the plan goes into preprocessed/"
            )
        planned = pipeline.import_plan(
            chosen_workspace(workspace), dataset, plans, name=name, jobs=jobs, reporter=reporter
        )
        reporter.say(f"plan: {planned.path}, configurations {', '.join(planned.plan.configurations)}")
        reporter.say(f"Next: autounet preprocess {dataset} --planner {name}")
        return
    if folder is None or output is None:
        raise RequestError("give nnU-Net's folder and -o MODEL, or --plans PLANS.json and -d DATASET")
    imported = pipeline.import_nnunet(folder, output, folds=folds or (), checkpoint=checkpoint, reporter=reporter)
    reporter.say(f"{len(imported.records)} folds imported to {imported.model}, each with a self-test")
    reporter.say(f"Next: autounet predict -i IMAGES -o MASKS --model {imported.model}")


@model_app.command("info")
def info(model: ModelArgument) -> None:
    """What a model is: data, network, folds, scores, versions. Its files are checked."""
    from autounet import pipeline
    from autounet.console import model_table

    console = console_reporter().console
    shown: pipeline.ModelInfo | None = pipeline.model_info(model)
    while shown is not None:
        console.print(model_table(shown))
        shown = shown.previous_stage


@model_app.command("test")
def test(model: ModelArgument, device: DeviceOption = "auto") -> None:
    """Whether a model computes here what it did where it was stored; exit 1 if not."""
    from autounet import pipeline
    from autounet.errors import RunError

    reporter = console_reporter()
    results = pipeline.self_test_model(model, device=device)
    for fold, result in results.items():
        reporter.say(f"fold {fold} {result.sentence}")
    failed = [fold for fold, result in results.items() if not result.agrees]
    if failed:
        raise RunError(
            f"{model} does not compute what it did when it was stored (fold {', '.join(failed)}). Try another "
            "version of PyTorch (autounet model info tells which it was), or another device: --device cpu"
        )


@model_app.command("pack")
def pack(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The zip file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a model into one file to hand on."""
    from autounet import pipeline

    size = pipeline.pack(model, output, overwrite=overwrite)
    reporter = console_reporter()
    reporter.say(f"{output}: {size / 2**20:.1f} MiB")
    reporter.say(f"There: autounet model unpack {output.name} -o MODEL")


@model_app.command("unpack")
def unpack(
    archive: Annotated[Path, typer.Argument(help="The zip file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model folder to make.")],
    max_gib: Annotated[float, typer.Option(min=0.001, help="What it may take on disk.")] = 32.0,
) -> None:
    """Make a model folder of a file that somebody handed on; it is checked before it appears."""
    from autounet import pipeline

    folds = pipeline.unpack(archive, output, max_gib=max_gib)
    reporter = console_reporter()
    reporter.say(f"{len(folds)} folds in {output}; sizes and checksums agree")
    reporter.say(f"Next: autounet model test {output}")
