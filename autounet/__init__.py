"""autounet: a self-configuring segmentation pipeline around the U-Net."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]

if TYPE_CHECKING:
    from autounet.interface import Predictor


def __getattr__(name: str) -> object:
    # Imported when asked for: PyTorch takes seconds, and the command line's help does without.
    if name == "Predictor":
        from autounet.interface import Predictor

        return Predictor
    raise AttributeError(f"module 'autounet' has no attribute '{name}'")
