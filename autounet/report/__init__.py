"""Pictures of what the pipeline did."""

from autounet.report.overlay import write_overlay

__all__ = ["write_overlay"]
