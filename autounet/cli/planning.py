"""Verbs before training: check, plan, plan_and_preprocess, preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autounet.cli.app import app
from autounet.cli.arguments import parse_seconds, plan_request
from autounet.cli.common import (
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
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter

if TYPE_CHECKING:
    from autounet.console import ConsoleReporter
    from autounet.preprocessing.dataset import PreparedCount


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
    asks_nothing = max_time is None and request == PlanRequest(network=network) and folds == SplitRequest()
    planned = (
        pipeline.existing_plan(place, dataset, planner=planner, network=network) if explain and asks_nothing else None
    )
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
    network: NetworkOption = None,
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
        network=network,
        jobs=jobs,
        reporter=reporter,
    )
    _tell_prepared(reporter, done.counts)
    for line in what_next(done.plan, done.path, dict.fromkeys(done.counts, 0)):
        reporter.say(line)


@app.command("networks")
def networks(
    dataset: Annotated[
        str | None, typer.Argument(help="As they are planned for it.", show_default="the sizes of their papers")
    ] = None,
    planner: PlannerOption = "default",
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
) -> None:
    """List all networks with their paper, parameters, and the memory that training takes."""
    from autounet import pipeline
    from autounet.report.networks import networks_table

    reporter = _reporter()
    found = pipeline.networks(_workspace(workspace), dataset, planner=planner, device=device, reporter=reporter)
    title = "Networks as in their papers, with one channel and two classes"
    title = title if dataset is None else f"Networks as they are planned for dataset {dataset}"
    reporter.console.print(networks_table(found, title))
    reporter.say("Train one with: autounet train DATASET CONFIGURATION FOLD --network NAME, or NAME,option=value,...")


def _tell_prepared(reporter: ConsoleReporter, counts: dict[str, PreparedCount]) -> None:
    for name, count in counts.items():
        reporter.say(f"{name}: {count.prepared} cases prepared, {count.ready} were ready")
