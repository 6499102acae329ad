"""Parameter importances: what they find, and when there is too little to find anything."""

from dataclasses import replace

import optuna
import pytest
from hpo_spaces import Categorical, Float, Ordered, SearchSpace

from hpo.report.importances import FEWEST_TRIALS, importances_table
from hpo.study.spec import SpaceSpec


def test_the_parameter_that_decides_comes_first(make):
    trials = [replace(t, value=t.params["dropout"]) for t in make.trials(["complete"] * 60)]
    table = importances_table(make.study(trials))
    assert table["parameter"][0] == "dropout"
    assert table["importance"][0] > 0.5
    assert table["importance"].sum() == pytest.approx(1.0)
    assert table["importance"].is_monotonic_decreasing
    assert len(table) == 6


def test_the_same_study_gives_the_same_table(mixed):
    assert importances_table(mixed).equals(importances_table(mixed))


@pytest.mark.parametrize("count", [0, 1, FEWEST_TRIALS - 1])
def test_too_few_trials_give_an_empty_table(make, count):
    table = importances_table(make.study(make.trials(["complete"] * count + ["failed", "pruned"])))
    assert table.empty
    assert list(table) == ["parameter", "importance"]


def test_raced_out_trials_count(make):
    states = ["complete"] * 5 + ["raced out"] * (FEWEST_TRIALS - 5)
    assert len(importances_table(make.study(make.trials(states)))) == 6


def test_equal_values_are_no_error(make):
    trials = [replace(t, value=0.5) for t in make.trials(["complete"] * 20)]
    assert importances_table(make.study(trials))["importance"].sum() == pytest.approx(1.0)


def test_ordered_and_fixed_dimensions(make):
    space = SearchSpace(
        name="own",
        dimensions=(Ordered("width", (16, 64, 256)), Categorical("only", ("a",)), Float("fixed", 1.0, 1.0)),
    )
    spec = make.spec(space=SpaceSpec(reference="own", description=space.describe()))
    params = [{"width": (16, 64, 256)[i % 3], "only": "a", "fixed": 1.0} for i in range(30)]
    trials = [make.trial(i, params=p, value=float(p["width"])) for i, p in enumerate(params)]
    table = importances_table(make.study(trials, spec=spec))
    assert table["parameter"][0] == "width"
    assert table["importance"][0] == pytest.approx(1.0)


def test_optuna_logs_as_before(mixed):
    before = optuna.logging.get_verbosity()
    importances_table(mixed)
    assert optuna.logging.get_verbosity() == before
