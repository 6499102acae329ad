"""Everything that may cut a trial short, as one value that is settled when its slot is claimed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.search.pruners import Incumbent, curve_is_hopeless, race_is_lost
from hpo.search.rungs import REDUCTION, Rung, is_behind

HOPELESS = "learning curve cannot reach the incumbent's"
BEHIND = f"loss not among the best 1/{REDUCTION} after as many epochs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a trainer asks after each epoch (`prunes`) and after each block of replicates (`drops`).

    `incumbent` is None where there is nothing to compare with. `curves` are judged against it; `rungs` against other
    trials. In 500 replayed studies of each of five tables, race and curves together lost the winner of a study without
    them in 2.2% (segment; 95% interval 1.2 to 3.9%) and 0% (the others), with a median regret of 0; halving lost it in
    up to 52%, Hyperband in up to 29% (`benchmarks/racing.py`, docs/search.md).
    """

    incumbent: Incumbent | None = None
    racing: bool = True
    curves: bool = True
    rungs: tuple[Rung, ...] = ()

    @property
    def decides_early(self) -> bool:
        """Whether a first replicate can lose the race, so that it is worth training alone."""
        return self.racing and self.incumbent is not None and self.incumbent.score_deviation is not None

    @property
    def pruned_because(self) -> str:
        """The reason of a pruned trial."""
        return BEHIND if self.rungs else HOPELESS

    def prunes(self, replicate: int, curve: Sequence[float], max_epochs: int) -> bool:
        """Whether this replicate's stop losses so far, by epoch, end the trial."""
        if replicate == 0 and is_behind(self.rungs, curve):
            return True
        return (
            self.curves
            and self.incumbent is not None
            and curve_is_hopeless(self.incumbent, replicate, curve, max_epochs)
        )

    def drops(self, score_losses: Mapping[int, float], cost: float | None) -> bool:
        """Whether the trial loses the race by its score losses by replicate so far and its `training_cost`."""
        return self.racing and self.incumbent is not None and race_is_lost(self.incumbent, score_losses, cost)
