"""Every loss is called by its name, with its unit and its baseline, wherever it is shown."""

import html

import pytest

from hpo.cli.describe import status_fields, summary_json, winner_fields
from hpo.losses import LOSSES, loss_of
from hpo.report.figures import FIGURES
from hpo.report.page import write_report
from hpo.report.table_text import data_text, error_text, table_lines, target_text
from hpo.study.facts import Facts
from hpo.study.standing import winner

NAMES = [loss.name for loss in LOSSES.values()]
CLASSES = {"rows": 900, "features": 9, "replicates": 5, "classes": ["a", "b"], "class_counts": [600, 300]}
REGRESSION = {**CLASSES, "task": "regression", "classes": [], "class_counts": []}
REGRESSION |= {"target_mean": 540_088.14, "target_deviation": 367_127.2}
SQUARED = {**REGRESSION, "loss_name": "mean squared error", "prior_loss": 1.0}
GAUSSIAN = {**REGRESSION, "loss_name": "Gaussian NLL", "prior_loss": 1.4189}
LABELS = {**CLASSES, "task": "multilabel", "loss_name": "log loss", "prior_loss": 0.6}


@pytest.fixture
def studies(make):
    """A study of each loss, by name; that of Gaussian NLL is below zero."""
    trials = [make.trial(i, value=value) for i, value in enumerate((0.25, 0.5))]
    below = [make.trial(i, value=value) for i, value in enumerate((-0.25, 0.5))]
    return {
        "mean squared error": make.study(trials, facts=SQUARED),
        "Gaussian NLL": make.study(below, facts=GAUSSIAN),
        "log loss": make.study(trials, facts=LABELS),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_called_by_its_name_alone(studies, tmp_path, name):
    study = studies[name]
    page = write_report(study, tmp_path / "r.html").read_text("utf-8")
    page = page[page.index("<header>") : page.index("<footer>")]
    titles = [FIGURES["history"](study).layout.yaxis.title.text, FIGURES["slice"](study).layout.yaxis.title.text]
    loss = loss_of(Facts.from_json(study.facts))
    assert set(titles) == {loss.title}
    assert FIGURES["parallel"](study).data[0].dimensions[-1].label == loss.name
    fields = str([status_fields(study, 1.0), winner_fields(study, winner(study)), summary_json(study)])
    for other in NAMES:
        assert (other.lower() in page.lower()) == (other == name)
        assert (other in fields) == (other == name)
    assert ("nats" in page) == (name != "mean squared error")


def test_a_winner_is_compared_with_what_is_the_same_for_all_rows(studies, tmp_path):
    compared = {name: winner_fields(study, winner(study))["compare"] for name, study in studies.items()}
    assert compared == {
        "mean squared error": "1.0000 from the mean alone: the winner's is 75% lower",
        "Gaussian NLL": "1.4189 from mean and variance alone: the winner's is 1.6689 lower",
        "log loss": "0.6000 from class frequencies alone: the winner's is 58% lower",
    }
    page = html.unescape(write_report(studies["mean squared error"], tmp_path / "r.html").read_text("utf-8"))
    assert "Predicting the mean alone gives 1.0000; the winner's is 75% lower." in page
    assert "540,088" in page


@pytest.mark.parametrize("value", [1.0, 1.5])
def test_a_winner_no_better_than_the_mean_is_called_that(make, value):
    study = make.study([make.trial(0, value=value)], facts=SQUARED)
    assert winner_fields(study, winner(study))["compare"] == "1.0000 from the mean alone: the winner is no better"


def test_squared_errors_are_shown_in_the_units_of_the_target(studies):
    study = studies["mean squared error"]
    assert winner_fields(study, winner(study))["error"] == "183,600 root mean squared, in the target's own units"
    assert error_text(Facts.from_json({**SQUARED, "target_deviation": 0.0123}), 0.49).startswith("0.00861 root")
    assert "error" not in winner_fields(studies["log loss"], winner(studies["log loss"]))


def test_losses_below_zero_are_drawn(studies):
    axis = FIGURES["history"](studies["Gaussian NLL"]).layout.yaxis
    assert (axis.rangemode, axis.type) == (None, None)
    assert FIGURES["history"](studies["log loss"]).layout.yaxis.rangemode == "nonnegative"


def test_what_is_predicted_is_said():
    known = [Facts.from_json(facts) for facts in (CLASSES, LABELS, SQUARED)]
    assert [target_text(facts) for facts in known] == ["2 classes", "2 labels", "a quantity"]
    assert data_text(known[0]) == ["900 rows", "9 features", "2 classes"]
    assert data_text(Facts(replicates=5)) == []  # an objective without a table


def test_facts_of_before_are_of_log_loss():
    assert loss_of(Facts.from_json(CLASSES)).title == "log loss (nats)"


def test_a_table_in_short():
    columns = [{"name": name, "kind": kind} for name, kind in (("a", "number"), ("b", "category"), ("c", "number"))]
    assert table_lines(Facts.from_json({**CLASSES, "columns": columns})) == [
        "table: 900 rows, 9 features, 2 classes",
        "classes: a 600 (67%), b 300 (33%)",
        "columns: 2 number, 1 category",
    ]
    assert table_lines(Facts.from_json(REGRESSION)) == ["table: 900 rows, 9 features, a quantity"]
    assert table_lines(Facts()) == []
