"""Networks as they are written: what is understood, and what is refused with the way out."""

from __future__ import annotations

import pytest

from autounet.errors import RequestError
from autounet.networks.choice import NetworkChoice
from autounet.plans import file_label


def test_a_name_alone_is_the_networks_own_options() -> None:
    assert NetworkChoice.of("vnet") == NetworkChoice(name="vnet")


def test_options_are_of_their_types_and_sorted() -> None:
    choice = NetworkChoice.of("attention_unet, gates=2, dropout=0.25")
    assert choice.options == (("dropout", 0.25), ("gates", 2))
    assert str(choice) == "attention_unet,dropout=0.25,gates=2"
    assert NetworkChoice.of(str(choice)) == choice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vnett", "Did you mean 'vnet'"),
        ("vnet,variant", "write vnet,key=value"),
        ("vnet,varian=paper", "no option 'varian'. Did you mean 'variant'.* It has norm"),
        ("vnet,variant=best", "variant.*'paper' or 'released'"),
        ("plain,dropout=1.5", "dropout.*less than 1"),
        ("attention_unet,gates=3", "gates"),
    ],
)
def test_what_is_unknown_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        NetworkChoice.of(text)


def test_a_choice_is_part_of_a_files_name() -> None:
    assert file_label("vnet,variant=paper") == "vnet,variant=paper"
    assert file_label("my_package.networks:Mine,window=7/7") == "my_package.networks.Mine,window=7.7"
