"""Colours of pictures: a class has the same one in all of them."""

from __future__ import annotations

TEXT_COLOUR, BACKGROUND_COLOUR = "#f2f2f2", "#161616"

# The Okabe-Ito palette without black and grey (jfly.uni-koeln.de/color, 2008), distinct for all common kinds of
# colour vision, the strongest hues on grey first; then lighter and darker ones of Tol's "muted" and "light" schemes.
PALETTE = (
    "#E69F00", "#56B4E9", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#0072B2",
    "#EE8866", "#44BB99", "#FFAABB", "#AA4499", "#BBCC33", "#88CCEE", "#882255", "#DDCC77", "#99DDFF",
)  # fmt: skip


def class_colour(index: int) -> str:
    """The colour of foreground class `index`, as `#RRGGBB`; beyond the palette's end colours come again."""
    return PALETTE[index % len(PALETTE)]
