"""Units of length as microscopy files write them, in millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Spellings of OME-XML (`UnitsLength`), of NGFF (UDUNITS-2 names) and of ImageJ's "Set Scale".
_SPELLINGS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (1e-7, ("å", "angstrom", "ångström")),
    (1e-9, ("pm", "picometer", "picometre")),
    (1e-6, ("nm", "nanometer", "nanometre")),
    (1e-3, ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre")),
    (1.0, ("mm", "millimeter", "millimetre")),
    (10.0, ("cm", "centimeter", "centimetre")),
    (1000.0, ("m", "meter", "metre")),
    (25.4, ("in", "inch")),
)
_MM: Mapping[str, float] = MappingProxyType({name: size for size, names in _SPELLINGS for name in names})


def mm_per_unit(unit: str) -> float | None:
    """Millimetres in a unit of length; `None` for pixels, unknown words and nothing."""
    return _MM.get(unit.strip().lower())
