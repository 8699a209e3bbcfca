"""The command line: parses, calls the pipeline, prints. Arguments and environment are read here and in `cli_common`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from autounet.arguments import fold_name, parse_seconds, plan_request, spread, train_config
from autounet.cli_common import (
    BatchOption,
    ConfigurationsOption,
    DeviceOption,
    FeaturesOption,
    GroupByOption,
    JobsOption,
    MemoryOption,
    NetworkOption,
    PatchOption,
    PlannerOption,
    PlanTimeOption,
    SiteByOption,
    SpacingOption,
    StagesOption,
    WorkspaceOption,
)
from autounet.cli_common import chosen_workspace as _workspace
from autounet.cli_common import console_reporter as _reporter
from autounet.cli_dataset import dataset_app
from autounet.errors import AutounetError, DataError

if TYPE_CHECKING:
    from autounet.console import ConsoleReporter
    from autounet.preprocessing.dataset import PreparedCount

app = typer.Typer(
    name="autounet",
    help="Self-configuring segmentation around the U-Net.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dataset_app)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        from autounet import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command("check")
def check(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="4, 004 or Dataset004_Name.")],
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired, into a copy.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The copy.", show_default="next number")] = None,
    suspected: Annotated[
        bool, typer.Option("--suspected", help="Also swap sides and reorder channels where they look wrong.")
    ] = False,
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Read every file of a dataset, and tell all problems. Exit code 2 unless they are harmless."""
    from autounet import pipeline
    from autounet.report.doctor import show_check

    reporter, place = _reporter(), _workspace(workspace)
    done = pipeline.check(place, dataset, fix=fix, output=output, suspected=suspected, jobs=jobs, reporter=reporter)
    show_check(done, reporter.console)
    raise typer.Exit(done.exit_code)


@app.command("plan")
def plan(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: ConfigurationsOption = None,
    planner: PlannerOption = "default",
    memory_gib: MemoryOption = None,
    max_time: PlanTimeOption = None,
    network: NetworkOption = None,
    patch: PatchOption = None,
    batch_size: BatchOption = None,
    spacing: SpacingOption = None,
    features: FeaturesOption = None,
    stages: StagesOption = None,
    group_by: GroupByOption = None,
    site_by: SiteByOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print every decision with its reason.")] = False,
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Plan for a dataset, or see how and why it is planned. Sizes given are for -c, or for all that they fit."""
    from autounet import pipeline
    from autounet.data.fold_planning import SplitRequest
    from autounet.planners.request import PlanRequest
    from autounet.report.folds import tell_folds
    from autounet.report.plan import explanation, plan_table, rounded_patches, what_next

    request = plan_request(memory_gib, network, patch, batch_size, spacing, features, stages, configuration)
    reporter, place = _reporter(), _workspace(workspace)
    # To look at a plan is not to make it anew: what was overruled or edited is shown as it is.
    folds = SplitRequest(group_by=group_by, site_by=site_by)
    asks_nothing = max_time is None and request == PlanRequest() and folds == SplitRequest()
    planned = pipeline.existing_plan(place, dataset, planner=planner) if explain and asks_nothing else None
    planned = planned or pipeline.plan(
        place,
        dataset,
        planner=planner,
        request=request,
        folds=folds,
        max_seconds=None if max_time is None else parse_seconds(max_time),
        device=device,
        jobs=jobs,
        reporter=reporter,
    )
    reporter.console.print(explanation(planned.plan) if explain else plan_table(planned.plan))
    tell_folds(planned.splits, reporter.console.print)
    for line in rounded_patches(planned.plan, request):
        reporter.say(line)
    for line in what_next(planned.plan, planned.path, planned.to_prepare):
        reporter.say(line)


@app.command("plan_and_preprocess")
def plan_and_preprocess(
    dataset: Annotated[
        list[str], typer.Option("-d", "--dataset", help="4, 004 or Dataset004_Name; several may follow.")
    ],
    configuration: ConfigurationsOption = None,
    planner: PlannerOption = "default",
    memory_gib: MemoryOption = None,
    max_time: PlanTimeOption = None,
    network: NetworkOption = None,
    patch: PatchOption = None,
    batch_size: BatchOption = None,
    spacing: SpacingOption = None,
    features: FeaturesOption = None,
    stages: StagesOption = None,
    group_by: GroupByOption = None,
    site_by: SiteByOption = None,
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Check a dataset, measure it, plan for it, and prepare its cases."""
    from autounet import pipeline
    from autounet.data.fold_planning import SplitRequest
    from autounet.report.folds import tell_folds
    from autounet.report.plan import plan_table, rounded_patches, what_next

    request = plan_request(memory_gib, network, patch, batch_size, spacing, features, stages, configuration)
    reporter = _reporter()
    for name in dataset:
        done = pipeline.plan_and_preprocess(
            _workspace(workspace),
            name,
            configurations=configuration,
            planner=planner,
            request=request,
            folds=SplitRequest(group_by=group_by, site_by=site_by),
            max_seconds=None if max_time is None else parse_seconds(max_time),
            device=device,
            jobs=jobs,
            reporter=reporter,
        )
        reporter.console.print(plan_table(done.plan))
        tell_folds(done.splits, reporter.console.print)
        for line in rounded_patches(done.plan, request):
            reporter.say(line)
        _tell_prepared(reporter, done.counts)
        for line in what_next(done.plan, done.path, dict.fromkeys(done.counts, 0)):
            reporter.say(line)


@app.command("preprocess")
def preprocess(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: ConfigurationsOption = None,
    planner: PlannerOption = "default",
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Prepare the cases by the plan that is there, with your edits."""
    from autounet import pipeline
    from autounet.report.plan import what_next

    reporter = _reporter()
    done = pipeline.preprocess(
        _workspace(workspace),
        dataset,
        configurations=configuration,
        planner=planner,
        jobs=jobs,
        reporter=reporter,
    )
    _tell_prepared(reporter, done.counts)
    for line in what_next(done.plan, done.path, dict.fromkeys(done.counts, 0)):
        reporter.say(line)


@app.command("train")
def train(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: Annotated[str, typer.Argument(help="2d or 3d_fullres.")],
    fold: Annotated[str, typer.Argument(help="0 to 4, or all.")],
    max_time: Annotated[
        str | None,
        typer.Option(
            help="Time for the whole command, for example 30m or 2h; the schedule is laid over it.",
            show_default="the plan's, if it was made for a time",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of 250 steps.", show_default="1000")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initialisation, sampling and augmentation.")] = 0,
    network: NetworkOption = None,
    loss: Annotated[str, typer.Option(help="Loss.")] = "dice_ce",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    laterality: Annotated[
        str, typer.Option(help="Mirrors and left and right classes: swap their labels, no_flip, or ignore.")
    ] = "swap",
    planner: PlannerOption = "default",
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train anew over what is there.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Train a configuration on one fold, and score it on the fold's validation cases."""
    from autounet import pipeline
    from autounet.console import scores_table

    options = {"seed": seed, "loss": loss, "precision": precision, "laterality": laterality}
    planned = pipeline.planned_seconds(_workspace(workspace), dataset, configuration, planner)
    config = train_config(max_time, epochs, planned, options)
    reporter = _reporter()
    try:
        trained = pipeline.train(
            _workspace(workspace),
            dataset,
            configuration,
            fold_name(fold),
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
    from autounet.console import scores_table
    from autounet.demo import demo as run_demo

    reporter = _reporter()
    try:
        result = run_demo(folder, max_seconds=parse_seconds(max_time), reporter=reporter)
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
        app(spread(arguments))
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


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise
    _error_console().print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _error_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _tell_prepared(reporter: ConsoleReporter, counts: dict[str, PreparedCount]) -> None:
    for name, count in counts.items():
        reporter.say(f"{name}: {count.prepared} cases prepared, {count.ready} were ready")
