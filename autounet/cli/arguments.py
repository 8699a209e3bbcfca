"""What was typed on the command line, understood: lists, folds, times, and whole requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autounet.errors import RequestError

if TYPE_CHECKING:
    from autounet.launch.fold_run import Extension
    from autounet.models.folder import FoldName
    from autounet.networks.description import RecipeHints
    from autounet.planners.request import PlanRequest
    from autounet.training.config import TrainConfig

# Options that may be followed by several values, by verb.
_LIST_OPTIONS = {
    "plan": {"-c", "--configuration", "--patch", "--spacing"},
    "plan_and_preprocess": {"-d", "--dataset", "-c", "--configuration", "--patch", "--spacing"},
    "train": {"--logger"},
    "find_best": {"-c", "--configuration", "-f", "--fold"},
    "predict": {"-f", "--fold", "-c", "--configuration", "--model"},
    "instances": {"--class"},
    "ensemble": {"-i", "--input"},
    "evaluate": {"--metrics"},
    "compare": {"--metrics"},
    "import_nnunet": {"-f", "--fold"},
    "dataset create": {"--channel", "--label"},
}


def spread(arguments: list[str]) -> list[str]:
    """Let list options take several values, as in `-c 2d 3d_fullres`: each becomes an option of its own."""
    # Verbs of two words, such as `dataset create`, are known by both.
    known = (_LIST_OPTIONS.get(" ".join(arguments[:length])) for length in (1, 2))
    options = next((options for options in known if options is not None), set())
    spread: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in options else None
        elif option is not None and spread[-1] != option:
            spread.append(option)
        spread.append(argument)
    return spread


def fold_name(text: str) -> FoldName:
    """`all`, or a number from 0.

    Raises:
        RequestError: It is neither.
    """
    if text == "all":
        return "all"
    if not text.isdigit():
        raise RequestError(f"fold must be a number from 0, or 'all', got '{text}'")
    return int(text)


def plan_request(
    memory_gib: float | None,
    network: str | None,
    patch: list[int] | None,
    batch_size: int | None,
    spacing: list[float] | None,
    features: int | None,
    stages: int | None,
    configurations: list[str] | None,
) -> PlanRequest:
    """What a plan must be like.

    Raises:
        RequestError: A number is out of range.
    """
    from autounet.planners.request import PlanRequest

    if spacing and len(spacing) != 3:
        raise RequestError(f"--spacing {_typed(spacing)}: give three numbers, Z Y X in mm")
    if patch and len(patch) not in (2, 3):
        raise RequestError(f"--patch {_typed(patch)}: give three numbers, Z Y X, or two, Y X, for 2d")
    wishes = {
        "memory_gib": memory_gib,
        "network": network,
        "patch_size": patch or None,
        "batch_size": batch_size,
        "spacing_mm": spacing or None,
        "features": features,
        "num_stages": stages,
        "configurations": configurations or (),
    }
    return PlanRequest.parse(wishes, "the request")


def _typed(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def train_config(
    recipe: str | None,
    file: Path | None,
    planned_seconds: float | None,
    flags: Mapping[str, Any],
    hints: RecipeHints | None = None,
) -> TrainConfig:
    """How to train: the recipe, with what the file says over it, with the flags over that.

    The recipe is `paper` where the network's paper tells how it was trained; else `clock` where a time is given or was
    planned for and no epochs or steps are; else `nnunet`.

    Args:
        recipe: Its name, if one was asked for.
        file: YAML with the fields of `TrainConfig`, or the flags' names for them.
        planned_seconds: The time that the plan was made for.
        flags: Fields of `TrainConfig`; `None` where a flag was not given.
        hints: How the network's paper trained, as far as it says.

    Raises:
        RequestError: Something is unknown or does not go together; it is named.
    """
    from autounet.records import nearest
    from autounet.training.config import RECIPES, TrainConfig

    if recipe is not None and recipe not in RECIPES:
        raise RequestError(f"--recipe {recipe}: there are {', '.join(RECIPES)}.{nearest(recipe, list(RECIPES))}")
    given = {name: value for name, value in flags.items() if value is not None and name in TrainConfig.model_fields}
    choices = {**(_of_file(file) if file else {}), **given}
    lengths = [name for name in ("num_epochs", "num_steps") if choices.get(name) is not None]
    if choices.get("max_seconds") is None and not lengths and recipe != "nnunet":
        choices["max_seconds"] = planned_seconds
    choices = {name: _understood(name, value) for name, value in choices.items()}
    if choices.get("max_seconds") is not None and lengths:
        raise RequestError(f"--max-time and --{lengths[0][4:]} exclude each other: give the time or the length")
    of_paper = hints.choices if hints else {}
    if recipe == "paper" and not of_paper:
        raise RequestError("--recipe paper: nothing is known of how this network was trained; take nnunet or clock")
    chosen = recipe or ("paper" if of_paper else "clock" if choices.get("max_seconds") is not None else "nnunet")
    if chosen == "paper":
        choices = {**of_paper, **choices}
    if "growth" in choices and not choices["growth"]:
        choices.setdefault("growth_batch", 0.0)
    base = TrainConfig.recipe(chosen).model_dump()
    source = f"--config {file}, with these options," if file else "the set of options"
    return TrainConfig.parse({**base, **choices}, source)


# Names of flags for fields that are called otherwise.
_FIELD_OF_FLAG = {"max_time": "max_seconds", "epochs": "num_epochs", "steps": "num_steps"}


def _of_file(path: Path) -> dict[str, Any]:
    """The fields that a YAML file sets."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"--config {path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"--config {path} must hold lines such as 'learning_rate: 0.01'")
    return {_FIELD_OF_FLAG.get(str(key), str(key)): value for key, value in content.items()}


def _understood(name: str, value: Any) -> Any:
    """A value as its field wants it: times and growth may be written as text."""
    if name == "max_seconds" and isinstance(value, str):
        return parse_seconds(value)
    if name == "growth" and isinstance(value, str):
        return _growth(value)
    return value


def _growth(text: str) -> tuple[tuple[float, float], ...]:
    """`0.5:0.5,0.75:0.75` as pairs; `none` as no stage."""
    if text == "none":
        return ()
    try:
        stages = [stage.split(":") for stage in text.split(",")]
        return tuple((float(end), float(factor)) for end, factor in stages)
    except ValueError:
        raise RequestError(f"--growth '{text}': write END:FACTOR,..., as 0.5:0.5,0.75:0.75, or none") from None


def extension(text: str | None) -> Extension | None:
    """`--extend`: a time, or a number of epochs.

    Raises:
        RequestError: It is neither.
    """
    from autounet.launch.fold_run import Extension

    if text is None:
        return None
    return Extension(epochs=int(text)) if text.isdigit() else Extension(seconds=parse_seconds(text, "--extend"))


def parse_seconds(text: str, option: str = "--max-time") -> float:
    """`90s`, `10m`, `1.5h` or plain seconds.

    Raises:
        RequestError: It is no time.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = (text[:-1], units[text[-1]]) if text and text[-1] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise RequestError(f"{option} '{text}' is no time. Write for example 90s, 10m or 1.5h.")
    return seconds
