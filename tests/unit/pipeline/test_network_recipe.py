"""What is said of a paper's recipe before a run begins."""

from __future__ import annotations

from autounet.pipeline.training import NetworkRecipe, network_recipe
from autounet.training.config import TrainConfig


def paper_config(recipe: NetworkRecipe, **length: float) -> TrainConfig:
    return TrainConfig.model_validate({**recipe.hints.choices, **length})


def test_what_is_used_of_the_paper_is_told() -> None:
    recipe = network_recipe("vnet,variant=released")
    config = paper_config(recipe).model_copy(update={"learning_rate": 1e-2})
    assert recipe.told(config) == (
        "as in Milletari et al., 3DV 2016 (arXiv 1606.04797): optimizer sgd, momentum 0.99, weight_decay 0.0005, "
        "loss dice,squared=true (--recipe clock or nnunet takes ours)"
    )


def test_of_a_short_time_the_recipe_that_is_made_for_it_is_told() -> None:
    recipe = network_recipe("vnet")
    told = recipe.told(paper_config(recipe, max_seconds=900.0))
    assert told is not None
    assert told.endswith("(--recipe clock takes ours, which is made for a given time)")


def test_nothing_is_told_where_nothing_is_used() -> None:
    recipe = network_recipe("mednext")
    assert recipe.told(TrainConfig(optimizer="muon", learning_rate=0.02, loss="cross_entropy")) is None
    assert network_recipe(None).told(TrainConfig()) is None
