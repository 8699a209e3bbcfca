"""How often the comparison with the training data warns, rightly and wrongly; run from the checkout.

    python tests/benchmarks/unlike_input.py RAW_FOLDER [--dataset 4 101 201 203]

RAW_FOLDER holds raw datasets of one channel; a second is made up where channels are to be swapped. Needs no network:
of each dataset, the comparison learns from four fifths of the training cases and judges the last fifth and all of
imagesTs, as they are (every warning is a false alarm) and altered (every case without one is missed). Prints tables in
Markdown.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from autounet.data.appearance import Appearance, appearance_of
from autounet.data.dataset import find_cases
from autounet.data.description import DatasetDescription
from autounet.data.io import Image, read_image
from autounet.data.io.base import affine_rows
from autounet.data.usual import UsualImages
from autounet.geometry import Geometry
from autounet.inference.unlike import Likeness, TrainingLooks
from autounet.planners.normalization import normalization
from autounet.plans import ChannelPlan, IntensityStatistics
from autounet.workspace import Workspace

NUM_FOLDS = 5
# Comparison with what was measured never looks at the foreground.
NO_STATISTICS = IntensityStatistics(
    mean=0, std=1, minimum=0, maximum=1, percentile_00_5=0, median=0.5, percentile_99_5=1
)
Change = Callable[[Image], Image]


@dataclass(frozen=True)
class Cases:
    """The images of a dataset in memory, those of imagesTs apart."""

    name: str
    channels: tuple[ChannelPlan, ...]
    training: tuple[Image, ...]
    test: tuple[Image, ...]


def loaded(folder: Path) -> Cases:
    """Read a raw dataset's images."""
    description = DatasetDescription.load(folder)
    names = description.channel_names
    ending = description.file_ending
    parts = [
        tuple(read_image(case.images, len(names)) for case in find_cases(folder / part, ending, len(names)))
        for part in ("imagesTr", "imagesTs")
    ]
    return Cases(folder.name, tuple(map(channel_plan, names)), parts[0], parts[1])


def channel_plan(name: str) -> ChannelPlan:
    """A channel as the default planner has it."""
    scheme = normalization(name, NO_STATISTICS).value
    return ChannelPlan(name=name, normalization=scheme, use_mask=False, statistics=NO_STATISTICS)


def looks(appearances: Sequence[Appearance], channels: tuple[ChannelPlan, ...]) -> TrainingLooks:
    """What training would store of these cases."""
    usual = UsualImages.of(appearances, [channel.normalization for channel in channels])
    return TrainingLooks(channels, "as_stored", usual)


def judged(cases: Cases, change: Change, of: Cases | None = None, folds: int = NUM_FOLDS) -> list[Likeness]:
    """Every training case by the others' folds, and the test cases by the first; or all of another dataset."""
    appearances = [appearance_of(image) for image in cases.training]
    found = []
    for fold in range(folds):
        known = looks([entry for index, entry in enumerate(appearances) if index % NUM_FOLDS != fold], cases.channels)
        held_out = cases.training[fold::NUM_FOLDS] if of is None else of.training
        found += [known.likeness(change(image)) for image in held_out]
        if fold == 0 and of is None:
            found += [known.likeness(change(image)) for image in cases.test]
    return found


def with_channel(cases: Cases, name: str, second: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Cases:
    """The dataset with a second channel made of the first."""
    generator = np.random.default_rng(0)

    def two(image: Image) -> Image:
        both = np.stack([image.array[0], second(image.array[0], generator)]).astype(np.float32)
        return Image(both, image.geometry)

    channels = (*cases.channels, channel_plan(name))
    title = f"{cases.name} + {name}"
    return Cases(title, channels, tuple(map(two, cases.training)), tuple(map(two, cases.test)))


def dose(ct: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A beam's smooth dose in Gy: highest at a place in the body, falling off with distance."""
    centre = [size * generator.uniform(0.4, 0.6) for size in ct.shape]
    squares = sum((axis - place) ** 2 for axis, place in zip(np.indices(ct.shape), centre, strict=True))
    return np.where(ct > -500, generator.uniform(55, 70) * np.exp(-squares / (0.02 * ct.size ** (2 / 3) * 9)), 0)


def inverted(mr: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A second contrast: bright where the first is dark, blurred, with a gain of its own."""
    return np.asarray(ndimage.gaussian_filter(mr.max() - mr, 0.7) * generator.uniform(0.5, 2.0))


def swapped(image: Image) -> Image:
    """The two channels in the other order."""
    return replace(image, array=image.array[::-1].copy())


def zscored(image: Image) -> Image:
    """As a careful user might have prepared it."""
    array = image.array
    return replace(image, array=((array - array.mean()) / (array.std() + 1e-8)).astype(np.float32))


def ct_normalised(image: Image) -> Image:
    """As the CT scheme normalises: clipped and scaled."""
    return replace(image, array=((np.clip(image.array, -150, 350) - 30) / 90).astype(np.float32))


def respaced(*factors: float, order: Sequence[int] = (0, 1, 2)) -> Change:
    """A header with other voxel sizes."""

    def change(image: Image) -> Image:
        old = image.geometry.spacing_mm
        z, y, x = (old[axis] * factor for axis, factor in zip(order, factors, strict=True))
        matrix = image.geometry.matrix
        matrix[:, :3] *= np.array([x / old[2], y / old[1], z / old[0]])
        return replace(image, geometry=Geometry(spacing_mm=(z, y, x), affine=affine_rows(matrix)))

    return change


def turned(image: Image) -> Image:
    """Mirrored along x, header and all."""
    matrix = image.geometry.matrix
    matrix[:, 0] *= -1
    return Image(image.array[..., ::-1].copy(), image.geometry.model_copy(update={"affine": affine_rows(matrix)}))


def main() -> None:
    """Judge, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--dataset", nargs="+", default=["4", "101", "201", "203"])
    options = parser.parse_args()
    workspace = Workspace(options.raw, options.raw, options.raw)
    sets = [loaded(options.raw / workspace.find_dataset(name)) for name in options.dataset]
    twins = [
        with_channel(cases, "dose", dose)
        if cases.channels[0].normalization == "ct"
        else with_channel(cases, "inverted", inverted)
        for cases in sets
    ]
    print(
        "| trained on four fifths of | judged | false alarms | highest score | 95th percentile |\n|---|---|---|---|---|"
    )
    for cases in (*sets, *twins):
        found = judged(cases, lambda image: image)
        scores = [entry.score for entry in found]
        alarms = sum(bool(entry.unlike) for entry in found)
        print(f"| {cases.name} | {len(found)} | {alarms} | {max(scores):.2f} | {np.percentile(scores, 95):.2f} |")
    print("\n| trained on | given | told | of | lowest score | what about |\n|---|---|---|---|---|---|")
    for cases in sets:
        for title, change in changes(cases).items():
            tell(cases.name, title, judged(cases, change, folds=1))
        for other in sets:
            if other is not cases:
                tell(cases.name, f"{other.name} as it is", judged(cases, lambda image: image, of=other, folds=1))
    for cases in twins:
        tell(cases.name, "channels swapped", judged(cases, swapped, folds=1))


def changes(cases: Cases) -> dict[str, Change]:
    """What is done to a dataset's images: headers only where there are any."""
    found: dict[str, Change] = {"z-scored": zscored}
    if cases.channels[0].normalization == "ct":
        found["CT normalised already"] = ct_normalised
    if cases.training[0].geometry.num_spatial_dims == 3:
        found |= {
            "voxel size x 10": respaced(10, 10, 10),
            "voxel size in cm": respaced(0.1, 0.1, 0.1),
            "slice distance x 2": respaced(2, 1, 1),
            "mirrored along x": turned,
        }
        z, _, x = cases.training[0].geometry.spacing_mm
        if z != x:
            found["header's x and z swapped"] = respaced(1, 1, 1, order=(2, 1, 0))
    return found


def tell(trained: str, given: str, found: Sequence[Likeness]) -> None:
    """Print a row."""
    told = [entry for entry in found if entry.unlike]
    kinds = Counter(oddity.about for entry in told for oddity in entry.unlike)
    named = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "-"
    lowest = min(entry.score for entry in found)
    print(f"| {trained} | {given} | {len(told)} | {len(found)} | {lowest:.1f} | {named} |")


if __name__ == "__main__":
    main()
