"""Windows and their masks against what is written out token by token."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from autounet.networks.swin import SwinBlock, WindowAttention
from autounet.networks.windows import Windows, fitting_edge, partition, relative_places, unpartition

# Size of the map, edges of a window.
MAPS = [
    ((8, 8), (4, 4)),
    ((7, 7), (7, 7)),
    ((9, 6), (4, 4)),
    ((5, 11), (3, 7)),
    ((4, 6, 5), (2, 3, 4)),
    ((1, 7, 8), (2, 3, 4)),
]
CPU = torch.device("cpu")


def places_of(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, size)))


def see_each_other(first: tuple[int, ...], second: tuple[int, ...], windows: Windows) -> bool:
    """Whether two tokens lie in one cell of a grid that begins `shift` after the origin: nothing wraps around."""
    return all(
        (here - shift) // edge == (there - shift) // edge
        for here, there, shift, edge in zip(first, second, windows.shift, windows.edges, strict=True)
    )


def attention_written_out(attention: WindowAttention, x: Tensor, windows: Windows) -> Tensor:
    """Every token of a map `(*spatial, C)` against every other, those left out that it must not see."""
    places, heads = places_of(windows.size), attention.num_heads
    tokens = x.flatten(0, -2)
    query, key, value = (part.unflatten(-1, (heads, -1)) for part in attention.inputs(tokens).chunk(3, dim=-1))
    scores = torch.einsum("ihc,jhc->hij", query, key) / math.sqrt(query.shape[-1])
    table = attention.bias_table.detach().view(*(2 * edge - 1 for edge in attention.edges), heads)
    bias = torch.full_like(scores, -math.inf)
    for (row, here), (column, there) in itertools.product(enumerate(places), repeat=2):
        if see_each_other(here, there, windows):
            difference = (i - j + edge - 1 for i, j, edge in zip(here, there, attention.edges, strict=True))
            bias[:, row, column] = table[tuple(difference)]
    mixed = torch.einsum("hij,jhc->ihc", torch.softmax(scores + bias, -1), value)
    result: Tensor = attention.output(mixed.flatten(1)).view_as(x)
    return result


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "edges"), MAPS)
def test_attention_in_windows_is_that_of_every_pair_of_tokens(
    size: tuple[int, ...], edges: tuple[int, ...], shifted: bool
) -> None:
    torch.manual_seed(0)
    block = SwinBlock(4, 2, edges, shifted=shifted)
    torch.nn.init.normal_(block.attention.bias_table)
    windows, x = Windows.of(size, edges, shifted=shifted), torch.randn(2, *size, 4)
    found = windows.join(block.attention(windows.cut(x), windows.edges, windows.mask(CPU)))
    expected = torch.stack([attention_written_out(block.attention, sample, windows) for sample in x])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "edges"), MAPS)
def test_the_mask_hides_what_lies_in_other_cells_and_padding(
    size: tuple[int, ...], edges: tuple[int, ...], shifted: bool
) -> None:
    windows = Windows.of(size, edges, shifted=shifted)
    mask = windows.mask(CPU)
    # Where each token of each window comes from; -1 is padding.
    origin = windows.cut(torch.arange(math.prod(size)).view(1, *size, 1) + 1)[0, :, :, 0] - 1
    places = places_of(size)
    for window, tokens in enumerate(origin.tolist()):
        for (row, first), (column, second) in itertools.product(enumerate(tokens), repeat=2):
            if min(first, second) < 0 <= max(first, second):
                sees = False
            else:
                sees = max(first, second) < 0 or see_each_other(places[first], places[second], windows)
            if max(first, second) >= 0:
                assert (0.0 if mask is None else float(mask[window, 0, row, column])) == (0.0 if sees else -100.0)


def test_windows_of_the_papers_map_are_shifted_by_three_but_for_the_smallest() -> None:
    assert Windows.of((56, 56), (7, 7), shifted=True).shift == (3, 3)
    assert Windows.of((7, 7), (7, 7), shifted=True).shift == (0, 0)
    assert Windows.of((56, 56), (7, 7), shifted=False).shift == (0, 0)


def test_a_window_is_no_longer_than_its_map() -> None:
    windows = Windows.of((3, 20), (7, 7), shifted=True)
    assert windows.edges == (3, 7)
    assert windows.shift == (0, 3)
    assert windows.padded == (3, 21)


def test_the_shifted_mask_of_a_small_map_by_hand() -> None:
    # A row of four tokens in windows of two, shifted by one: b c | d a, where d and a do not see each other.
    mask = Windows.of((1, 4), (1, 2), shifted=True).mask(CPU)
    assert mask is not None
    assert mask[:, 0].tolist() == [[[0, 0], [0, 0]], [[0, -100], [-100, 0]]]


def test_tokens_of_a_window_keep_their_order() -> None:
    x = torch.arange(16).view(1, 4, 4, 1)
    assert partition(x, (2, 2))[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "edges"), MAPS)
def test_joining_undoes_cutting(size: tuple[int, ...], edges: tuple[int, ...], shifted: bool) -> None:
    x = torch.randn(2, *size, 3)
    windows = Windows.of(size, edges, shifted=shifted)
    assert torch.equal(windows.join(windows.cut(x)), x)


def test_partition_is_undone() -> None:
    x = torch.randn(2, 4, 6, 3, 5)
    assert torch.equal(unpartition(partition(x, (2, 3, 1)), (2, 3, 1), (4, 6, 3)), x)


def test_biases_stand_where_the_papers_table_has_them() -> None:
    # Differences -1, 0, 1 along both axes, so that (0, 0) is entry 4 of 9.
    expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    assert relative_places((2, 2), (2, 2), CPU).tolist() == expected


def test_a_smaller_window_uses_the_same_entries() -> None:
    assert relative_places((1, 2), (2, 2), CPU).tolist() == [[4, 3], [5, 4]]


@pytest.mark.parametrize(
    ("maps", "edge"),
    [
        ((56, 28, 14, 7), 7),
        ((128, 64, 32, 16), 8),
        ((64, 32, 16, 8), 8),
        ((48, 24, 12, 6), 6),
        ((20, 10, 5), 5),
        ((5, 5, 5), 5),
        ((3, 3), 3),
        ((1, 1), 1),
        ((26, 13), 7),
    ],
)
def test_the_edge_of_windows_fits_all_maps(maps: tuple[int, ...], edge: int) -> None:
    assert fitting_edge(maps, 7) == edge
