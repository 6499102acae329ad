"""What must hold of a finished study, whatever has happened on the way."""

from hpo_storage.checks import broken_rules
from hpo_storage.records import ACCEPTED, FINISHED, RANKED, StudyRecord
from hpo_storage.studies import read_study

from hpo.study.standing import ranked
from tests.helpers.databases import opened


def invariants(url: str, study: str, budget: int | None = None) -> StudyRecord:
    """The study, after all checks: of its record, and of the tables it is read from."""
    with opened(url) as database:
        # A running trial has a live lease, a slot at most one accepted result, values are finite, Optuna agrees.
        assert broken_rules(database) == []
        record = read_study(database, study)
    assert_exact(record, budget)
    return record


def assert_exact(record: StudyRecord, budget: int | None = None) -> None:
    """As many finished slots as budgeted, with one result each and the same parameters in every attempt; nothing runs;
    complete trials are ranked by their values."""
    last = {trial.slot: trial for trial in sorted(record.trials, key=lambda trial: trial.attempt)}
    assert record.finished == record.budget == len(last) == sum(trial.state in FINISHED for trial in last.values())
    assert budget is None or record.budget == budget
    assert "running" not in {trial.state for trial in record.trials}
    results = [trial.slot for trial in record.trials if trial.state in ACCEPTED]
    assert len(results) == len(set(results))
    points = {(trial.slot, str(sorted(trial.params.items()))) for trial in record.trials}
    assert len(points) == record.budget, "attempts at one slot have the same parameters"
    values = [trial.value for trial in record.trials if trial.state in RANKED]
    assert [trial.value for trial in ranked(record)] == sorted(values)
