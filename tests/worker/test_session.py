"""Sessions with trainers that die: a child's place is taken by one whose pipe is closed."""

import os
import socket
import time

import pytest

from hpo.study.study import StudyOptions, resolve
from hpo.worker import session
from hpo.worker.progress import SilentView
from hpo.worker.session import MAX_IDLE_DEATHS, Session, Trainer
from hpo.worker.signals import StopRequest
from storage.database import connect, upgrade
from storage.studies import create_study, read_study
from storage.workers import start_worker

ENOUGH = 10


class DyingChild:
    """Says what it is told to say, then is dead."""

    closed = False
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


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Starts a session of one trainer, which says something and dies, as do those after it."""
    database = connect(f"sqlite:///{tmp_path}/hpo.db")
    upgrade(database)

    def work(*says):
        child = type("Child", (DyingChild,), {"says": says, "started": 0})
        monkeypatch.setattr(session, "Child", child)
        study = resolve(StudyOptions(name="s", data="iris"))
        spec = study.spec.model_dump(mode="json")
        study_id = create_study(database, "s", spec, {"replicates": 5}, {}, 2)
        worker_id = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
        trainers = [Trainer(0, "tensorflow")]
        try:
            Session(
                database=database,
                study=study,
                record=read_study(database, "s"),
                worker_id=worker_id,
                folder=tmp_path,
                trainers=trainers,
                view=SilentView(),
                stop=StopRequest(),
                started=time.monotonic(),
            ).work()
        finally:
            trainers[0].kill()
        return child

    yield work
    database.close()


@pytest.mark.parametrize(
    ("says", "when"), [((), "while they start"), (({"ready": True},), "without a trial to train")], ids=["new", "ready"]
)
def test_trainers_that_die_before_they_have_a_trial_are_given_up(work, says, when):
    with pytest.raises(RuntimeError, match=rf"trainers die {when} \(killed by SIGKILL\):\nlast words"):
        work(*says)
    assert session.Child.started == MAX_IDLE_DEATHS
