"""Whether a sampler should prefer cheap proposals: TPE over the stored full runs.

    python benchmarks/cheap_proposals.py [--studies 40] [--first-seed 0]

TPE proposes a point of `mlp`, or several of which the one with the fewest parameters is taken; the study then evaluates
the nearest stored point that it has not had, with its real losses and seconds, under the default racing and pruning.
Printed: training seconds until a trial within a quarter of a standard error of the table's winner has all replicates,
and the ratio to a single proposal, paired by seed: a geometric mean with the standard error of its logarithm.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from hpo_spaces.mlp import MLP
from hpo_storage.records import RANKED, Outcome
from racing import MAX_EPOCHS, NEAR, REPLICATES, TABLES, FullTrial, cost_of, load, replay_trial

from hpo.search.incumbent import Leaderboard
from hpo.search.samplers import Proposer
from hpo.seeds import generator
from hpo.settings import SearchSpec

RANDOM_TRIALS, FREE_TRIALS = 5, 10
"""Trials before TPE proposes, and before cheap ones are preferred: TPE's own first ten are random."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--studies", type=int, default=40)
    arguments.add_argument("--first-seed", type=int, default=0)
    arguments.add_argument("--proposals", type=int, default=3)
    options = arguments.parse_args()
    for table in TABLES:
        trials = load(table)
        seeds = range(options.first_seed, options.first_seed + options.studies)
        single = np.array([seconds_to_quality(trials, seed, 1) for seed in seeds])
        cheap = np.array([seconds_to_quality(trials, seed, options.proposals) for seed in seeds])
        ratios = np.log(cheap / single)
        error = ratios.std(ddof=1) / len(ratios) ** 0.5
        means = f"{single.mean():.1f} s, cheapest of {options.proposals} {cheap.mean():.1f} s"
        print(f"{table:16} {means}, ratio {np.exp(ratios.mean()):.2f}, log ± {error:.2f}", flush=True)


def seconds_to_quality(trials: Sequence[FullTrial], seed: int, proposals: int) -> float:
    """Training seconds of one study that takes the smallest of so many proposals."""
    points = [MLP.decode(generator(1, "sample", slot=trial.number).random(MLP.size)) for trial in trials]
    near = good_enough(trials)
    # Several proposers that observe the same trials differ in their random streams only.
    samplers = [Proposer("tpe", seed + 7919 * n, MLP) for n in range(proposals)]
    board, random = Leaderboard(SearchSpec(), MAX_EPOCHS, cost_of), np.random.default_rng(seed)
    left, spent = list(range(len(trials))), 0.0
    for slot in range(len(trials)):
        if slot < RANDOM_TRIALS:
            chosen = int(random.choice(left))
        else:
            asked = samplers[:1] if slot < FREE_TRIALS else samplers
            offers = [nearest(points, left, sampler.propose(slot)) for sampler in asked]
            chosen = min(offers, key=lambda number: trials[number].parameters)
        left.remove(chosen)
        seconds, outcome = replay_trial(trials[chosen], board.rules(slot))
        spent += seconds
        board.add(chosen, outcome)
        for sampler in samplers:
            sampler.observe(slot, points[chosen], outcome)
        if is_good(outcome, near):
            break
    return spent


def good_enough(trials: Sequence[FullTrial]) -> float:
    """The loss (nats) that counts as the winner's."""
    winner = min(trials, key=lambda trial: trial.value)
    spread = np.std([float(r.score_loss or 0.0) for r in winner.replicates], ddof=1)
    return float(winner.value + NEAR * spread / REPLICATES**0.5)


def nearest(points: Sequence[dict[str, Any]], left: Sequence[int], point: dict[str, Any]) -> int:
    """The number of the closest point that is left; another activation is as far as 0.4 of a dimension's range."""
    numeric = [index for index, dimension in enumerate(MLP.dimensions) if dimension.name != "activation"]

    def distance(number: int) -> float:
        difference = np.asarray(MLP.encode(points[number])) - np.asarray(MLP.encode(point))
        other = points[number]["activation"] != point["activation"]
        return float((difference[numeric] ** 2).sum() + 0.4**2 * other)

    return min(left, key=distance)


def is_good(outcome: Outcome, near: float) -> bool:
    """Whether the trial has all replicates and the loss wanted."""
    return outcome.state in RANKED and outcome.value is not None and outcome.value <= near


if __name__ == "__main__":
    main()
