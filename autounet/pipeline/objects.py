"""Count and number the objects of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.progress import SILENT, Reporter

if TYPE_CHECKING:
    from autounet.inference.instance_files import CountedImage


def instances(
    masks: Path,
    output: Path,
    *,
    classes: Sequence[str] = (),
    split: bool = True,
    min_voxels: int = 1,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> list[CountedImage]:
    """Tell the objects of every mask of a folder apart, number, measure and count them.

    Args:
        masks: Label maps, with a `dataset.json` beside them or in the folder above.
        output: Gets a map of each, `objects.csv` and `counts.csv`.
        classes: Names of the classes of objects; all by default.
        split: Cut connected parts of a class without borders where they are narrow.
        min_voxels: Smaller objects are left out.
        jobs: Processes; one a core by default.
        reporter: Shows the progress.

    Raises:
        RequestError: The folder holds no label maps or no `dataset.json`, or the classes asked for do not fit.
        DataError: Some files cannot be read or hold values without a class; all others were done.
    """
    from autounet.inference.instance_files import separate_folder
    from autounet.inference.instances import InstanceOptions
    from autounet.parallel import available_cpus

    options = InstanceOptions(tuple(classes), split=split, min_voxels=min_voxels)
    return separate_folder(masks, output, options, jobs=jobs or available_cpus(), reporter=reporter)
