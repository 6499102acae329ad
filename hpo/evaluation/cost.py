"""What training costs, in a measure that does not depend on the machine: two runs decide alike."""

from collections.abc import Sequence

FLOOR_PARAMETERS = 20_000
"""A step of a tiny network costs about as much as the arithmetic of so many parameters. With it, the logarithm of the
cost correlates 0.90 to 0.93 with that of measured seconds on three tables, 0.83 to 0.88 without."""


def training_cost(parameters: int, best_epochs: Sequence[int], patience: int) -> float:
    """Parameters times epochs of a replicate of the mean length; replicates differ little in rows, and if they do, as
    forward in time, in the same way for all trials.

    Training ends so many epochs after the best one, or sooner at the most that are allowed, which makes little odds.
    """
    return (parameters + FLOOR_PARAMETERS) * (sum(best_epochs) / len(best_epochs) + 1 + patience)
