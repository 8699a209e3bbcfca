"""Which image files and which label file make a case, worked out from their names.

Names are cut into words. A label's key is what is left of its words; an image belongs to the label whose key its words
hold, and what it has beyond the key is its affix, which tells the channel. Keys are tried from the most literal to the
freest, until every file has found its place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autounet.data.dataset import short_path
from autounet.errors import Problem
from autounet.records import nearest

Words = tuple[str, ...]

_FOR_LABELS = """label labels lbl lab mask masks msk seg segs segm segmentation segmentations gt groundtruth ground
    truth annotation annotations annot manual reference ref roi target targets"""
_FOR_IMAGES = "image images img imgs im vol volume volumes scan scans raw input inputs orig original"
LABEL_WORDS = frozenset(_FOR_LABELS.split())
IMAGE_WORDS = frozenset(_FOR_IMAGES.split())
_NO_LABEL, _NO_IMAGE = "the image has no label of a like name", "the label has no image of a like name"
_MAX_HINTS = 10
_BY_SEPARATOR = re.compile(r"[^_\-. /]+")
_BY_KIND = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class FoundFile:
    """A file of a folder.

    Attributes:
        path: Where it is.
        stem: Its path below the folder, without ending.
        ending: Such as `.nii.gz`.
    """

    path: Path
    stem: str
    ending: str


@dataclass(frozen=True)
class MatchedCase:
    """A label with its images.

    Attributes:
        key: Words that name it.
        images: Image of each affix.
        label: Its label.
    """

    key: Words
    images: dict[str, FoundFile]
    label: FoundFile


@dataclass(frozen=True)
class Matching:
    """What was matched.

    Attributes:
        cases: By the order of the labels.
        problems: Files that found no place, or a place that was taken.
    """

    cases: tuple[MatchedCase, ...]
    problems: tuple[Problem, ...]


def match_files(images: Sequence[FoundFile], labels: Sequence[FoundFile]) -> Matching:
    """Find the images of every label.

    Of the ways to read names, the first by which most files find their place is taken.
    """
    best: Matching | None = None
    for words_of in _ways(images, labels):
        found = _matched(images, labels, *words_of)
        if best is None or len(found.problems) < len(best.problems):
            best = found
        if not best.problems:
            break
    assert best is not None
    stems = {short_path(file.path): file.stem for file in (*images, *labels)}
    first = [_with_hint(problem, stems, images, labels) for problem in best.problems[:_MAX_HINTS]]
    return replace(best, problems=(*first, *best.problems[_MAX_HINTS:]))


def _with_hint(
    problem: Problem, stems: dict[str, str], images: Sequence[FoundFile], labels: Sequence[FoundFile]
) -> Problem:
    """The problem of a file without partner, with the name that comes nearest; to search all of them takes long."""
    others = {_NO_LABEL: labels, _NO_IMAGE: images}.get(problem.what, ())
    hint = nearest(stems.get(problem.file, ""), [file.stem for file in others])
    return replace(problem, remedy=f"{problem.remedy}.{hint}") if hint else problem


def is_label_name(stem: str) -> bool:
    """Whether a file's own name says that it holds labels, as `case_seg` does."""
    words = [word.lower() for word in _BY_SEPARATOR.findall(stem.rpartition("/")[2])]
    return any(word in LABEL_WORDS for word in words)


WordsOf = Callable[[FoundFile], Words]


def _ways(images: Sequence[FoundFile], labels: Sequence[FoundFile]) -> list[tuple[WordsOf, WordsOf]]:
    """How to cut the names of images and of labels, from the most literal to the freest."""

    def cut(pattern: re.Pattern[str], unwanted: frozenset[str], whole_path: bool) -> WordsOf:
        def words(file: FoundFile) -> Words:
            text = file.stem if whole_path else file.stem.rpartition("/")[2]
            return tuple(word for word in pattern.findall(text) if word.lower() not in unwanted)

        return words

    ways: list[tuple[WordsOf, WordsOf]] = []
    nested = any("/" in file.stem for file in (*images, *labels))
    for pattern in (_BY_SEPARATOR, _BY_KIND):
        for whole_path in (False, True) if nested else (False,):
            literal = cut(pattern, frozenset(), whole_path)
            plain = (cut(pattern, IMAGE_WORDS, whole_path), cut(pattern, LABEL_WORDS, whole_path))
            ways += [(literal, literal), plain, (plain[0], _without_common(labels, plain[1]))]
    return ways


def _without_common(files: Sequence[FoundFile], words_of: WordsOf) -> WordsOf:
    """Words without those that all files begin with, or end with."""
    cut = [words_of(file) for file in files]
    if len(cut) < 2:
        return words_of
    shortest = min(map(len, cut))
    start = next((i for i in range(shortest) if len({words[i] for words in cut}) > 1), shortest)
    end = next((i for i in range(shortest - start) if len({words[-1 - i] for words in cut}) > 1), shortest - start)
    return lambda file: words_of(file)[start : len(words_of(file)) - end]


def _matched(
    images: Sequence[FoundFile], labels: Sequence[FoundFile], image_words: WordsOf, label_words: WordsOf
) -> Matching:
    problems: list[Problem] = []
    keys: dict[Words, FoundFile] = {}
    for label in labels:
        key = label_words(label)
        if not key or key in keys:
            other = f" as {short_path(keys[key].path)}" if key else " as any other"
            what = f"the name tells the same case{other}"
            problems.append(Problem("-", short_path(label.path), what, "rename one, or give a CSV of paths"))
        else:
            keys[key] = label
    found: dict[Words, dict[str, FoundFile]] = {key: {} for key in keys}
    for image in images:
        place, affix = _place(image_words(image), keys)
        if place is None:
            remedy = "add its label, remove it, or leave it out with --skip-unmatched"
            problems.append(Problem("-", short_path(image.path), _NO_LABEL, remedy))
        elif affix in found[place]:
            name = "_".join(place)
            what = f"is the same image of case {name} as {short_path(found[place][affix].path)}"
            problems.append(Problem(name, short_path(image.path), what, "remove one, or give a CSV of paths"))
        else:
            found[place][affix] = image
    for key, label in keys.items():
        if not found[key]:
            remedy = "add its image, remove it, or leave it out with --skip-unmatched"
            problems.append(Problem("-", short_path(label.path), _NO_IMAGE, remedy))
    cases = [MatchedCase(key, found[key], label) for key, label in keys.items() if found[key]]
    if all(len(case.images) == 1 for case in cases) and len({affix for case in cases for affix in case.images}) > 1:
        # One image each: what else is in its name, a date for example, tells no channel.
        cases = [MatchedCase(case.key, {"": image}, case.label) for case in cases for image in case.images.values()]
    odd = _odd_channels(cases)
    whole = tuple(case for case in cases if case.key not in odd)
    return Matching(whole, (*problems, *odd.values()))


def _odd_channels(cases: Sequence[MatchedCase]) -> dict[Words, Problem]:
    """Cases whose channels are not those of most cases, by key."""
    if not cases:
        return {}
    counted = Counter(frozenset(case.images) for case in cases)
    # With ties, the larger set: a channel is rather missing than one too many.
    usual = max(counted, key=lambda affixes: (counted[affixes], len(affixes), sorted(affixes)))
    problems = {}
    for case in cases:
        if frozenset(case.images) == usual:
            continue
        missing = ", ".join(f"'{affix}'" for affix in sorted(usual - set(case.images)))
        extra = ", ".join(f"'{affix}'" for affix in sorted(set(case.images) - usual))
        what = "; ".join(
            part
            for part in (missing and f"lacks the channel {missing}", extra and f"has beyond the others {extra}")
            if part
        )
        remedy = "add or remove the file, or leave the case out with --skip-unmatched"
        file = short_path(next(iter(case.images.values())).path)
        problems[case.key] = Problem("_".join(case.key), file, what, remedy)
    return problems


def _place(words: Words, keys: dict[Words, FoundFile]) -> tuple[Words | None, str]:
    """The key that an image's words hold, and what is left of them.

    The whole name goes before its beginning, that before its end, and that before its middle; the longest key first.
    """
    if words in keys:
        return words, ""
    size = len(words)
    spans = [(0, length) for length in range(size - 1, 0, -1)]
    spans += [(size - length, length) for length in range(size - 1, 0, -1)]
    for start, length in spans:
        key = words[start : start + length]
        if key in keys:
            return key, "_".join((*words[:start], *words[start + length :]))
    for length in range(size - 2, 0, -1):
        inner = {words[start : start + length]: start for start in range(1, size - length)}
        hits = [key for key in inner if key in keys]
        if len(hits) == 1:
            start = inner[hits[0]]
            return hits[0], "_".join((*words[:start], *words[start + length :]))
        if hits:
            return None, ""
    return None, ""
