"""What a report says is decided in tables; these are held number by number."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.report.data import (
    curves_table,
    history_table,
    leader,
    mean_curve,
    parameters_table,
    thinned,
    timeline_table,
    trials_table,
    winner_table,
)
from hpo.study.standing import winner

TABLES = (history_table, curves_table, parameters_table, timeline_table, trials_table, winner_table)


@pytest.mark.parametrize("table", TABLES)
def test_a_study_without_trials_has_empty_tables(make, table):
    assert table(make.study([], budget=10)).empty


def test_history_of_every_state(make):
    states = ["failed", "complete", "raced out", "complete", "pruned", "complete"]
    values = [None, 0.5, 0.1, 0.3, None, 0.4]
    trials = [replace(t, value=v) for t, v in zip(make.trials(states), values, strict=True)]
    table = history_table(make.study(trials))
    assert list(table["trial"]) == [0, 1, 2, 3, 4, 5]
    assert list(table["state"]) == states
    np.testing.assert_equal(list(table["value"]), [math.nan, 0.5, 0.1, 0.3, math.nan, 0.4])
    # The estimate of a raced-out trial is never the best.
    np.testing.assert_equal(list(table["best"]), [math.nan, 0.5, 0.5, 0.3, 0.3, 0.3])


def test_only_complete_trials_show_a_value(make):
    pruned = replace(make.trial(0, "pruned"), value=0.01)
    assert math.isnan(history_table(make.study([pruned]))["value"][0])


def test_the_last_best_is_the_winner(mixed):
    assert history_table(mixed)["best"].iloc[-1] == winner(mixed).value


def test_the_best_trial_is_called_winner_when_the_budget_is_used_up(make):
    trials = make.trials(["complete", "complete"])
    assert leader(make.study(trials)) == "winner"
    assert leader(make.study(trials, budget=3)) == "best so far"


def test_curves_hold_the_kept_loss_of_a_replicate_that_has_stopped(make):
    long = make.replicate(0, (4.0, 3.0, 2.0, 1.0), 1.0)
    short = make.replicate(1, (5.0, 2.0, 3.0), 2.0)
    np.testing.assert_allclose(mean_curve([long, short]), [4.5, 2.5, 2.5, 1.5])
    trial = make.trial(0, replicates=(long, short))
    table = curves_table(make.study([trial]))
    assert list(table["epoch"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(table["loss"], [4.5, 2.5, 2.5, 1.5])
    assert set(table["state"]) == {"complete"}


def test_curves_keep_pruned_and_failed_trials_and_leave_out_untrained_ones(make):
    states = ["complete", "pruned", "failed", "running"]
    table = curves_table(make.study(make.trials(states), running=True))
    assert dict(zip(table["trial"], table["state"], strict=True)) == {0: "complete", 1: "pruned", 2: "failed"}


def test_a_diverged_loss_stays_visible_as_a_gap(make):
    trial = make.trial(0, "failed", replicates=(make.replicate(0, (1.0, math.inf), None),))
    table = curves_table(make.study([trial]))
    assert list(table["loss"]) == [1.0, math.inf]


def test_300_curves_are_thinned_out_but_keep_their_ends(make):
    study = make.study(make.trials(make.states(300)))
    table = curves_table(study, most_points=6000)
    assert len(table) <= 6000
    assert table["trial"].nunique() == 300
    whole = curves_table(study, most_points=10**9)
    for column in ("epoch", "loss"):
        assert list(table.groupby("trial")[column].last()) == list(whole.groupby("trial")[column].last())


@given(st.integers(1, 2000), st.integers(2, 300))
def test_thinning_keeps_ends_and_order(length, most):
    kept = thinned(length, most)
    assert len(kept) <= most
    assert kept[0] == 0
    assert kept[-1] == length - 1
    assert kept == sorted(set(kept))


def test_parameters_are_positions_as_people_read_them(make):
    params = {
        "dropout": 0.25,
        "learning_rate": 0.001,
        "neuron_percent": 0.5,
        "neuron_shrink": 0.4,
        "activation": "elu",
        "batch_exponent": 6,
    }
    study = make.study([make.trial(7, params=params)])
    table = parameters_table(study)
    assert list(table.index) == [7]
    assert table.loc[7].to_dict() == {**params, "activation": 2.0, "batch_exponent": 64.0}


def test_a_missing_parameter_is_nan(make):
    table = parameters_table(make.study([make.trial(0, params={"dropout": 0.1})]))
    assert table["dropout"][0] == 0.1
    assert table.drop(columns="dropout").isna().all(axis=None)


def test_timeline_leaves_pauses_out(make):
    def at(number, begin, end, **changes):
        started, finished = (make.start + timedelta(seconds=s) for s in (begin, end))
        return make.trial(number, started=started, finished=finished, **changes)

    day = 86_400
    trials = [
        at(0, 0, 10, trainer=0),
        at(1, 2, 30, trainer=1),
        at(2, 12, 20, trainer=0),
        at(3, day, day + 5, trainer=0, worker="w-2"),
        at(4, day + 6, day + 9, trainer=0, worker="w-2"),
    ]
    table = timeline_table(make.study(trials))
    assert list(table["begin"]) == [0, 2, 12, 30, 36]
    assert list(table["seconds"]) == [10, 28, 8, 5, 3]
    assert list(table["run"]) == [0, 0, 0, 1, 1]
    assert list(table["lane"]) == [
        "worker 1, trainer 0",
        "worker 1, trainer 1",
        "worker 1, trainer 0",
        "worker 2, trainer 0",
        "worker 2, trainer 0",
    ]


def test_timeline_of_one_worker_names_trainers_alone(mixed):
    assert set(timeline_table(mixed)["lane"]) == {"trainer 0", "trainer 1"}


def test_a_running_trial_lasts_to_the_latest_known_moment(make):
    done = make.trial(0, started=make.start, finished=make.start + timedelta(seconds=50))
    running = make.trial(1, "running", started=make.start + timedelta(seconds=20))
    table = timeline_table(make.study([done, running], running=True))
    assert list(table["seconds"]) == [50, 30]
    assert list(table["state"]) == ["complete", "running"]


def test_trials_table(make):
    trial = make.trial(3, "raced out", attempt=2)
    row = trials_table(make.study([trial])).loc[0]
    assert row["trial"] == 3
    assert row["state"] == "raced out"
    assert row["replicates"] == 2
    assert row["layers"] == tuple(trial.info["widths"])
    assert row["weights"] == trial.info["parameters"]
    assert row["seconds"] == (trial.finished - trial.started).total_seconds()
    assert row["attempt"] == 2
    assert row["reason"] == "raced out after 2 of 5 replicates"
    assert row["epochs"] == np.mean([len(r.curve) for r in trial.replicates])


def test_trials_table_of_a_trial_that_says_nothing(make):
    bare = make.trial(0, "running", info={}, standard_error=None)
    row = trials_table(make.study([bare], running=True)).loc[0]
    assert row["layers"] == ()
    assert row["reason"] == ""
    assert row[["value", "standard_error", "epochs", "weights", "seconds"]].isna().all()


def test_winner_table_is_sorted_and_counts_epochs_from_one(make):
    replicates = tuple(make.replicate(i, (3.0, 1.0 + i, 2.0 + i), 0.5 + i) for i in (1, 0))
    table = winner_table(make.study([make.trial(0, replicates=replicates)]))
    assert list(table["replicate"]) == [0, 1]
    assert list(table["score_loss"]) == [0.5, 1.5]
    assert list(table["stop_loss"]) == [1.0, 2.0]
    assert list(table["epochs"]) == [3, 3]
    assert list(table["best_epoch"]) == [2, 2]


def test_winner_table_agrees_with_the_stored_mean_and_standard_error(mixed):
    losses = winner_table(mixed)["score_loss"]
    assert losses.mean() == pytest.approx(winner(mixed).value)
    assert losses.sem() == pytest.approx(winner(mixed).standard_error)


def test_raced_out_trials_never_win(make):
    raced = make.trial(0, "raced out", value=0.0001)
    assert winner_table(make.study([raced])).empty
