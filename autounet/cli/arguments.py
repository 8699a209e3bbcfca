"""What was typed on the command line, understood: lists, folds, times, and whole requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autounet.errors import RequestError

if TYPE_CHECKING:
    from autounet.models.folder import FoldName
    from autounet.planners.request import PlanRequest
    from autounet.training.config import TrainConfig

# Options that may be followed by several values, by verb.
_LIST_OPTIONS = {
    "plan": {"-c", "--configuration", "--patch", "--spacing"},
    "plan_and_preprocess": {"-d", "--dataset", "-c", "--configuration", "--patch", "--spacing"},
    "predict": {"-f", "--fold"},
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
    max_time: str | None, epochs: int | None, planned_seconds: float | None, options: dict[str, Any]
) -> TrainConfig:
    """How to train: by the time or the epochs given, else by the time that was planned for, else by nnU-Net's epochs.

    Raises:
        RequestError: Time and epochs are both given, or an option has no such value.
    """
    from pydantic import ValidationError

    from autounet.training.config import TrainConfig

    if max_time is not None and epochs is not None:
        raise RequestError("--max-time and --epochs exclude each other: give the time or the number of epochs")
    time = planned_seconds if max_time is None else parse_seconds(max_time)
    base = TrainConfig() if time is None or epochs is not None else TrainConfig.for_clock(time)
    if epochs is not None:
        options = {**options, "num_epochs": epochs}
    try:
        return TrainConfig.model_validate({**base.model_dump(), **options})
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise RequestError(f"{name} {first['input']}: {first['msg']}") from None


def parse_seconds(text: str) -> float:
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
        raise RequestError(f"--max-time '{text}' is no time. Write for example 90s, 10m or 1.5h.")
    return seconds
