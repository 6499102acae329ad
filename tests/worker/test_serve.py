"""Several `hpo worker` processes on one database: killed, paused, stopped, restarted; the budget is met exactly."""

import os
import signal
import threading

import pytest
from hpo_storage.records import OpenStudy, Outcome
from hpo_storage.studies import create_study, delete_study, find_study

from hpo.errors import StorageAwayError, StudyError
from hpo.settings import Training
from hpo.study.resolve import request
from hpo.worker import replay as replay_module
from hpo.worker import run as worker_run
from hpo.worker import serve as serve_module
from hpo.worker.pool import TrainerPool
from hpo.worker.progress import SilentView
from hpo.worker.results import Settled
from hpo.worker.serve import Terms, fairest, serve
from hpo.worker.signals import StopRequest
from tests.helpers.databases import opened, read
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants
from tests.helpers.processes import descendants, run_python
from tests.helpers.tables import two_classes

pytestmark = pytest.mark.slow


def test_workers_meet_the_budget_exactly_and_a_watcher_reports(fleet):
    """Fault 13."""
    watcher = fleet.create("b", 20)
    workers = [fleet.start("worker", "--trainers", 2, "--once") for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert watcher.wait() == 0
    assert "b is finished after" in watcher.output
    assert "20/20 trial" in watcher.output
    record = invariants(fleet.url, "b", 20)
    assert {trial.state for trial in record.trials} == {"complete"}
    assert len({str(trial.params) for trial in record.trials}) == 20
    again = fleet.start("worker", "--trainers", 2, "--once")
    assert again.wait() == 0
    assert "with 0 trials finished" in again.output
    assert fleet.read("b") == record


def test_a_killed_workers_trials_are_done_by_another(local_fleet):
    """Fault 1."""
    fleet = local_fleet
    fleet.create("k", 6, 0.6)
    doomed = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("k", 2, running=True)
    other = fleet.start("worker", "--trainers", 1, "--study", "k")
    doomed.send(signal.SIGKILL)
    fleet.wait_for_trials("k", 6)
    other.send(signal.SIGTERM)
    assert other.wait() == 0
    record = invariants(fleet.url, "k", 6)
    broken = [trial for trial in record.trials if trial.state == "failed"]
    assert broken
    for trial in broken:
        assert trial.reason.startswith(("process killed: ", "lease expired: no sign of life from"))
        assert [t.params for t in record.trials if t.slot == trial.slot and t.attempt == 2] == [trial.params]


def test_a_worker_that_serves_once_stays_for_what_others_may_give_back(local_fleet):
    watcher = local_fleet.create("s", 1, 2.0)
    first = local_fleet.start("worker", "--trainers", 1)
    local_fleet.wait_for_trials("s", running=True)
    os.kill(first.trainers[0], signal.SIGSTOP)  # for as long as the second worker takes to start
    second = local_fleet.start("worker", "--trainers", 1, "--once")
    local_fleet.wait_for(lambda: "waiting" in second.output)
    first.send(signal.SIGKILL)
    assert second.wait() == watcher.wait() == 0
    assert [trial.attempt for trial in invariants(local_fleet.url, "s", 1).trials] == [1, 2]


def test_a_stop_of_the_whole_group_drains_too(local_fleet):
    """As Slurm or systemd do it: trainers get the signal as well."""
    local_fleet.create("s", 20, 0.5)
    worker = local_fleet.start("worker", "--trainers", 2)
    local_fleet.wait_for_trials("s", running=True)
    for pid in [worker.pid, *descendants(worker.pid)]:
        os.kill(pid, signal.SIGTERM)
    assert worker.wait() == 0
    states = {trial.state for trial in local_fleet.read("s").trials}
    assert states == {"complete"}, worker.output


def test_sigterm_drains(local_fleet):
    """Fault 7."""
    fleet = local_fleet
    fleet.create("d", 50, 4)
    worker = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("d", 2, running=True)
    finished = fleet.progress("d").finished + 2  # the first trainer may be done before the second has started
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert "finishing the trials that run, for at most 30 s" in worker.output
    assert f"with {finished} trials finished" in worker.output
    assert {trial.state for trial in fleet.read("d").trials} == {"complete"}
    assert (fleet.progress("d").complete, fleet.progress("d").open) == (finished, 50 - finished)


@pytest.mark.parametrize("how", ["second signal", "limit"])
def test_what_is_not_drained_is_given_back(local_fleet, how):
    """Fault 8."""
    local_fleet.create("g", 4, 60)
    worker = local_fleet.start("worker", "--trainers", 2, "--drain-seconds", 30 if how == "second signal" else 0.5)
    local_fleet.wait_for_trials("g", 2, running=True)
    worker.send(signal.SIGTERM)
    if how == "second signal":
        local_fleet.wait_for(lambda: "finishing" in worker.output)
        worker.send(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert (local_fleet.progress("g").open, local_fleet.progress("g").claimed) == (4, 0)
    assert {(t.state, t.reason) for t in local_fleet.read("g").trials} == {("interrupted", None)}


@pytest.mark.parametrize("fleet", ["sqlite", "postgresql"], indirect=True)
def test_a_paused_worker_loses_its_trials_and_goes_on_with_others(fleet):
    """Fault 6."""
    lease = {"HPO_LEASE_SECONDS": "3"}  # no loaded machine holds up the workers that are not paused for so long
    watcher = fleet.create("p", 4, 4)
    paused = fleet.start("worker", "--trainers", 1, **lease)
    fleet.wait_for_trials("p", 1, running=True)
    watcher.send(signal.SIGKILL)  # it would give the slot back before the other worker has started
    paused.send(signal.SIGSTOP)
    other = fleet.start("worker", "--trainers", 1, "--max-trials", 2, **lease)
    fleet.wait_for(lambda: any("lease expired" in (t.reason or "") for t in fleet.read("p").trials))
    paused.send(signal.SIGCONT)
    fleet.wait_for_trials("p", 4)
    assert other.wait() == 0
    paused.send(signal.SIGTERM)
    assert paused.wait() == 0
    assert "was given to another worker" in paused.output
    assert "with 2 trials finished" in paused.output
    record = invariants(fleet.url, "p", 4)
    assert len([trial for trial in record.trials if trial.state == "failed"]) == 1


@pytest.mark.parametrize(
    ("point", "fleet"),  # what each database does of a killed transaction is tested with storage
    [("after_claim", "postgresql"), ("before_spool", "sqlite"), ("after_spool", "mariadb"), ("after_tell", "sqlite")],
    indirect=["fleet"],
)
def test_a_worker_that_dies_at_any_point_loses_nothing(fleet, point):
    """Fault 2."""
    watcher = fleet.create("f", 4)
    doomed = fleet.start("worker", "--trainers", 1, HPO_FAILPOINT=f"{point}:kill:2")
    assert doomed.wait() == -signal.SIGKILL
    # With its short lease the slot would be given back before the next worker has started.
    watcher.send(signal.SIGKILL)
    next_one = fleet.start("worker", "--trainers", 1)
    fleet.wait_for_trials("f", 4)
    next_one.send(signal.SIGTERM)
    assert next_one.wait() == 0
    record = invariants(fleet.url, "f", 4)
    broken = [trial for trial in record.trials if trial.state == "failed"]
    assert len(broken) == (point in ("after_claim", "before_spool"))
    assert ("kept on this machine from before" in next_one.output) == (point in ("after_spool", "after_tell"))
    assert not fleet.spooled


@pytest.mark.parametrize("module", ["run", "serve"])
def test_no_transaction_waits_for_an_import(module):
    """Optuna's tables take half a second to import, and a claim would hold the database meanwhile."""
    check = f"import sys, hpo.worker.{module}; sys.exit('hpo_storage.optuna' not in sys.modules)"
    assert run_python(check).returncode == 0


def test_a_trial_over_its_time_limit_fails(local_fleet):
    """Fault 20."""
    words = ("run", "--study", "t", *synthetic(60, 3), "--trainers", 2, "--trial-timeout", 1, "--no-report")
    run = local_fleet.start(*words)
    assert run.wait() == 1
    assert "t has no result" in run.output
    record = invariants(local_fleet.url, "t", 3)
    assert {(t.state, t.reason) for t in record.trials} == {("failed", "stopped at its time limit, 1.0 s")}
    assert [trial.attempt for trial in record.trials] == [1, 1, 1]


@pytest.mark.parametrize(
    ("limit", "fleet"),
    [("--time-limit", "sqlite"), ("--trainer-seconds", "postgresql"), ("--time-limit", "mariadb")],
    indirect=["fleet"],
)
def test_a_limit_ends_a_study_and_lifting_it_goes_on(fleet, limit):
    watcher = fleet.create("l", 12, 0.5, limit, "3s")
    worker = fleet.start("worker", "--trainers", 2)
    assert watcher.wait() == 0
    name = "wall time" if limit == "--time-limit" else "trainer seconds"
    assert f"l is over, as its {name} is used up," in watcher.output
    assert f"hpo run --study l {limit} none" in watcher.output
    fleet.wait_for(lambda: not fleet.progress("l").claimed)
    assert 0 < fleet.progress("l").finished < 12
    assert {trial.reason for trial in fleet.read("l").trials} == {None}
    seconds = [(trial.finished - trial.started).total_seconds() for trial in fleet.read("l").trials]
    assert sum(seconds) < 6 * 2
    run = fleet.start("run", "--study", "l", "--no-report")
    assert run.wait() == 0
    assert f"l is over, as its {name} is used up; nothing was done" in run.output
    run = fleet.start("run", "--study", "l", "--no-report", limit, "none", "--workers", 0)
    assert run.wait() == 0
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    invariants(fleet.url, "l", 12)


@pytest.mark.parametrize("fleet", ["sqlite", "mariadb"], indirect=True)
def test_a_run_and_workers_share_a_study(fleet):
    run = fleet.start("run", "--study", "s", *synthetic(0.7, 16), "--no-report", "--trainers", 1)
    fleet.wait_for(lambda: fleet.exists("s"))
    worker = fleet.start("worker", "--trainers", 2, "--once")
    second = fleet.start("run", "--study", "s", "--no-report")
    assert second.wait() == 2
    assert f"process {run.pid}" in second.output
    assert worker.wait() == 0
    assert run.wait() == 0
    assert "training: 1 trainer\n" in run.output
    assert "trials\t16 of 16: 16 complete" in run.output
    record = invariants(fleet.url, "s", 16)
    assert len({trial.worker for trial in record.trials}) == 2


def test_workers_serve_new_studies_and_only_what_they_can(local_fleet):
    fleet = local_fleet
    (fleet.folder / "here_only.py").write_text(SPACE)
    fleet.create("mine", 2, 0.05, "--space", "here_only:SPACE")
    (fleet.folder / "here_only.py").unlink()
    worker = fleet.start("worker", "--trainers", 1, "--max-trials", 5)
    fleet.wait_for(lambda: "this worker leaves mine to others" in worker.output)
    assert "here_only" in worker.output
    fleet.wait_for(lambda: "waiting for a study with open slots" in worker.output)
    fleet.create("one", 3)
    fleet.create("two", 3)
    assert worker.wait() == 0
    assert "with 5 trials finished" in worker.output
    assert fleet.progress("one").finished + fleet.progress("two").finished == 5
    # Said once each time that there is nothing to do: before the two studies, and perhaps between them.
    assert worker.output.count("waiting for a study") <= 2
    named = fleet.start("worker", "--study", "mine", "--once")
    assert named.wait() == 2
    assert "here_only" in named.output
    missing = fleet.start("worker", "--study", "none", "--once")
    assert missing.wait() == 2
    assert "use one of mine, one, two" in missing.output


SPACE = """
from hpo_spaces.mlp import MLP
SPACE = MLP
"""


def test_the_data_comes_with_the_study(local_fleet):
    """A table is served from the database alone, and a study of it resumed, when its file is gone."""
    fleet = local_fleet
    path = fleet.folder / "table.csv"
    path.write_text(two_classes())
    words = ("--trials", 2, "--max-epochs", 2, "--replicates", 2, "--no-report", "--workers", 0)
    watcher = fleet.start("run", "--study", "c", "--data", path, "--target", "label", *words)
    fleet.wait_for(lambda: fleet.exists("c"))
    path.unlink()
    worker = fleet.start("worker", "--trainers", 1, "--max-trials", 2)
    assert (watcher.wait(), worker.wait()) == (0, 0), watcher.output + worker.output
    more = fleet.start("run", "--study", "c", "--trials", 3, "--no-report", "--trainers", 1)
    assert more.wait() == 0, more.output
    invariants(fleet.url, "c", 3)
    replay = fleet.start("replay", "--study", "c", "--trial", 1)
    assert replay.wait() == 0, replay.output
    assert "trial 1 is the same up to rounding" in replay.output


def test_a_bad_study_is_left_alone_and_a_new_one_in_its_place_is_served(local_fleet):
    """SQLite gives the id of a deleted study to the next one."""
    fleet = local_fleet
    fleet.create("good", 2)
    with opened(fleet.url) as database:
        bad = create_study(database, "s", {}, {"replicates": 1}, {}, 2)
    worker = fleet.start("worker", "--trainers", 1)
    fleet.wait_for(lambda: "this worker leaves s to others" in worker.output)
    fleet.wait_for_trials("good", 2)
    for replicates in (2, 3):
        with opened(fleet.url) as database:
            fleet.wait_for(lambda: not fleet.read("s").running)
            delete_study(database, bad)
        fleet.create("s", 2, 0.05, "--replicates", replicates)
        with opened(fleet.url) as database:
            assert find_study(database, "s").id == bad
        fleet.wait_for_trials("s", 2)
        assert [len(trial.replicates) for trial in invariants(fleet.url, "s", 2).trials] == [replicates] * 2
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_watcher_gives_back_what_the_dead_left_and_says_that_nobody_is_there(local_fleet):
    watcher = local_fleet.create("w", 2, 60)
    worker = local_fleet.start("worker", "--trainers", 1)
    local_fleet.wait_for_trials("w", running=True)
    local_fleet.wait_for(lambda: watcher.output.count("no worker serves w") == 1)
    worker.send(signal.SIGKILL)
    local_fleet.wait_for(lambda: watcher.output.count("no worker serves w") == 2)
    local_fleet.wait_for(lambda: local_fleet.progress("w").open == 2)


def run_synthetic(url, trials):
    asked_for = request("s", objective="synthetic", sleep=0.05, trials=trials, trainers=1)
    worker_run.run(asked_for, url=url)
    return read(url, "s")


def test_an_outage_while_another_study_is_looked_for_stops_no_trial(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/hpo.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    run_synthetic(url, 1)
    with opened(url) as database:
        worker_run.studies.extend_study(database, find_study(database, "s").id, 4)
    open_studies, asked, stop = serve_module.studies.open_studies, [], StopRequest()

    def away(database):
        asked.append(True)
        if len(asked) > 1:
            raise StorageAwayError("gone")
        return open_studies(database)

    monkeypatch.setattr(serve_module.studies, "open_studies", away)
    monkeypatch.setattr(serve_module, "SHARE_SECONDS", 0.0)
    timer = threading.Timer(30, stop.ask)
    timer.start()
    service, training = Terms(max_trials=3), Training(trainers=1, backend="tensorflow")
    assert serve(service, training, url=url, view=SilentView(), stop=stop).finished == 3
    timer.cancel()
    assert len(asked) > 1


def test_a_replay_that_fails_says_why(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/hpo.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    replicates = run_synthetic(url, 1).trials[0].replicates
    outcome = Outcome(state="failed", reason="it diverged", replicates=replicates[:1])

    class FailingPool(TrainerPool):
        def listen(self):
            return [Settled(claim, outcome) for claim in self.claims]

    monkeypatch.setattr(replay_module, "TrainerPool", FailingPool)
    with pytest.raises(StudyError, match="trial 0 could not be trained again: it diverged"):
        replay_module.replay("s", 0, url=url, backend="tensorflow", view=SilentView())


def study(number, open_, workers):
    return OpenStudy(id=number, name=str(number), open=open_, claimed=0, workers=workers)


def test_the_study_with_the_fewest_workers_per_open_slot_is_served():
    assert fairest([], None) is None
    assert fairest([study(1, 10, 1), study(2, 10, 0)], None).id == 2
    assert fairest([study(1, 10, 1), study(2, 40, 2)], None).id == 2
    # Whoever asks does not count itself, and stays where nothing is gained.
    assert fairest([study(1, 10, 1), study(2, 10, 0)], 1).id == 1
    assert fairest([study(1, 10, 2), study(2, 10, 0)], 1).id == 2
    assert fairest([study(1, 10, 0), study(2, 10, 1)], 2).id == 2
