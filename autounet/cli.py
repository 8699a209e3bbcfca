"""The command line: parses, calls the pipeline, prints. The only place that reads arguments or the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from autounet.errors import AutounetError, DataError, RequestError

if TYPE_CHECKING:
    from autounet.console import ConsoleReporter
    from autounet.models.folder import FoldName
    from autounet.training.config import TrainConfig
    from autounet.workspace import Workspace

app = typer.Typer(
    name="autounet",
    help="Self-configuring segmentation around the U-Net.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Options that may be followed by several values, by verb.
_LIST_OPTIONS = {
    "plan_and_preprocess": {"-d", "--dataset", "-c", "--configuration"},
    "predict": {"-f", "--fold"},
}

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="Folder with raw/, preprocessed/ and results/.", show_default=False),
]
JobsOption = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes.", show_default="all cores")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
PlannerOption = Annotated[str, typer.Option("--planner", help="Whose rules to plan by.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        from autounet import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command("plan_and_preprocess")
def plan_and_preprocess(
    dataset: Annotated[
        list[str], typer.Option("-d", "--dataset", help="4, 004 or Dataset004_Name; several may follow.")
    ],
    configuration: Annotated[
        list[str] | None,
        typer.Option("-c", "--configuration", help="2d, 3d_fullres; several may follow.", show_default="all"),
    ] = None,
    planner: PlannerOption = "nnunet",
    memory_gib: Annotated[float, typer.Option(min=0.1, help="GPU memory to plan for.")] = 8.0,
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Check a dataset, measure it, plan for it, and prepare its cases."""
    from autounet import pipeline
    from autounet.console import plan_table

    reporter = _reporter()
    for name in dataset:
        planned = pipeline.plan_and_preprocess(
            _workspace(workspace),
            name,
            configurations=configuration,
            planner=planner,
            memory_gib=memory_gib,
            jobs=jobs,
            reporter=reporter,
        )
        reporter.console.print(plan_table(planned.plan))
        for chosen, count in planned.counts.items():
            reporter.say(f"{chosen}: {count.prepared} cases prepared, {count.ready} were ready")
        reporter.say(f"Every value and its reason: {planned.folder / f'plan_{planner}.json'}")
        number = int(planned.plan.dataset_name[7:10])
        last = list(planned.counts)[-1]
        reporter.say(f"Next: autounet train {number} {last} 0 --max-time 10m")


@app.command("train")
def train(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: Annotated[str, typer.Argument(help="2d or 3d_fullres.")],
    fold: Annotated[str, typer.Argument(help="0 to 4, or all.")],
    max_time: Annotated[
        str | None,
        typer.Option(help="Time for the whole command, for example 30m or 2h; the schedule is laid over it."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of 250 steps.", show_default="1000")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initialisation, sampling and augmentation.")] = 0,
    network: Annotated[str | None, typer.Option(help="Architecture.", show_default="the plan's")] = None,
    loss: Annotated[str, typer.Option(help="Loss.")] = "dice_ce",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    planner: PlannerOption = "nnunet",
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train anew over what is there.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Train a configuration on one fold, and score it on the fold's validation cases."""
    from autounet import pipeline
    from autounet.console import scores_table

    config = _train_config(max_time, epochs, {"seed": seed, "loss": loss, "precision": precision})
    reporter = _reporter()
    try:
        trained = pipeline.train(
            _workspace(workspace),
            dataset,
            configuration,
            _fold(fold),
            config=config,
            planner=planner,
            network=network,
            device=device,
            resume=resume,
            overwrite=overwrite,
            reporter=reporter,
        )
    finally:
        reporter.clear()
    reporter.console.print(scores_table(trained.summary, f"Validation, {trained.summary.num_cases} whole cases"))
    reporter.say(f"Model: {trained.fold}")
    reporter.say(f"Masks and scores: {trained.fold / 'validation'}")
    reporter.say("Next: autounet predict -i IMAGES -o MASKS")


@app.command("predict")
def predict(
    images: Annotated[Path, typer.Option("-i", "--input", help="Folder of images, named as in imagesTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the masks.")],
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Whose model.", show_default="the only one")
    ] = None,
    configuration: Annotated[
        str | None, typer.Option("-c", "--configuration", help="Which of its models.", show_default="the only one")
    ] = None,
    folds: Annotated[
        list[str] | None,
        typer.Option("-f", "--fold", help="Folds to average; several may follow.", show_default="all finished"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A model folder, instead of -d and -c.", show_default=False)
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Average over mirror images; slower, a little better.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
) -> None:
    """Predict the masks of a folder of images. Finished cases are skipped."""
    from autounet import pipeline

    reporter = _reporter()
    predicted = pipeline.predict(
        _workspace(workspace),
        images,
        output,
        dataset=dataset,
        configuration=configuration,
        model=model,
        folds=folds,
        mirror=mirror,
        overwrite=overwrite,
        device=device,
        reporter=reporter,
    )
    reporter.say(f"{len(predicted.written)} masks written to {output}, {len(predicted.skipped)} were there")
    reporter.say(f"Next, where references exist: autounet evaluate REFERENCES {output}")


@app.command("evaluate")
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Folder of reference label files.")],
    prediction: Annotated[Path, typer.Argument(help="Folder of predicted label files of the same names.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file.", show_default="PREDICTION/scores.json")
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Score predictions against references, per case and per class."""
    from autounet import pipeline
    from autounet.console import scores_table

    reporter = _reporter()
    summary, path = pipeline.evaluate(reference, prediction, output=output, jobs=jobs, reporter=reporter)
    reporter.console.print(scores_table(summary, f"{summary.num_cases} cases"))
    reporter.say(f"Every case and class: {path} and {path.with_suffix('.csv')}")


@app.command("demo")
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where to put everything.")] = Path("autounet_demo"),
    max_time: Annotated[str, typer.Option(help="Time for training.")] = "150s",
) -> None:
    """Generate a small dataset and run the whole pipeline on it: some minutes on a laptop."""
    from autounet import pipeline
    from autounet.console import scores_table

    reporter = _reporter()
    try:
        result = pipeline.demo(folder, max_seconds=_seconds(max_time), reporter=reporter)
    finally:
        reporter.clear()
    reporter.console.print(scores_table(result.summary, f"{result.summary.num_cases} cases that it did not train on"))
    reporter.say(f"Masks: {result.masks}")
    reporter.say(f"Pictures: {result.overlays}")
    reporter.say(f"Next, with data of your own: put DatasetXXX_Name into {Path('autounet_workspace') / 'raw'} and run")
    reporter.say("autounet plan_and_preprocess -d XXX")


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed while working, 2 the request or the data is wrong."""
    # Taken at any place: whoever meets an error adds it at the end of the line.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(_spread(arguments))
    except DataError as error:
        if debug:
            raise
        from autounet.console import problems_table

        _error_console().print(problems_table(error))
        sys.exit(error.exit_code)
    except AutounetError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail("interrupted. A training run goes on with --resume.", 130, debug)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or ''}", 1, debug)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}. This should not happen; --debug shows where it did.", 1, debug)
    sys.exit(0)


def _spread(arguments: list[str]) -> list[str]:
    """Let list options take several values, as in `-c 2d 3d_fullres`: each becomes an option of its own."""
    options = _LIST_OPTIONS.get(arguments[0] if arguments else "", set())
    spread: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in options else None
        elif option is not None and spread[-1] != option:
            spread.append(option)
        spread.append(argument)
    return spread


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise
    _error_console().print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _error_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _reporter() -> ConsoleReporter:
    from rich.console import Console

    from autounet.console import ConsoleReporter

    return ConsoleReporter(Console())


def _workspace(folder: Path | None) -> Workspace:
    """The option, else AUTOUNET_WORKSPACE, else nnU-Net's three variables, else ./autounet_workspace."""
    from autounet.workspace import Workspace

    if folder is None and "AUTOUNET_WORKSPACE" in os.environ:
        folder = Path(os.environ["AUTOUNET_WORKSPACE"])
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    if folder is None and all(name in os.environ for name in names):
        raw, preprocessed, results = (Path(os.environ[name]).absolute() for name in names)
        return Workspace(raw=raw, preprocessed=preprocessed, results=results)
    return Workspace.at(folder or Path("autounet_workspace"))


def _fold(text: str) -> FoldName:
    if text == "all":
        return "all"
    if not text.isdigit():
        raise RequestError(f"fold must be a number from 0, or 'all', got '{text}'")
    return int(text)


def _train_config(max_time: str | None, epochs: int | None, options: dict[str, Any]) -> TrainConfig:
    from pydantic import ValidationError

    from autounet.training.config import TrainConfig

    if max_time is not None and epochs is not None:
        raise RequestError("--max-time and --epochs exclude each other: give the time or the number of epochs")
    base = TrainConfig() if max_time is None else TrainConfig.for_clock(_seconds(max_time))
    if epochs is not None:
        options["num_epochs"] = epochs
    try:
        return TrainConfig.model_validate({**base.model_dump(), **options})
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise RequestError(f"{name} {first['input']}: {first['msg']}") from None


def _seconds(text: str) -> float:
    """`90s`, `10m`, `1.5h` or plain seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = (text[:-1], units[text[-1]]) if text and text[-1] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise RequestError(f"--max-time '{text}' is no time. Write for example 90s, 10m or 1.5h.")
    return seconds
