"""Losses as they are written: what is understood, and what is refused with the way out."""

from __future__ import annotations

import pytest

from autounet.errors import RequestError
from autounet.labels import LabelClass, LabelSchema
from autounet.losses.cross_entropy import CrossEntropy, DiceTopK, Focal, UNet2015
from autounet.losses.options import build_loss
from autounet.losses.overlap import Dice, Tversky

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))


def test_a_name_alone_is_the_defaults() -> None:
    loss = build_loss("focal", LABELS, batch_dice=True)
    assert isinstance(loss, Focal)
    assert (loss.gamma, loss.alpha, loss.batch_dice) == (2.0, 0.25, True)


def test_what_is_given_differs_from_the_defaults() -> None:
    tversky = build_loss("tversky, alpha=0.2, beta=0.8", LABELS, batch_dice=False)
    assert isinstance(tversky, Tversky)
    assert (tversky.alpha, tversky.beta) == (0.2, 0.8)
    focal = build_loss("focal,alpha=none", LABELS, batch_dice=False)
    assert isinstance(focal, Focal)
    assert focal.alpha is None
    weighted = build_loss("cross_entropy,class_weights=1/2.5", LABELS, batch_dice=False)
    assert isinstance(weighted, CrossEntropy)
    assert weighted.class_weights == (1.0, 2.5)
    unet = build_loss("unet2015,balance=false,w0=5", LABELS, batch_dice=False)
    assert isinstance(unet, UNet2015)
    assert (unet.balance, unet.w0) == (False, 5.0)
    topk = build_loss("autounet.losses.cross_entropy:DiceTopK,k=5", LABELS, batch_dice=False)
    assert isinstance(topk, DiceTopK)
    assert topk.k == 5


def test_the_plan_is_overruled() -> None:
    loss = build_loss("dice,batch_dice=true", LABELS, batch_dice=False)
    assert isinstance(loss, Dice)
    assert loss.batch_dice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dice_cee", "unknown loss 'dice_cee'. Did you mean 'dice_ce'?"),
        ("focal,gama=2", "the loss 'focal' has no 'gama'. Did you mean 'gamma'? It has batch_dice, gamma, alpha."),
        ("focal,2", "'2' is no option of the loss 'focal': write focal,key=value"),
        ("focal,gamma=two", "the loss 'focal': gamma=two: Input should be a valid number"),
        ("focal,gamma=-1", "the loss's gamma is -1.0; it must be 0 or more"),
        ("focal,alpha=1.5", "the loss's alpha is 1.5; it must be between 0 and 1, or none"),
        ("topk,k=0", "the loss's k is 0.0; it must be a percentage above 0"),
        ("tversky,alpha=0,beta=0", "the loss's alpha and beta is (0.0, 0.0)"),
        ("focal_tversky,gamma=0", "gamma is 0.0; it must be more than 0"),
        ("cldice,num_iterations=2.5", "num_iterations=2.5: Input should be a valid integer"),
        ("unet2015,sigma=0", "sigma is 0.0; it must be more than 0"),
        ("boundary,boundary_weight=nan", "boundary_weight is nan; it must be 0 or more"),
        ("dice,smooth=-1", "smooth is -1.0"),
        ("cross_entropy,class_weights=1/2/3", "for each of the 2 classes, as 1/2/1"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        build_loss(text, LABELS, batch_dice=False)
    assert message in str(refused.value)
