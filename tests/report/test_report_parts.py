"""What an objective does not have is left away: a table, replicates, curves, networks, trials that are cut short."""

import html
import re

import pytest
from hpo_spaces import Float, SearchSpace

from hpo.cli.describe import status_fields, winner_fields
from hpo.report.figures import FIGURES
from hpo.report.page import write_report
from hpo.settings import SearchSpec
from hpo.study.resolve import request, resolve
from hpo.study.spec import ObjectiveSpec, SpaceSpec, StudySpec
from hpo.study.standing import winner
from hpo.trainer.synthetic import evaluate

PLANE = SearchSpace(name="plane", dimensions=(Float("x", 0.0, 1.0), Float("y", 0.0, 1.0)))
LINE = SearchSpace(name="line", dimensions=(Float("x", 0.0, 1.0),))
OF_NETWORKS = ("hidden layers", "weights")
OF_TABLES = ("rows", "resample", "not trained on", "class frequencies", "target")
OF_RACES = ("raced", "racing", "pruner", "pruned")


def own_spec(space):
    """Of an objective that is not installed here, as on another machine."""
    return StudySpec(
        name="own",
        objective=ObjectiveSpec(name="nowhere:OWN", part={"lowest": 0.25}),
        space=SpaceSpec(reference="nowhere:SPACE", description=space.describe()),
        search=SearchSpec(),
    ).to_json()


@pytest.fixture
def own(make):
    def study(count, space=PLANE, **changes):
        bare = {"info": {}, "replicates": (), "standard_error": None}
        params = [{one.name: n / count for one in space.dimensions} for n in range(count)]
        trials = [make.trial(n, params=params[n], value=1 + n / count, **(bare | changes)) for n in range(count)]
        facts = {"replicates": 1, "notes": [], "loss_name": "value"}
        return make.study(trials, name="own", spec=own_spec(space), facts=facts, environment={})

    return study


@pytest.fixture
def synthetic(make):
    study = resolve(request("s", objective="synthetic"))
    trials = []
    for slot in range(12):
        params = study.space.decode([slot / 12] * study.space.size)
        outcome = evaluate(study.objective.order(study.spec, study.space, slot, params, None), lambda r, e, loss: None)
        told = {"value": outcome.value, "standard_error": outcome.standard_error, "replicates": outcome.replicates}
        trials.append(make.trial(slot, params=params, info={}, **told))
    facts = study.objective.prepare(study.spec, None, None, None)
    return make.study(trials, spec=study.spec.to_json(), facts=facts, environment={})


@pytest.fixture
def page(tmp_path):
    def text(study):
        written = write_report(study, tmp_path / "report.html").read_text("utf-8")
        body = written[written.index("<body>") : written.rindex("<script>", 0, written.rindex("<script>"))]
        return html.unescape(re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL))

    return text


def cards(text):
    return re.findall(r'<section class="[^"]*" id="([^"]*)"', text)


def test_a_page_of_values_alone_has_nothing_else(own, page):
    text = page(own(12))
    assert cards(text) == ["answer", *(name for name in FIGURES if name != "curves"), "trials", "next", *LISTINGS]
    for word in (*OF_NETWORKS, *OF_TABLES, *OF_RACES, "replicate", "epoch", "Losses in"):
        assert word not in text, word
    assert "The least value of 12 trials." in text
    assert "lowest" in text


LISTINGS = ["spec", "environment"]


def test_parameters_are_compared_where_there_are_several(own, page):
    assert not {"importances", "parallel"} & set(cards(page(own(12, LINE))))


def test_notes_of_an_objective_without_a_table_are_shown(own, page):
    study = own(2)
    study.facts["notes"] = ["the sea was calm"]
    text = page(study)
    assert "the sea was calm" in text
    assert "<h2>Notes</h2>" in text
    assert "<h2>Data</h2>" not in text


def test_what_trials_have_is_shown_whatever_their_objective_says(own, make, page):
    told = {"replicates": make.trial(0).replicates, "info": {"parameters": 1234}}
    assert {"curves", "replicates"} <= set(cards(page(own(3, **told))))
    assert "1,234" in page(own(3, **told))


def test_a_page_of_the_synthetic_objective(synthetic, page):
    text = page(synthetic)
    assert {"curves", "replicates"} <= set(cards(text))
    assert "data" not in cards(text)
    for word in (*OF_NETWORKS, *OF_TABLES, *OF_RACES):
        assert word not in text, word
    assert "Distance, the mean over 5 replicates, with its standard error." in text


def test_a_page_of_networks_has_all_of_it(mixed, page):
    text = page(mixed)
    assert set(cards(text)) == {"answer", *FIGURES, "replicates", "trials", "next", "data", *LISTINGS}
    for word in ("hidden layers", "weights", "racing", "pruner", "scored on rows they were not trained on", "epochs"):
        assert word in text


def test_a_plot_of_curves_that_there_cannot_be_says_so(own, mixed, make):
    assert "have no learning curves" in FIGURES["curves"](own(3)).layout.annotations[0].text
    assert "no trial has been trained yet" in FIGURES["curves"](make.study([])).layout.annotations[0].text


def test_the_command_line_leaves_away_the_same(own, synthetic):
    study = own(12)
    assert list(winner_fields(study, winner(study))) == ["value", "parameters"]
    assert winner_fields(study, winner(study))["value"] == "1.0000 (trial 0)"
    fields = status_fields(study, 0.0)
    assert fields["trials"] == "12 of 12: 12 complete, 0 failed"
    assert fields["search"] == "tpe, seed 0"
    assert not {"compare", "training", "evaluation", "data"} & fields.keys()
    fields = winner_fields(synthetic, winner(synthetic))
    assert list(fields) == ["distance", "parameters"]
    assert "over 5 replicates" in fields["distance"]


def test_a_baseline_that_an_own_objective_knows_is_named(own):
    study = own(3)
    study.facts["prior_loss"] = 4.0
    assert (
        winner_fields(study, winner(study))["compare"] == "4.0000 from the baseline alone: the winner's is 3.0000 lower"
    )
