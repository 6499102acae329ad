"""Sessions with trainers that die: a child's place is taken by one whose pipe is closed."""

import os
import time

import pytest
from hpo_storage.database import connect
from hpo_storage.records import Limits
from hpo_storage.studies import create_study, find_study, read_study, set_limits

from hpo.errors import ResourceError, SickHostError, TrainersError
from hpo.machine import Resources
from hpo.study.resolve import request, resolve, trainer_of
from hpo.worker import pool as pool_module
from hpo.worker.membership import joined
from hpo.worker.pool import MAX_IDLE_DEATHS, TrainerPool
from hpo.worker.progress import SilentView
from hpo.worker.session import Session, Share
from hpo.worker.signals import StopRequest
from tests.helpers.databases import read, upgraded_file
from tests.helpers.records import make_outcome

ENOUGH = 10


class DyingChild:
    """Says what it is told to say, then is dead."""

    closed, input = False, None
    started = 0
    says = ()

    def __init__(self, module, environment):
        type(self).started += 1
        if self.started > ENOUGH:
            raise AssertionError("trainers are started without end")
        self.output, writing = os.pipe()
        os.close(writing)

    def send(self, message):
        pass

    def messages(self):
        self.closed = True
        return list(self.says)

    def ending(self):
        return "killed by SIGKILL"

    def errors(self):
        return "last words"

    def kill(self):
        os.close(self.output)


class SinkingChild(DyingChild):
    """Trains one trial at a time; it dies of several, after the result of the first, and of slot 2."""

    def __init__(self, module, environment):
        super().__init__(module, environment)
        self.says = [{"ready": True}]

    def send(self, message):
        if slots := [job["slot"] for job in message.get("train", ())]:
            type(self).sent.append(slots)
            dies = len(slots) > 1 or slots == [2]
            self.says = [{"slot": slots[0], "outcome": OUTCOME.to_json()}] * (slots[0] != 2)
            self.closing = dies

    closing = False

    def messages(self):
        said, self.says, self.closed = self.says, [], self.closing
        return said


OUTCOME = make_outcome(standard_error=0.1, info={"widths": [3]})


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Starts a session of trainers whose children are of the kind given, by default of one."""
    url = upgraded_file(tmp_path / "hpo.db")
    database = connect(url)

    def work(kind, trials=2, population=1, trainers=1, **members):
        child = type("Child", (kind,), {"started": 0, "sent": [], **members})
        monkeypatch.setattr(pool_module, "Child", child)
        study = resolve(request("s", data="iris"))
        spec = study.spec.to_json()
        study_id = create_study(database, "s", spec, {"replicates": 5}, {}, trials)
        pool, view, stop = TrainerPool({}), SilentView(), StopRequest()
        pool.grow(trainer_of(study), trainers)
        pool.open(tmp_path)
        resources = Resources(backend="tensorflow", device="cpu", trainers=1, population=population)
        try:
            with joined(database, url, resources, view, stop, runs=study_id) as worker:
                header, share = find_study(database, "s"), Share(population=population)
                Session(worker, study, header, pool, share, time.monotonic()).work()
        finally:
            pool.close()
        return child, read_study(database, "s")

    yield work
    database.close()


@pytest.mark.parametrize(
    ("says", "when"), [((), "while they start"), (({"ready": True},), "without a trial to train")], ids=["new", "ready"]
)
def test_trainers_that_die_before_they_have_a_trial_are_given_up(work, says, when):
    with pytest.raises(
        TrainersError, match=rf"trainers die {when} \(killed by SIGKILL\)\n  last words\nmend that"
    ) as caught:
        work(DyingChild, says=says)
    assert pool_module.Child.started == MAX_IDLE_DEATHS
    assert isinstance(caught.value, SickHostError) == (not says), "it may be this study's data"


def test_a_death_gives_all_trials_back_and_they_run_one_by_one(work):
    child, study = work(SinkingChild, trials=5, population=4)
    assert child.sent == [[0, 1, 2, 3], [4], [1], [2], [3], [2]]
    assert study.finished == study.budget == 5
    assert not [trial for trial in study.trials if trial.state == "running"]
    attempts = {slot: [t.state for t in study.trials if t.slot == slot] for slot in range(5)}
    assert attempts == {
        0: ["complete"],
        1: ["failed", "complete"],
        2: ["failed"] * 3,
        3: ["failed", "complete"],
        4: ["complete"],
    }
    assert {t.reason for t in study.trials if t.state == "failed"} == {"trainer died: killed by SIGKILL"}


class LackingChild(SinkingChild):
    """The second of them meets a machine without room once the first has a result."""

    def __init__(self, module, environment):
        super().__init__(module, environment)
        self.number = self.started

    def messages(self):
        if self.number == 2 and self.sent:
            raise ResourceError("no room")
        return super().messages()


def test_what_one_trainer_meets_does_not_lose_the_result_of_another(work, tmp_path):
    with pytest.raises(ResourceError):
        work(LackingChild, trainers=2)
    study = read(f"sqlite:///{tmp_path}/hpo.db", "s")
    assert [(trial.slot, trial.state) for trial in study.trials] == [(0, "complete"), (1, "interrupted")]


class HangingChild(DyingChild):
    """Says nothing and lives on."""

    heard = 0

    def messages(self):
        self.heard += 1
        assert self.heard < 100, "nobody minds"
        return []


def test_trainers_that_never_get_ready_are_given_up(work, monkeypatch):
    monkeypatch.setattr(pool_module, "START_SECONDS", 0.0)
    with pytest.raises(
        SickHostError, match=r"trainers die while they start \(not ready after 0 s\)\n  last words\nmend that"
    ):
        work(HangingChild)
    assert pool_module.Child.started == MAX_IDLE_DEATHS


class LimitingChild(SinkingChild):
    """Lowers the time limit while it trains slot 0, and never ends slot 1."""

    waited = 0

    def send(self, message):
        if slots := [job["slot"] for job in message.get("train", ())]:
            self.set_limits()
            self.says = [{"slot": 0, "outcome": OUTCOME.to_json()}] * (slots == [0])

    def messages(self):
        type(self).waited += 1
        assert self.waited < 5000, "the new limit is not known"
        return super().messages()


def test_a_time_limit_that_changes_holds_for_the_next_trial(work, tmp_path):
    @staticmethod
    def lower():
        database = connect(f"sqlite:///{tmp_path}/hpo.db")
        set_limits(database, find_study(database, "s").id, Limits(trial_seconds=0.01))
        database.close()

    _, study = work(LimitingChild, set_limits=lower)
    assert [trial.reason for trial in study.trials] == [None, "stopped at its time limit, 0.0 s"]
