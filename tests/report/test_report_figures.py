"""Figures are thin: they are held to draw what their tables say, in every state of a study."""

import json
import math

import pytest

from hpo.report.data import curves_table, history_table
from hpo.report.figures import FIGURES
from hpo.study.standing import winner

CASES = {
    "nothing": ([], False),
    "first running": (["running"], True),
    "one": (["complete"], False),
    "all failed": (["failed"] * 4, False),
    "raced out alone": (["raced out"] * 3, False),
    "interrupted": (["interrupted", "running"], False),
}


def test_names():
    assert list(FIGURES) == ["history", "curves", "importances", "slice", "parallel", "timeline"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_every_study(make, name, case):
    states, running = CASES[case]
    figure = FIGURES[name](make.study(make.trials(states), running=running, budget=10))
    json.loads(figure.to_json())
    if not figure.data:
        assert figure.layout.annotations[0].text


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_300_trials_are_small(make, name):
    figure = FIGURES[name](make.study(make.trials(make.states(300))))
    assert figure.data
    assert len(figure.to_json()) < 500_000


def test_every_trial_is_in_the_history(mixed):
    table = history_table(mixed)
    marks = [trace for trace in FIGURES["history"](mixed).data if trace.mode == "markers"]
    assert sorted(x for trace in marks for x in trace.x) == list(table["trial"])
    assert {trace.name for trace in marks} == set(table["state"])


def test_history_shows_the_best_so_far_and_the_prior(mixed):
    traces = {trace.name: trace for trace in FIGURES["history"](mixed).data}
    assert traces["best so far"].y[-1] == pytest.approx(winner(mixed).value, rel=1e-4)
    assert set(traces["class frequencies alone"].y) == {mixed.facts["prior_loss"]}


def test_losses_over_more_than_a_decade_are_drawn_logarithmically(make):
    near = [make.trial(i, value=v) for i, v in enumerate((0.3, 0.4))]
    far = [make.trial(i, value=v) for i, v in enumerate((0.01, 40.0))]
    assert FIGURES["history"](make.study(near)).layout.yaxis.type is None
    assert FIGURES["history"](make.study(far)).layout.yaxis.type == "log"
    assert FIGURES["slice"](make.study(far)).layout.yaxis4.type == "log"


def test_a_diverged_curve_ends_where_it_is_no_longer_finite(make):
    curve = (2.0, 0.1, math.inf, math.nan)
    trial = make.trial(0, "failed", replicates=(make.replicate(0, curve, None),))
    figure = FIGURES["curves"](make.study([trial]))
    assert figure.data[0].y == (2.0, 0.1, None, None, None)
    assert figure.layout.yaxis.type == "log"


def test_only_losses_are_kept_from_going_below_zero(mixed):
    modes = {name: FIGURES[name](mixed).layout.yaxis.rangemode for name in FIGURES}
    assert modes["history"] == "nonnegative"
    assert modes["timeline"] is modes["importances"] is None  # the first bar reaches from -0.36 to 0.36


def test_a_loss_of_zero_is_drawn(make):
    figure = FIGURES["history"](make.study([make.trial(0, value=0.0), make.trial(1, value=5.0)]))
    assert figure.layout.yaxis.type is None


def test_axis_titles_name_units(mixed):
    assert FIGURES["history"](mixed).layout.yaxis.title.text == "log loss (nats)"
    assert FIGURES["curves"](mixed).layout.yaxis.title.text == "stop loss (nats)"
    assert FIGURES["timeline"](mixed).layout.xaxis.title.text.startswith("time (s)")
    assert FIGURES["parallel"](mixed).data[0].dimensions[-1].label == "log loss"


def test_curves_are_lines_with_gaps_between_trials(mixed):
    pruned = next(t for t in FIGURES["curves"](mixed).data if t.name == "pruned" and not t.showlegend)
    table = curves_table(mixed)
    trials = table[table["state"] == "pruned"]["trial"].nunique()
    assert sum(y is None for y in pruned.y) == trials


def test_slices_mark_the_best_trial_once_in_every_panel(mixed):
    stars = [trace for trace in FIGURES["slice"](mixed).data if trace.name == "winner"]
    assert len(stars) == 6
    assert {trace.text for trace in stars} == {(stars[0].text[0],)}
    assert f"trial {winner(mixed).number}," in stars[0].text[0]
    assert sum(trace.showlegend for trace in stars) == 1


def test_slices_reflow_on_a_narrow_screen(mixed):
    layout = FIGURES["slice"](mixed).layout
    assert (layout.grid.rows, layout.grid.columns) == (2, 3)
    assert layout.meta["narrow"]["grid.rows"] == 6


def test_parallel_coordinates_draw_the_best_last(mixed):
    trace = FIGURES["parallel"](mixed).data[0]
    losses = trace.dimensions[-1]["values"]
    assert list(losses) == sorted(losses, reverse=True)
    assert trace.line.color[-1] == 0.0
    titles = [dimension.label for dimension in trace.dimensions]
    assert titles[1] == "learning rate"
    assert tuple(trace.dimensions[1].range) == (-4, -1)
    assert trace.dimensions[4].ticktext[0] == "relu"


def test_timeline_has_a_bar_per_trial(mixed):
    figure = FIGURES["timeline"](mixed)
    assert sum(len(trace.x) for trace in figure.data) == len(mixed.trials)
    assert list(figure.layout.yaxis.ticktext) == ["trainer 0", "trainer 1"]
