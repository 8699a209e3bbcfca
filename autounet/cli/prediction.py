"""Verbs after training: predict, instances and ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autounet.cli.app import app
from autounet.cli.common import DeviceOption, JobsOption, WorkspaceOption
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter

if TYPE_CHECKING:
    from autounet.inference.instance_files import CountedImage


@app.command("predict")
def predict(
    images: Annotated[Path, typer.Option("-i", "--input", help="Folder of images, named as in imagesTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the masks.")],
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Whose model.", show_default="the only one")
    ] = None,
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "-c",
            "--configuration",
            help="Which of its models; several are averaged.",
            show_default="what find_best chose, or the only one",
        ),
    ] = None,
    folds: Annotated[
        list[str] | None,
        typer.Option("-f", "--fold", help="Folds to average; several may follow.", show_default="all finished"),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(help="A model folder, instead of -d and -c; several are averaged.", show_default=False),
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Average over mirror images; slower, a little better.")] = True,
    overlap: Annotated[float, typer.Option(help="Share that neighbouring tiles overlap by; less is faster.")] = 0.5,
    skip: Annotated[bool, typer.Option(help="Compute tiles in which nothing varies, such as air, only once.")] = True,
    prune: Annotated[
        int | None,
        typer.Option("--prune", min=1, help="unetpp: predict with its first N levels, faster.", show_default=False),
    ] = None,
    attention_maps: Annotated[
        bool, typer.Option("--attention-maps", help="attention_unet: write what it attends to, as images.")
    ] = False,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="What the network computes in; auto is what the device is fast in, if the masks bear it."),
    ] = "auto",
    accumulate: Annotated[
        Literal["float32", "float16"], typer.Option(help="What tiles are added up in; float16 halves the memory.")
    ] = "float32",
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Write them too, for autounet ensemble or other programs.")
    ] = False,
    probability_format: Annotated[
        Literal["b2nd", "nifti"], typer.Option(help="A compressed array of 16 bits, or NIfTI of 8 bits.")
    ] = "b2nd",
    max_ram_gib: Annotated[
        float | None,
        typer.Option(min=0.01, help="Memory that it may take.", show_default="the machine's"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Predict nothing if a case is unlike the training data, and exit with 2.")
    ] = False,
    with_instances: Annotated[
        bool, typer.Option("--instances", help="Number and count the objects too, into OUTPUT/instances.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
    postprocess: Annotated[
        bool, typer.Option(help="With what find_best chose: use its thresholds and components rule too.")
    ] = True,
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None,
        typer.Option("--devices", help="Several that share the cases: cuda:0,cuda:1.", show_default=False),
    ] = None,
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
        configuration=configuration or None,
        model=model or None,
        folds=folds or None,
        mirror=mirror,
        overlap=overlap,
        precision=precision,
        accumulate=accumulate,
        skip=skip,
        prune=prune,
        attention_maps=attention_maps,
        probabilities=probability_format if save_probabilities else None,
        max_ram_gib=max_ram_gib,
        strict=strict,
        overwrite=overwrite,
        postprocess=postprocess,
        objects=with_instances,
        device=device,
        devices=devices.split(",") if devices else None,
        reporter=reporter,
    )
    reporter.say(f"{len(predicted.written)} masks written to {output}, {len(predicted.skipped)} were there")
    if predicted.unlike:
        reporter.say(
            f"{len(predicted.unlike)} of {len(predicted.written)} cases are unlike the training data, so look at their "
            f"masks; {output / 'predictions.json'} says why"
        )
    if with_instances:
        _tell_instances(predicted.counted, output / "instances")
    reporter.say(f"Next, where references exist: autounet evaluate REFERENCES {output}")


@app.command("instances")
def instances(
    masks: Annotated[Path, typer.Option("-i", "--input", help="Folder of masks, with a dataset.json there or above.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the maps of objects and the tables.")],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class of objects; several may follow.", show_default="all"),
    ] = None,
    split: Annotated[
        bool, typer.Option(help="Cut what touches where it is narrow, in classes without a border class.")
    ] = True,
    min_size: Annotated[int, typer.Option("--min-size", min=1, help="Leave out objects of fewer voxels.")] = 1,
    jobs: JobsOption = None,
) -> None:
    """Number, measure and count the objects of masks."""
    from autounet import pipeline

    counted = pipeline.instances(
        masks, output, classes=classes or (), split=split, min_voxels=min_size, jobs=jobs, reporter=_reporter()
    )
    _tell_instances(counted, output)


def _tell_instances(counted: Sequence[CountedImage], output: Path) -> None:
    num_objects = sum(len(image.objects) for image in counted)
    _reporter().say(f"{num_objects} objects in {len(counted)} images: {output}/counts.csv and objects.csv")


@app.command("ensemble")
def ensemble(
    folders: Annotated[
        list[Path],
        typer.Option("-i", "--input", help="Folders written by predict --save-probabilities; several may follow."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the masks.")],
    save_probabilities: Annotated[bool, typer.Option("--save-probabilities", help="Write the averages too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do finished cases again.")] = False,
) -> None:
    """Average the probabilities of several predictions into masks. Finished cases are skipped."""
    from autounet import pipeline

    reporter = _reporter()
    done = pipeline.ensemble(
        folders, output, save_probabilities=save_probabilities, overwrite=overwrite, reporter=reporter
    )
    reporter.say(f"{len(done.written)} masks written to {output}, {len(done.skipped)} were there")
