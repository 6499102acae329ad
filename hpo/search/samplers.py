"""Proposals from an in-memory Optuna study that mirrors the finished and pending trials."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import optuna
from hpo_spaces import SearchSpace, Value
from hpo_storage.records import VALUED, Outcome, TrialRecord
from hpo_storage.records import TrialState as OurState
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.search.kept import Kept
from hpo.seeds import integer_seed


class _Known(FrozenTrial):
    """A trial that nothing changes: the copies that Optuna makes of a thousand of them, four fifths of the time of a
    proposal, may share what it holds."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Known":
        return copy(self)


class Proposer:
    """Asks a sampler for points; every slot has its own random stream, so resuming never repeats one."""

    def __init__(self, sampler: str, seed: int, space: SearchSpace) -> None:
        self._sampler, self._seed, self._space = sampler, seed, space
        self._distributions = space.sampling_distributions()
        self._shown: Kept[FrozenTrial] = Kept()

    def observe(self, number: int, params: Mapping[str, Any], result: Outcome | TrialRecord) -> None:
        """Take in a finished trial; failed ones teach the sampler nothing."""
        if result.state in VALUED:
            self._shown.add(number, result.value, self._trial(TrialState.COMPLETE, params, value=result.value))
        elif result.state == OurState.PRUNED:
            # One report for each: TPE ranks pruned trials by how many they have, which is a matter of stacks here.
            reports = {0: result.replicates[0].stop_loss} if result.replicates else {}
            self._shown.add(number, None, self._trial(TrialState.PRUNED, params, intermediate_values=reports))

    def propose(self, slot: int, pending: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The next point for this slot; `pending` are the points under evaluation now.

        The first slots take the space's own starting points, except with the random sampler.
        """
        if self._sampler != "random" and slot < len(self._space.starts):
            return dict(self._space.starts[slot])
        study = self._empty_study(slot)
        if self._sampler != "random":
            study.add_trials(self._shown.by_number())
            study.add_trials([self._trial(TrialState.RUNNING, params) for params in pending])
        trial = study.ask()
        return self._space.draw(lambda name, distribution: _suggest(trial, name, distribution))

    def _empty_study(self, slot: int) -> optuna.Study:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            return optuna.create_study(sampler=self._make_sampler(slot))
        finally:
            optuna.logging.set_verbosity(verbosity)

    def _make_sampler(self, slot: int) -> optuna.samplers.BaseSampler:
        seed = integer_seed(self._seed, "sample", slot=slot)
        if self._sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    def _trial(
        self,
        state: TrialState,
        params: Mapping[str, Any],
        value: float | None = None,
        intermediate_values: dict[int, float] | None = None,
    ) -> FrozenTrial:
        sampled = self._space.to_sampling(params)
        trial = optuna.trial.create_trial(
            state=state,
            params=sampled,
            distributions={name: self._distributions[name] for name in sampled},
            value=value,
            intermediate_values=intermediate_values,
        )
        trial.__class__ = _Known
        return trial


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Value | None:
    """What the sampler answers for one parameter."""
    match distribution:
        case FloatDistribution():
            return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
        case IntDistribution():
            return trial.suggest_int(name, distribution.low, distribution.high)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
    raise TypeError(f"a distribution must be one of Optuna's, got {distribution!r}")
