"""What an earlier stage of a cascade found in each case, on the grid of the second stage's prepared cases.

A case is one file, `NAME_HASH.b2nd`, in a folder beside the prepared cases. The hash is that of the mask it was made
from and of the prepared case that it belongs to, so a file that is there is whole, and the right one.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autounet.data.io import read_label
from autounet.errors import RequestError
from autounet.geometry import Array
from autounet.labels import LabelSchema
from autounet.plans import Plan
from autounet.preprocessing.case import prepare_mask
from autounet.preprocessing.store import PreparedStore

# Raised whenever the code makes something else of the same mask.
_FORMAT = "1"


@dataclass(frozen=True)
class PreviousStage:
    """An earlier stage's predictions of the training cases.

    Attributes:
        store: The prepared cases of the second stage.
        name: Of the first stage's model; its predictions lie in `STORE/previous_NAME/`.
        labels: What the values mean.
        masks: Its prediction of every case, on the raw image's grid.
        paths: The same on the second stage's grid.
    """

    store: PreparedStore
    name: str
    labels: LabelSchema
    masks: Mapping[str, Path]
    paths: Mapping[str, Path]

    @classmethod
    def of(cls, store: PreparedStore, name: str, labels: LabelSchema, masks: Mapping[str, Path]) -> PreviousStage:
        """Of masks that lie there; their content names what is prepared of them."""
        folder = store.folder / f"previous_{name}"
        paths = {
            case: folder / f"{case}_{_digest(store.record(case).recipe, mask)}.b2nd" for case, mask in masks.items()
        }
        return cls(store, name, labels, masks, paths)

    def prepare(self, case: str, plan: Plan) -> bool:
        """Put the prediction of a case onto the grid of the prepared case, unless that lies ready.

        Returns:
            Whether it had to be made.

        Raises:
            RequestError: The mask is not of the size of the case.
        """
        path = self.paths[case]
        if path.exists():
            return False
        mask, _ = read_label(self.masks[case])
        try:
            prepared = prepare_mask(mask, self.store.record(case).properties, plan)
        except RequestError as error:
            raise RequestError(f"{self.masks[case]}: {error}") from None
        self.store.write_label(path, prepared)
        for old in path.parent.glob(f"{glob.escape(case)}_{'[0-9a-f]' * 16}.b2nd"):
            if old != path:  # of a first stage that was trained anew
                old.unlink(missing_ok=True)
        return True

    def segmentation(self, case: str) -> Any:
        """The prediction of a case `(1, Z, Y, X)`, memory-mapped."""
        return self.store.open_array(self.paths[case])

    def channels(self, case: str) -> Array:
        """The prediction of a case as input channels `(num_foreground_values, Z, Y, X)`, float32."""
        return self.labels.value_masks(self.segmentation(case)[0]).astype(np.float32)


def _digest(recipe: str, mask: Path) -> str:
    digest = hashlib.sha256()
    for part in (_FORMAT.encode(), recipe.encode(), mask.read_bytes()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
