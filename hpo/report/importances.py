"""Which parameters decide whether a trial is among the best."""

import math
import warnings
from typing import Any

import optuna
import pandas as pd
from hpo_spaces.dimensions import Ordered
from hpo_storage.records import VALUED, StudyRecord
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from hpo.report.axes import dimensions

FEWEST_TRIALS = 10
"""Fewer values say nothing about six parameters."""
GOOD_SHARE = 0.1
FEWEST_GOOD = 5
"""PED-ANOVA asks for at least 5 trials among the good ones to be stable."""


def importances_table(study: StudyRecord) -> pd.DataFrame:
    """One row per parameter, the most important first: parameter, importance (shares of 1).

    PED-ANOVA (Watanabe et al., IJCAI 2023, arXiv 2304.10255) compares where the best tenth of the trials
    (at least 5) lie with where all of them lie; nothing in it is random. Raced-out trials count with their
    estimate. Empty where fewer than 10 trials have a value.
    """
    memory = _rebuild(study)
    count = len(memory.get_trials(deepcopy=False))
    if count < FEWEST_TRIALS:
        return pd.DataFrame({"parameter": pd.Series(dtype=object), "importance": pd.Series(dtype=float)})
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(GOOD_SHARE, FEWEST_GOOD / count))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(memory, evaluator=evaluator)
    table = pd.DataFrame({"parameter": list(shares), "importance": list(shares.values())})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _rebuild(study: StudyRecord) -> optuna.Study:
    """An in-memory study of the trials that have a value."""
    shown = dimensions(study)
    distributions: dict[str, BaseDistribution] = {
        d.name: d.index_distribution() if isinstance(d, Ordered) else d.distribution() for d in shown
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        memory = optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)
    for trial in study.trials:
        if trial.state not in VALUED or trial.value is None or not math.isfinite(trial.value):
            continue
        given = [d for d in shown if d.name in trial.params]  # the others' condition does not hold
        params: dict[str, Any] = {
            d.name: d.index(trial.params[d.name]) if isinstance(d, Ordered) else trial.params[d.name] for d in given
        }
        own = {name: distributions[name] for name in params}
        memory.add_trial(optuna.trial.create_trial(params=params, distributions=own, value=trial.value))
    return memory
