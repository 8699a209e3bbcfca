"""Choose what predicts, and finish label maps by the rule that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autounet.errors import DataError, Problem, RequestError
from autounet.parallel import available_cpus, map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.postprocessing import Postprocessing
    from autounet.inference.probabilities import ProbabilityFormat
    from autounet.models.best import Best


@dataclass(frozen=True)
class Found:
    """What `find_best` decided, and where it was written."""

    best: Best
    path: Path


@dataclass(frozen=True)
class Postprocessed:
    """What `postprocess` did.

    Attributes:
        steps: Names of the steps.
        written: Masks written now.
        changed: Of these, how many were changed.
        skipped: Masks that lay there.
    """

    steps: tuple[str, ...]
    written: tuple[str, ...]
    changed: int
    skipped: tuple[str, ...]


def find_best(
    workspace: Workspace,
    dataset: str,
    *,
    configurations: Sequence[str] = (),
    folds: Sequence[int] = (),
    ensembles: Literal["pairs", "all", "none"] = "pairs",
    thresholds: bool = True,
    device: str = "auto",
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Found:
    """Compare the trained models of a dataset, and ensembles of them, on cases that their networks have not seen.

    Predictions that are missing are made. The choice, thresholds and postprocessing are written to `best.json` in
    the dataset's folder of results, and `predict` uses them from then on.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configurations: Only these; all that are trained by default.
        folds: Only these; all that are trained by default.
        ensembles: Of two models each, of any number, or none.
        thresholds: See whether other thresholds than one half help.
        device: Where to predict what is missing.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: Nothing is trained, a single fold is and was not asked for, or predictions do not fit the data.
        DataError: Cases cannot be read.
    """
    from autounet.data.dataset import RawDataset
    from autounet.launch.best import Wishes, decide
    from autounet.launch.contenders import find_contest
    from autounet.launch.requirements import all_splits
    from autounet.launch.unseen import find_unpredicted, predict_unseen
    from autounet.models.best import best_path, write_best
    from autounet.pipeline.folders import raw_folder
    from autounet.training.device import choose_device

    name = workspace.find_dataset(dataset)
    raw = RawDataset.load(raw_folder(workspace, dataset))
    splits = all_splits(workspace.preprocessed / name, raw)
    labels = raw.description.labels
    contest = find_contest(workspace, name, labels, splits, configurations=configurations, folds=folds)
    for note in contest.notes:
        reporter.say(note)
    by_name = {case.name: case for case in raw.cases}
    cases = {case: by_name[case] for case in contest.cases}
    wishes = Wishes(ensembles, thresholds)
    form: ProbabilityFormat | None = "b2nd" if wishes.need_probabilities(len(contest.contenders)) else None
    waiting = [
        entry
        for one in contest.contenders
        for entry in find_unpredicted(one.folder, one.name, one.records.values(), one.fold_of, cases, form)
    ]
    made = predict_unseen(waiting, form=form, device=choose_device(device), reporter=reporter)
    best = decide(name, labels, contest, cases, wishes, jobs=jobs or available_cpus(), reporter=reporter)
    best = best.model_copy(update={"notes": (*best.notes, *made)})
    path = best_path(workspace, name)
    write_best(best, path)
    return Found(best, path)


def postprocess(
    masks: Path,
    output: Path,
    rule: Path,
    *,
    overwrite: bool = False,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Postprocessed:
    """Apply a rule to a folder of masks.

    Args:
        masks: Folder of label maps; of those that a `dataset.json` there names by their ending, if there is one.
        output: Another folder, for the results; they are called as the masks are.
        rule: `best.json`, or a file with the steps alone.
        overwrite: Do masks again whose result is there.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: The folder holds no masks, or the rule is none.
        DataError: Some masks cannot be read; all others were done.
    """
    from autounet.records import write_text_atomically

    postprocessing = _read_rule(rule)
    if not masks.is_dir():
        raise RequestError(f"{masks} is no folder. Name a folder of masks with -i.")
    if masks.resolve() == output.resolve():
        raise RequestError(f"{output} holds the masks as they are. Name another folder with -o.")
    files = _masks_in(masks)
    waiting = [path for path in files if overwrite or not (output / path.name).exists()]
    work = partial(_postprocess_file, output=output, rule=postprocessing)
    jobs = worthwhile_jobs(jobs or available_cpus(), waiting)
    done = list(map_ordered(work, waiting, jobs=jobs, reporter=reporter, description="postprocess"))
    problems = [entry for entry in done if isinstance(entry, Problem)]
    if problems:
        raise DataError(f"{masks} ({len(done) - len(problems)} of {len(waiting)} masks were done)", problems)
    description = masks / "dataset.json"
    if description.is_file():
        write_text_atomically(output / description.name, description.read_text(encoding="utf-8"))
    skipped = {path.name for path in files} - {path.name for path in waiting}
    return Postprocessed(
        steps=tuple(step.name for step in postprocessing.steps),
        written=tuple(path.name for path in waiting),
        changed=sum(entry is True for entry in done),
        skipped=tuple(sorted(skipped)),
    )


def _masks_in(folder: Path) -> list[Path]:
    """The label maps of a folder."""
    from autounet.data.description import DatasetDescription
    from autounet.data.io import READERS, known_ending, label_ending
    from autounet.inference.probabilities import SUFFIX

    is_described = (folder / "dataset.json").is_file()
    ending = label_ending(DatasetDescription.load(folder).file_ending) if is_described else ""
    files = [
        path
        for path in sorted(folder.iterdir())
        if known_ending(path.name) and path.name.endswith(ending) and SUFFIX not in path.name
    ]
    if not files:
        raise RequestError(f"{folder} holds no masks. Known endings: {ending or ', '.join(sorted(READERS))}.")
    return files


def _read_rule(path: Path) -> Postprocessing:
    """The steps of a file, whichever of the three kinds it is."""
    from autounet.evaluation.postprocessing import Postprocessing
    from autounet.models.best import Best, ModelFinish
    from autounet.records import read_json

    content: Any = read_json(path)
    if isinstance(content, dict) and "finish" in content:
        kind = Best if "choice" in content else ModelFinish
        return kind.parse(content, str(path)).finish.postprocessing
    return Postprocessing.parse(content, str(path))


def _postprocess_file(path: Path, output: Path, rule: Postprocessing) -> bool | Problem:
    """Write one mask: whether it was changed, or what is wrong with it."""
    from autounet.data.io import FileError, read_label, write_label

    try:
        label, geometry = read_label(path)
    except FileError as error:
        return Problem(case=path.name, file=str(path), what=error.what, remedy=error.remedy)
    result = rule.apply(label)
    write_label(output / path.name, result, geometry)
    return bool((result != label).any())
