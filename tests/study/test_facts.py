"""What is stored of an objective and of a trial's network reads back, whichever version stored it."""

import json

from hpo.study.facts import Facts, InputColumn, TrialInfo

TABLE = Facts(
    rows=60,
    features=4,
    columns=(InputColumn(name="size", kind="numeric"),),
    task="classification",
    head="sigmoid",
    outputs=1,
    classes=("no", "yes"),
    class_counts=(30, 30),
    prior_loss=0.69,
    notes=("read with ;",),
    replicates=5,
    train_rows=54,
    sha256="ab",
)
STORED = {
    "rows": 60,
    "features": 4,
    "columns": [{"name": "size", "kind": "numeric"}],
    "task": "classification",
    "head": "sigmoid",
    "outputs": 1,
    "classes": ["no", "yes"],
    "class_counts": [30, 30],
    "target_mean": None,
    "target_deviation": None,
    "loss_name": "log loss",
    "prior_loss": 0.69,
    "notes": ["read with ;"],
    "replicates": 5,
    "train_rows": 54,
    "sha256": "ab",
}
"""As studies have stored the facts of tables since there are three tasks."""
FIRST = {"rows": 178, "classes": ["a", "b"], "replicates": 2, "notes": ["ümlaut </script>"]}
"""As the first studies did."""


def test_facts_are_stored_as_they_were():
    now = {**STORED, "most_train_rows": None}
    assert TABLE.to_json() == now
    assert list(TABLE.to_json()) == list(now)
    assert Facts.from_json(json.loads(json.dumps(STORED))) == TABLE


def test_facts_of_the_first_studies_are_read():
    facts = Facts.from_json(FIRST)
    assert (facts.rows, facts.classes, facts.replicates) == (178, ("a", "b"), 2)
    assert (facts.features, facts.task, facts.loss_name, facts.prior_loss) == (None, None, "log loss", None)


def test_an_objective_without_a_table_need_find_out_nothing():
    assert Facts.from_json({}) == Facts()
    assert Facts.from_json({"replicates": 3, "notes": ["slow"]}) == Facts(replicates=3, notes=("slow",))


def test_what_a_later_version_stores_besides_is_no_error():
    later = {**STORED, "fitted": [1], "columns": [{"name": "size", "kind": "numeric", "unit": "m"}]}
    assert Facts.from_json(later) == TABLE
    assert TrialInfo.from_json({"parameters": 3, "blocks": [1]}) == TrialInfo(parameters=3)


def test_the_information_of_a_trial_is_stored_as_it_was():
    stored = {"parameters": 1234, "widths": [20, 10], "batch_size": 32}
    info = TrialInfo(parameters=1234, widths=(20, 10), batch_size=32)
    assert info.to_json() == stored
    assert TrialInfo.from_json(stored) == info
    assert TrialInfo.from_json({}).to_json() == {}


def test_a_column_may_have_an_empty_name():
    facts = Facts(columns=(InputColumn(name="", kind="number"),))
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
