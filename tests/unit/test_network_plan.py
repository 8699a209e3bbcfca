"""Sizes that a network takes, and what is written of its options."""

from __future__ import annotations

import pytest

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan, Padding


def plan_of(stages: int, dims: int, padding: Padding = "valid", flat: int = 0) -> NetworkPlan:
    kernel = (3,) * dims
    return NetworkPlan(
        name="any",
        features=(4,) * stages,
        kernel_sizes=tuple((1, *kernel[1:]) if stage < flat else kernel for stage in range(stages)),
        strides=((1,) * dims, *((2,) * dims,) * (stages - 1)),
        num_convs_encoder=(2,) * stages,
        num_convs_decoder=(2,) * (stages - 1),
        padding=padding,
    )


@pytest.mark.parametrize(("size", "output"), [(188, 4), (204, 20), (572, 388), (700, 516), (716, 532)])
def test_the_u_net_of_2015_takes_16_k_plus_60(size: int, output: int) -> None:
    plan = plan_of(5, 2)
    assert plan.takes((size, size))
    assert not plan.takes((size, size + 8))
    assert plan.output_size((size, size)) == (output, output)
    assert plan.legal_size((size - 15, size - 0.5)) == (size, size)
    assert (plan.halo, plan.divisor, plan.remainder) == ((92, 92), (16, 16), (12, 12))


@pytest.mark.parametrize(("size", "output"), [(92, 4), (100, 12), (116, 28), (132, 44), (156, 68)])
def test_the_3d_u_net_takes_8_k_plus_4(size: int, output: int) -> None:
    plan = plan_of(4, 3)
    assert plan.takes((size,) * 3)
    assert plan.output_size((size,) * 3) == (output,) * 3


def test_no_input_is_so_small_that_nothing_comes_out() -> None:
    plan = plan_of(5, 2)
    assert not plan.takes((172, 172))
    assert plan.legal_size((1, 1)) == (188, 188)


def test_flat_kernels_lose_nothing_along_their_axis() -> None:
    assert plan_of(3, 3, flat=3).halo == (0, 20, 20)


def test_padded_networks_take_multiples_of_their_strides() -> None:
    plan = plan_of(4, 2, "same")
    assert (plan.halo, plan.remainder) == ((0, 0), (0, 0))
    assert plan.legal_size((1, 17)) == (8, 24)
    assert plan.smallest_size == (16, 16)
    assert plan.takes((8, 24))
    assert not plan.takes((8, 20))
    assert not plan.takes((0, 8))


@pytest.mark.parametrize(
    ("wanted", "nearest"), [((24, 32), (24, 32)), ((8, 32), (8, 32)), ((21, 35), (24, 32)), ((9, 28), (16, 32))]
)
def test_the_nearest_size_keeps_what_is_legal(wanted: tuple[int, ...], nearest: tuple[int, ...]) -> None:
    assert plan_of(4, 2, "same").nearest_size(wanted) == nearest


def test_options_are_an_object_in_the_file_and_left_out_where_there_are_none() -> None:
    plan = plan_of(2, 2)
    written = plan.model_copy(update={"options": (("norm", "batch"), ("window", (7, 7)))}).model_dump(mode="json")
    assert written["options"] == {"norm": "batch", "window": [7, 7]}
    assert written["padding"] == "valid"
    read = NetworkPlan.parse({**written, "options": {"window": [7, 7], "norm": "batch"}}, "test")
    assert read.options == (("norm", "batch"), ("window", (7, 7)))
    assert hash(read) == hash(read.model_copy())
    assert not {"options", "padding"} & set(plan_of(2, 2, "same").model_dump(mode="json"))
    with pytest.raises(RequestError, match="padding"):
        NetworkPlan.parse({**written, "padding": "reflect"}, "test")
