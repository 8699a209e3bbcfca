"""The verbs of `autounet dataset`: `create`, `convert_msd` and `merge` make a dataset of what people have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autounet.cli.common import JobsOption, WorkspaceOption, chosen_workspace, console_reporter
from autounet.workspace import dataset_number

if TYPE_CHECKING:
    from autounet.console import ConsoleReporter
    from autounet.data.draft import Draft

dataset_app = typer.Typer(
    name="dataset",
    help="Make a dataset of images and labels that lie somewhere.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NameOption = Annotated[str | None, typer.Option("--name", help="Name of the dataset.", show_default="after the folder")]
IdOption = Annotated[int | None, typer.Option("--id", help="Its number, 0 to 999.", show_default="the first free")]
CopyOption = Annotated[bool, typer.Option("--copy", help="Copy the files instead of linking to them.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tell what was understood, and write nothing.")]
SkipOption = Annotated[
    bool, typer.Option("--skip-unmatched", help="Leave out files without a partner, and cases that lack a file.")
]


@dataset_app.command("create")
def create(
    images: Annotated[Path, typer.Argument(help="Folder of images, or a CSV with the columns image, label.")],
    labels: Annotated[
        Path | None, typer.Argument(help="Folder of labels; not with a CSV.", show_default="they lie with the images")
    ] = None,
    name: NameOption = None,
    number: IdOption = None,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", help="Names of the channels, in order.", show_default="from the files' names"),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="Names of the label values above 0, in order, or NAME=VALUE.",
            show_default="class_1, ...",
        ),
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option("--test-images", help="Folder of images without labels, for imagesTs.")
    ] = None,
    convert_to: Annotated[
        str | None,
        typer.Option("--convert-to", help="Write images of any other format anew in this one, such as .nii.gz."),
    ] = None,
    copy: CopyOption = False,
    dry_run: DryRunOption = False,
    skip_unmatched: SkipOption = False,
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Work out cases, channels and labels of images and labels, and make a dataset of them."""
    from autounet.data.create import Naming, understand
    from autounet.data.draft import dataset_folder
    from autounet.parallel import available_cpus

    reporter = console_reporter()
    default = images.absolute().stem if labels is None else images.absolute().parent.name
    folder = dataset_folder(chosen_workspace(workspace), name or default, number)
    naming = Naming(channels=tuple(channel or ()), labels=tuple(label or ()))
    jobs = jobs or available_cpus()
    draft = understand(
        images,
        labels,
        folder,
        naming,
        test_images=test_images,
        convert_to=convert_to,
        jobs=jobs,
        reporter=reporter,
    )
    _finish(draft, reporter, copy=copy, dry_run=dry_run, skip_unmatched=skip_unmatched, jobs=jobs)


@dataset_app.command("convert_msd")
def convert_msd(
    task: Annotated[Path, typer.Argument(help="Folder of the Medical Segmentation Decathlon, TaskXX_Name.")],
    name: NameOption = None,
    number: Annotated[
        int | None, typer.Option("--id", help="Number of the dataset.", show_default="the task's")
    ] = None,
    copy: CopyOption = False,
    dry_run: DryRunOption = False,
    skip_unmatched: SkipOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Make a dataset of a task of the Medical Segmentation Decathlon."""
    from autounet.data.draft import dataset_folder
    from autounet.data.msd import task_name, understand_msd

    reporter = console_reporter()
    its_number, its_name = task_name(task)
    folder = dataset_folder(chosen_workspace(workspace), name or its_name, its_number if number is None else number)
    _finish(understand_msd(task, folder), reporter, copy=copy, dry_run=dry_run, skip_unmatched=skip_unmatched)


@dataset_app.command("merge")
def merge(
    datasets: Annotated[list[str], typer.Argument(help="Datasets: numbers, names or folders, two or more.")],
    name: Annotated[str, typer.Option("--name", help="Name of the merged dataset.", show_default=False)],
    number: IdOption = None,
    copy: CopyOption = False,
    dry_run: DryRunOption = False,
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Make one dataset of several with the same channels, whose cases may have different classes annotated."""
    from autounet.data.dataset import RawDataset
    from autounet.data.draft import dataset_folder
    from autounet.data.merge import understand_merge, write_merge
    from autounet.parallel import available_cpus
    from autounet.report.draft import merged_table

    reporter, places = console_reporter(), chosen_workspace(workspace)
    folders = [
        Path(each) if (Path(each) / "dataset.json").is_file() else places.raw / places.find_dataset(each)
        for each in datasets
    ]
    merged = understand_merge([RawDataset.load(each) for each in folders], dataset_folder(places, name, number))
    reporter.console.print(merged_table(merged))
    for remark in merged.remarks:
        reporter.say(remark)
    if dry_run:
        reporter.say(f"Would be written to {merged.folder}; nothing was (--dry-run)")
        return
    write_merge(merged, copy=copy, jobs=jobs or available_cpus(), reporter=reporter)
    reporter.say(f"Dataset: {merged.folder}")
    reporter.say(f"Next: autounet plan_and_preprocess -d {dataset_number(merged.folder.name)}")


def _finish(
    draft: Draft, reporter: ConsoleReporter, *, copy: bool, dry_run: bool, skip_unmatched: bool, jobs: int = 1
) -> None:
    """Tell what was understood, and write it where nothing stands in the way."""
    from autounet.data.draft import require_whole, write_draft
    from autounet.report.draft import cases_table, meaning_table

    reporter.say(draft.understood)
    reporter.console.print(meaning_table(draft))
    reporter.console.print(cases_table(draft))
    for remark in draft.remarks:
        reporter.say(remark)
    require_whole(draft, skip_unmatched=skip_unmatched)
    if draft.left_out:
        reporter.say(f"Left out: {len(draft.left_out)} files or cases, such as {draft.left_out[0].file}")
    if dry_run:
        reporter.say(f"Would be written to {draft.folder}; nothing was (--dry-run)")
        return
    write_draft(draft, copy=copy, jobs=jobs, reporter=reporter)
    reporter.say(f"Dataset: {draft.folder}")
    reporter.say(f"Next: autounet plan_and_preprocess -d {dataset_number(draft.folder.name)}")
