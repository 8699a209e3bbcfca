"""Images without labels: the test cases of a dataset to be made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autounet.data.dataset import short_path
from autounet.data.matching import IMAGE_WORDS, FoundFile
from autounet.data.sources import Gathered, SourceCase, found_files
from autounet.errors import Problem, RequestError

_WORD = re.compile(r"[^_\-. /]+")


def gather_test_images(folder: Path, channels: Sequence[str]) -> Gathered:
    """Work out the cases of a folder of images without labels.

    Args:
        folder: Where they lie.
        channels: What tells the image files of a training case apart (`Gathered.channels`).

    Raises:
        RequestError: The folder is missing, or holds no images.
    """
    files = found_files(folder)
    if not files:
        raise RequestError(
            f"{folder} holds no file of a known format. Name the folder with the test images themselves."
        )
    problems: list[Problem] = []
    found: dict[str, dict[str, FoundFile]] = {}
    for file in files:
        channel = _channel_of(file, channels)
        if channel is None:
            what = f"the name tells none of the channels {', '.join(channels)}"
            remedy = "rename it as the training images are, or leave it out with --skip-unmatched"
            problems.append(Problem("-", short_path(file.path), what, remedy))
            continue
        name = _name_without(file.stem, channel)
        if channel in found.setdefault(name, {}):
            what = f"would be the same image of test case {name} as {short_path(found[name][channel].path)}"
            problems.append(Problem(name, short_path(file.path), what, "rename one, or remove one"))
        else:
            found[name][channel] = file
    cases = []
    for name, own in sorted(found.items()):
        missing = [channel for channel in channels if channel not in own]
        if missing:
            file = next(iter(own.values()))
            what = f"test case {name} lacks the channel {', '.join(missing)}"
            remedy = "add the file, or leave the case out with --skip-unmatched"
            problems.append(Problem(name, short_path(file.path), what, remedy))
        else:
            cases.append(SourceCase(name, tuple(own[channel].path for channel in channels), None))
    return Gathered(tuple(cases), tuple(channels), tuple(problems))


def _channel_of(file: FoundFile, channels: Sequence[str]) -> str | None:
    """The channel whose words a name holds, the one of most words; the only channel need not be told."""
    words = Counter(_words(file.stem))
    told = [channel for channel in channels if Counter(_words(channel)) <= words]
    if told:
        return max(told, key=lambda channel: len(_words(channel)))
    return channels[0] if len(channels) == 1 else None


def _name_without(stem: str, channel: str) -> str:
    """A file's name without the words of its channel, and without those that only say that it is an image."""
    unwanted = Counter(_words(channel))
    kept: list[str] = []
    # From the end: where the channel's word occurs twice, the case's name comes first.
    for match in reversed(list(re.finditer(rf"({_WORD.pattern})([_\-. /]*)", stem))):
        word = match[1].lower()
        if unwanted[word]:
            unwanted[word] -= 1
        elif word not in IMAGE_WORDS:
            kept.append(match[0])
    name = "".join(reversed(kept)).strip("_-. /")
    return (name or stem).replace("/", "_")


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
