"""Which of several models or ensembles to use: the best, unless a cheaper one is as good as far as can be told.

All are scored on the same cases, none of which their networks had seen. That one mean is higher than another by .001
says nothing if other cases of the same kind could as well turn it round; the paired bootstrap over cases tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autounet.evaluation.bootstrap import Interval, PairedDifference, mean_interval, paired_difference
from autounet.evaluation.tables import Table, foreground_mean, on_same_cases
from autounet.records import Record

# Of fewer cases, a bootstrap interval is too narrow to be believed.
_FEW_CASES = 10


@dataclass(frozen=True)
class Candidate:
    """A model, or an ensemble of several.

    Attributes:
        name: For people.
        members: Names of its models.
        cost: Of a case; only ratios matter.
        dice: `(num_cases, num_classes)`, NaN where there is nothing to score.
    """

    name: str
    members: tuple[str, ...]
    cost: float
    dice: Table


class Standing(Record):
    """How a candidate did.

    Attributes:
        name: For people.
        members: Names of its models.
        dice: Mean foreground Dice.
        interval: Of that mean; `None` of fewer than two cases.
        cost: Of a case, in that of the cheapest candidate.
        behind: By how much the best is better, case by case; `None` for the best itself, or of fewer than two cases.
        is_noise: The best is not better by more than chance explains; true of the best itself.
    """

    name: str
    members: tuple[str, ...]
    dice: float
    interval: Interval | None
    cost: float
    behind: PairedDifference | None
    is_noise: bool


class Choice(Record):
    """What was chosen, and why.

    Attributes:
        chosen: Name of the candidate.
        members: Its models.
        standings: Of all candidates, the highest Dice first.
        reasons: In plain sentences.
    """

    chosen: str
    members: tuple[str, ...]
    standings: tuple[Standing, ...]
    reasons: tuple[str, ...]


def choose(candidates: Sequence[Candidate]) -> Choice:
    """Choose the cheapest candidate that the best is not better than by more than chance explains.

    Of equal cost the higher Dice counts, then the order given.
    """
    tables = on_same_cases([candidate.dice for candidate in candidates])
    means = [foreground_mean(table) for table in tables]
    order = sorted(range(len(candidates)), key=lambda index: (-means[index], candidates[index].cost))
    best, cheapest = order[0], min(candidate.cost for candidate in candidates)
    standings = []
    for index in order:
        behind = None if index == best else paired_difference(tables[best], tables[index])
        standings.append(
            Standing(
                name=candidates[index].name,
                members=candidates[index].members,
                dice=means[index],
                interval=mean_interval(tables[index]),
                cost=candidates[index].cost / cheapest,
                behind=behind,
                is_noise=behind is None or behind.low <= 0,
            )
        )
    chosen = min((standing for standing in standings if standing.is_noise), key=lambda standing: standing.cost)
    return Choice(
        chosen=chosen.name,
        members=chosen.members,
        standings=tuple(standings),
        reasons=_reasons(chosen, standings, len(tables[0])),
    )


def _reasons(chosen: Standing, standings: Sequence[Standing], num_cases: int) -> tuple[str, ...]:
    best = standings[0]
    if len(standings) == 1:
        return (f"{best.name} is the only model: Dice {_with_interval(best)} over {num_cases} cases.",)
    said = [f"{best.name} has the highest Dice, {_with_interval(best)} over {num_cases} cases."]
    if chosen is best:
        said += [
            _clearly_behind(best, other) for other in standings[1:] if other.cost < best.cost and not other.is_noise
        ]
        said += [
            f"{other.name} may be as good, but costs {other.cost / best.cost:.1f} times as much."
            for other in standings[1:]
            if other.is_noise and other.cost > best.cost
        ]
    elif chosen.behind is None:
        said.append(f"{num_cases} case tells nothing of chance, so the cheaper {chosen.name} is chosen.")
    else:
        said.append(
            f"It is better than {chosen.name} by {_of(chosen.behind)}. That interval holds 0: other cases of the same "
            f"kind could turn it round. {chosen.name} takes {chosen.cost / best.cost:.2g} of its arithmetic, so "
            f"{chosen.name} is chosen."
        )
    if num_cases < _FEW_CASES:
        said.append(f"{num_cases} cases are few: their intervals are narrower than they should be.")
    return tuple(said)


def _clearly_behind(best: Standing, other: Standing) -> str:
    assert other.behind is not None
    return (
        f"{other.name} takes {other.cost / best.cost:.2g} of its arithmetic, but is worse by {_of(other.behind)}, more "
        "than chance explains."
    )


def _with_interval(standing: Standing) -> str:
    interval = standing.interval
    return f"{standing.dice:.4f}" + ("" if interval is None else f" ({interval.low:.4f} to {interval.high:.4f})")


def _of(difference: PairedDifference) -> str:
    return f"{difference.difference:.4f} ({difference.low:.4f} to {difference.high:.4f})"
