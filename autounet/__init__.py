"""autounet: a self-configuring segmentation pipeline around the U-Net."""

__version__ = "0.1.0"
