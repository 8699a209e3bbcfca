"""Predict a folder of images, and average what several predictions say."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autounet.errors import Problem, RequestError, WorkError
from autounet.pipeline.objects import instances
from autounet.pipeline.watching import require_alike, watching
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.finish import Finish
    from autounet.inference.cases import Lane, OutputOptions
    from autounet.inference.failures import Failure
    from autounet.inference.instance_files import CountedImage
    from autounet.inference.predictor import WindowOptions
    from autounet.inference.probabilities import ProbabilityFormat
    from autounet.models.best import Best
    from autounet.plans import Plan
    from autounet.training.config import PrecisionName

AccumulateName = Literal["float32", "float16"]


@dataclass(frozen=True)
class Predicted:
    """What `predict` or `ensemble` did.

    Attributes:
        models: Used, or the folders that were averaged.
        written: Cases predicted now.
        skipped: Cases that lay finished.
        unlike: Cases predicted now that are unlike the training data.
        counted: The objects of every mask, where they were asked for.
    """

    models: tuple[Path, ...]
    written: tuple[str, ...]
    skipped: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    counted: tuple[CountedImage, ...] = ()


def predict(
    workspace: Workspace,
    images: Path,
    output: Path,
    *,
    dataset: str | None = None,
    configuration: str | Sequence[str] | None = None,
    model: Path | Sequence[Path] | None = None,
    folds: Sequence[str] | None = None,
    mirror: bool = True,
    overlap: float = 0.5,
    precision: PrecisionName = "auto",
    accumulate: AccumulateName = "float32",
    skip: bool = True,
    prune: int | None = None,
    attention_maps: bool = False,
    probabilities: ProbabilityFormat | None = None,
    max_ram_gib: float | None = None,
    strict: bool = False,
    overwrite: bool = False,
    postprocess: bool = True,
    objects: bool = False,
    device: str = "auto",
    devices: Sequence[str] | None = None,
    reporter: Reporter = SILENT,
) -> Predicted:
    """Predict every case of a folder.

    Args:
        workspace: Where trained models are.
        images: Folder of images, named as in `imagesTr`.
        output: Folder for the masks; `CASE` plus the images' ending.
        dataset: Whose model; by default the only one of the workspace.
        configuration: Which of its models; the probabilities of several are averaged. By default what `find_best`
            chose, else the only one.
        model: A model folder, or one fold's folder in it, instead of both; or several.
        folds: Which folds to average; all that are finished by default.
        mirror: Average over mirror images, as far as training mirrored.
        overlap: Of neighbouring tiles, as a share.
        precision: What the networks compute in; `auto` is what the device is fast in, and for a model that was not
            trained here only if its masks bear it (`autounet.inference.trial`).
        accumulate: What tiles are added up in.
        skip: Compute tiles in which nothing varies once.
        prune: Depth to which networks that can be pruned are, for a faster prediction.
        attention_maps: Write what the networks attend to, into `attention_maps/`.
        probabilities: Write them too, in this format.
        max_ram_gib: Memory that it may take; by default what the machine has.
        strict: Predict nothing if a case is unlike the training data.
        overwrite: Predict cases again whose mask is there.
        postprocess: Use the thresholds and the postprocessing that `find_best` decided for what it chose.
        objects: Number and count the objects of the masks too, into `instances/` in the output.
        device: Where to predict.
        devices: Several, which share the cases; instead of `device`.
        reporter: Shows the progress.

    Raises:
        RequestError: The model or the images are not as they must be, or the folder cannot be written to.
        DataError: Some cases cannot be read or do not fit the model; all others were predicted. Or, with `strict`, some
            are unlike the training data; then nothing was.
        WorkError: Some cases failed while they were predicted or written.
    """
    import torch

    from autounet.data.dataset import find_cases
    from autounet.inference.attention import write_attention
    from autounet.inference.cases import is_finished, predict_cases
    from autounet.inference.failures import error_of
    from autounet.inference.instances import object_classes
    from autounet.inference.predictor import WindowOptions
    from autounet.inference.trial import settle_on_first

    options = WindowOptions(mirror=mirror, overlap=overlap, accumulate=getattr(torch, accumulate), skip=skip)
    best = None if configuration or model else _best(workspace, dataset)
    models = _chosen(workspace, best) if best else _models(workspace, dataset, configuration, model)
    lanes = _lanes(models, folds, options, precision, list(devices or [device]), prune)
    plan = lanes[0][0].plan
    if objects:
        object_classes(plan.labels)  # what cannot be told apart is refused before the work
    cases = find_cases(images, plan.file_ending, len(plan.channels))
    _require_writable(output)
    there = {case.name: is_finished(output, case.name, plan.file_ending, probabilities) for case in cases}
    done = tuple(name for name, finished in there.items() if finished and not overwrite)
    waiting = [case for case in cases if case.name not in set(done)]
    _tell(models, lanes[0], reporter)
    reporter.say(f"{_counted(len(waiting), 'case')} to predict, {len(done)} already in {output}")
    _describe(output, plan)
    lanes = [settle_on_first(lane, waiting, reporter.say) for lane in lanes]
    finish = best.finish if best else _finish([path for path, _ in models], reporter)
    outputs = _outputs(probabilities, max_ram_gib, finish, reporter, postprocess=postprocess)
    with watching(models, folds, output, reporter) as watch:
        if strict:
            require_alike(watch, waiting, images, reporter)
        failures = predict_cases(lanes, waiting, output, replace(outputs, watch=watch), reporter)
    if failures:
        written = [case for case in waiting if is_finished(output, case.name, plan.file_ending, probabilities)]
        raise error_of(failures, f"{images} ({len(written)} of {len(waiting)} cases were predicted)")
    for member in lanes[0] if attention_maps else ():
        write_attention(member, cases, output, reporter)
    unlike = tuple(case.name for case in waiting if watch.found[case.name].unlike)
    counted = instances(output, output / "instances", reporter=reporter) if objects else ()
    return Predicted(
        tuple(path for path, _ in models), tuple(case.name for case in waiting), done, unlike, tuple(counted)
    )


def _tell(models: Sequence[tuple[Path, list[str] | None]], members: Lane, reporter: Reporter) -> None:
    """Say which models predict, with how many folds."""
    for (folder, _), member in zip(models, members, strict=True):
        first = f", told by {_counted(len(member.first.networks), 'fold')} of its first stage" if member.first else ""
        reporter.say(f"{folder}: {_counted(len(member.networks), 'fold')}{first}")


def _outputs(
    probabilities: ProbabilityFormat | None,
    max_ram_gib: float | None,
    finish: Finish,
    reporter: Reporter,
    *,
    postprocess: bool,
) -> OutputOptions:
    """What becomes of the logits; what `find_best` decided is told."""
    from autounet.inference.cases import OutputOptions

    outputs = OutputOptions(probabilities)
    if max_ram_gib is not None:
        outputs = replace(outputs, max_bytes=int(max_ram_gib * 2**30))
    if finish.summary:
        reporter.say(f"{'' if postprocess else 'left out: '}{finish.summary} (as find_best decided)")
    return replace(outputs, finish=finish) if postprocess else outputs


def ensemble(
    folders: Sequence[Path],
    output: Path,
    *,
    save_probabilities: bool = False,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Predicted:
    """Average the probabilities that several predictions have saved, and write the masks.

    Args:
        folders: Written by `predict` with probabilities.
        output: Folder for the masks.
        save_probabilities: Write the averages too.
        overwrite: Do cases again whose mask is there.
        reporter: Shows the progress.

    Raises:
        RequestError: There is nothing to average, or the folder cannot be written to.
        DataError: Some cases are missing somewhere or do not belong together; in the latter case all others were done.
        WorkError: Some results could not be written.
    """
    from autounet.data.dataset import RawCase
    from autounet.data.description import write_dataset_json
    from autounet.inference.ensemble import average_case, common_cases, is_averaged
    from autounet.inference.failures import error_of, failure_of

    _require_writable(output)
    cases = common_cases(folders)
    done = {
        name
        for name, paths in cases.items()
        if not overwrite and is_averaged(paths[0], output, save_probabilities=save_probabilities)
    }
    waiting = {name: paths for name, paths in cases.items() if name not in done}
    failures: list[Failure] = []
    written: list[str] = []
    for name, paths in reporter.track(waiting.items(), "average", len(waiting)):
        try:
            record = average_case(paths, output, save_probabilities=save_probabilities)
            if not written:
                write_dataset_json(
                    output, labels=record.labels, channel_names=record.channel_names, file_ending=record.file_ending
                )
            written.append(name)
        except Exception as error:
            failures.append(failure_of(error, RawCase(name=name, images=paths), output, is_writing=True))
            if failures[-1].ends_all:
                break
    if failures:
        raise error_of(failures, f"{output} ({len(written)} of {len(waiting)} cases were averaged)")
    return Predicted(tuple(folders), tuple(written), tuple(sorted(done)))


def _best(workspace: Workspace, dataset: str | None) -> Best | None:
    """What `find_best` chose for the dataset that is meant; `None` where it was not asked, or several are meant."""
    from autounet.models.best import best_path, read_best
    from autounet.models.folder import trained_models

    if dataset is not None:
        names = {workspace.find_dataset(dataset)}
    else:
        names = {folder.parent.name for folder in trained_models(workspace)}
    path = best_path(workspace, names.pop()) if len(names) == 1 else None
    return read_best(path) if path is not None and path.exists() else None


def _finish(models: Sequence[Path], reporter: Reporter) -> Finish:
    """What `find_best` decided for a model alone, if only that one is used."""
    from autounet.evaluation.finish import Finish
    from autounet.models.best import FINISH_FILE, read_finish

    if len(models) > 1:
        return Finish()
    found = read_finish(models[0])
    if found is None:
        reporter.say(f"{models[0] / FINISH_FILE} was decided on other weights and is not used; run find_best again")
    return found or Finish()


def _chosen(workspace: Workspace, best: Best) -> list[tuple[Path, list[str] | None]]:
    """The model folders of a choice, each with the folds that were scored."""
    return [(workspace.results / best.dataset_name / model.folder, list(model.folds)) for model in best.models]


def _models(
    workspace: Workspace,
    dataset: str | None,
    configuration: str | Sequence[str] | None,
    model: Path | Sequence[Path] | None,
) -> list[tuple[Path, list[str] | None]]:
    """The model folders that are meant, each with the folds that its path names."""
    from autounet.models.folder import find_model, model_and_folds

    if model is not None:
        return [model_and_folds(path) for path in ([model] if isinstance(model, Path) else model)]
    names = [configuration] if configuration is None or isinstance(configuration, str) else list(configuration)
    chosen = dataset and workspace.find_dataset(dataset)
    return [(find_model(workspace, chosen, name), None) for name in names or [None]]


def _lanes(
    models: Sequence[tuple[Path, list[str] | None]],
    folds: Sequence[str] | None,
    options: WindowOptions,
    precision: PrecisionName,
    devices: Sequence[str],
    prune: int | None,
) -> list[Lane]:
    """All models on every device, as far as they are pruned."""
    from autounet.allocator import keep_large_blocks
    from autounet.inference.predictor import Predictor, prediction_precision
    from autounet.training.device import choose_device

    found = [choose_device(name) for name in devices]
    if any(device.type == "cpu" for device in found):
        keep_large_blocks()
    # Devices of a kind are alike: one measurement is enough.
    precisions = {device.type: prediction_precision(device, precision) for device in found}
    lanes = [
        tuple(
            Predictor.load(path, folds=folds or own, device=device, precision=precisions[device.type], options=options)
            for path, own in models
        )
        for device in found
    ]
    if prune is not None:
        for member in chain(*lanes):
            member.prune(prune)
    _require_same_data(models, lanes[0])
    return lanes


def _require_same_data(models: Sequence[tuple[Path, list[str] | None]], members: Lane) -> None:
    """Only models of the same channels, labels and files can be averaged."""
    first = members[0].plan
    for (path, _), member in zip(models, members, strict=True):
        for what in ("labels", "file_ending"):
            if getattr(member.plan, what) != getattr(first, what):
                raise RequestError(f"{path} has another {what} than {models[0][0]}; they cannot be averaged")
        if [entry.name for entry in member.plan.channels] != [entry.name for entry in first.channels]:
            raise RequestError(f"{path} takes other channels than {models[0][0]}; they cannot be averaged")


def _require_writable(output: Path) -> None:
    """Refuse a folder before anything is computed for it.

    Raises:
        RequestError: Nothing can be written there.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise RequestError(
            f"the output folder {output} cannot be written to ({error.strerror}). "
            "Choose another with -o, or correct its permissions."
        ) from None


def _describe(output: Path, plan: Plan) -> None:
    """Write the `dataset.json` that tells what the masks' values mean.

    Raises:
        WorkError: It cannot be written.
    """
    from autounet.data.description import write_dataset_json

    names = [channel.name for channel in plan.channels]
    try:
        write_dataset_json(output, labels=plan.labels, channel_names=names, file_ending=plan.file_ending)
    except OSError as error:
        remedy = "make room there, or choose another folder with -o, then run the same command again"
        what = f"cannot be written ({error.strerror})"
        raise WorkError(str(output), [Problem("-", str(output / "dataset.json"), what, remedy)]) from None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
