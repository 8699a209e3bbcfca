"""How much surface lies between the voxels of a 2 x 2 x 2 neighbourhood (in 2D, how long a contour in 2 x 2 pixels).

A surface is cut into elements, one where eight voxel centres, the corners of a cube, do not all lie on the same side.
The element is that of marching cubes (Lorensen and Cline 1987) with the level halfway: it cuts every edge of the cube
between an inner and an outer corner in the middle. On each side of the cube, the cuts are linked by lines; where four
meet, so that corners of the same kind touch diagonally, the kind that the cube has fewer of is cut off. The lines close
to loops, and each loop is filled with flat triangles between its points, so that their area is the largest.

These are the elements that the published implementation of the surface Dice weighs by (Nikolov et al. 2018, "Deep
learning to achieve clinically applicable segmentation of head and neck anatomy for radiotherapy", section on the
surface DSC).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Point = tuple[float, ...]
Polygon = Sequence[Point]


def neighbour_codes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The code of every neighbourhood: bit `i` is set where its corner `i`, in C order, lies in the mask.

    Args:
        mask: `(*spatial)` of two or three axes; beyond its edges lies nothing.

    Returns:
        One more on each axis than the mask. 0 is outside, the largest code inside, all between is surface.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        codes |= padded[tuple(slice(at, at + size) for at, size in zip(corner, codes.shape, strict=True))] << bit
    return codes


def element_areas(spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """The area in mm^2 of the surface in a neighbourhood of each code; in 2D, the length in mm of the contour.

    Args:
        spacing_mm: Of three axes, or of two.
    """
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    # Stretching an axis stretches the projections along the other axes.
    stretched = _normals(len(spacing)) * (spacing.prod() / spacing)
    return np.asarray(np.linalg.norm(stretched, axis=-1).sum(axis=-1))


@functools.cache
def _normals(num_axes: int) -> npt.NDArray[np.float64]:
    """`(num_codes, most_pieces, num_axes)`: normals of each code's flat pieces, as long as the pieces are large."""
    corners: list[Point] = list(itertools.product((0.0, 1.0), repeat=num_axes))
    of_codes = []
    for code in range(2 ** len(corners)):
        inner = {corner: bool(code >> bit & 1) for bit, corner in enumerate(corners)}
        many = 2 * sum(inner.values()) > len(corners)
        fewer = {corner: is_inner != many for corner, is_inner in inner.items()}
        of_codes.append(_contour(fewer) if num_axes == 2 else _surface(fewer))
    most = max(map(len, of_codes))
    return np.array([[*pieces, *([(0.0,) * num_axes] * (most - len(pieces)))] for pieces in of_codes])


def _contour(fewer: Mapping[Point, bool]) -> list[Point]:
    """Normals of the lines in a square."""
    lines = _lines(fewer, ((0, 0), (0, 1), (1, 1), (1, 0)))
    return [(second[1] - first[1], first[0] - second[0]) for first, second in lines]


def _surface(fewer: Mapping[Point, bool]) -> list[Point]:
    """Normals of the triangles in a cube."""
    linked: dict[Point, list[Point]] = {}
    for axis, at in itertools.product(range(3), (0.0, 1.0)):
        side = [(*around[:axis], at, *around[axis:]) for around in ((0, 0), (0, 1), (1, 1), (1, 0))]
        for first, second in _lines(fewer, side):
            linked.setdefault(first, []).append(second)
            linked.setdefault(second, []).append(first)
    normals = []
    while linked:
        filled = [[_normal(triangle) for triangle in triangles] for triangles in _triangulations(_loop(linked))]
        normals += max(filled, key=lambda triangles: sum(math.hypot(*normal) for normal in triangles))
    return normals


def _lines(fewer: Mapping[Point, bool], square: Sequence[Point]) -> list[tuple[Point, Point]]:
    """What links the cut edges of a square, whose corners are given in turn."""
    edges = zip(square, (*square[1:], square[0]), strict=True)
    cuts = [tuple((p + q) / 2 for p, q in zip(a, b, strict=True)) for a, b in edges if fewer[a] != fewer[b]]
    # The first two of four lie beside the second corner.
    if len(cuts) == 4 and not fewer[square[1]]:
        cuts = [*cuts[1:], cuts[0]]
    return list(zip(cuts[::2], cuts[1::2], strict=True))


def _loop(linked: dict[Point, list[Point]]) -> Polygon:
    """Take one loop out of points that are linked to two others each."""
    loop = [next(iter(linked))]
    while following := [point for point in linked.pop(loop[-1]) if point in linked]:
        loop.append(following[0])
    return loop


def _triangulations(polygon: Polygon) -> Iterator[list[Polygon]]:
    """Every way to cut a polygon into triangles between its points."""
    if len(polygon) < 3:
        yield []
        return
    for tip in range(1, len(polygon) - 1):
        for before in _triangulations(polygon[: tip + 1]):
            for after in _triangulations(polygon[tip:]):
                yield [*before, (polygon[0], polygon[tip], polygon[-1]), *after]


def _normal(triangle: Polygon) -> Point:
    """Half the cross product of two edges."""
    (a, b, c), (d, e, f) = ([p - q for p, q in zip(point, triangle[0], strict=True)] for point in triangle[1:])
    return ((b * f - c * e) / 2, (c * d - a * f) / 2, (a * e - b * d) / 2)
