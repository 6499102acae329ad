"""Whole studies with real trainers on a real SQLite file: resumed, extended, interrupted, killed."""

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.errors import DataError, SpaceError, StudyError, StudyRunningError
from hpo.study import resolve
from hpo.study.standing import winner
from hpo.worker.progress import SilentView
from hpo.worker.run import run as run_only
from tests.helpers.databases import read
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import assert_exact
from tests.helpers.processes import trainers, wait_until
from tests.helpers.tables import two_classes

pytestmark = pytest.mark.slow

FAST = {"data": "iris", "max_epochs": 3, "replicates": 2}


def request(name, **given):
    """With one trainer, unless the test says otherwise: each imports the framework anew."""
    return resolve.request(name, **({"trainers": 1} | given))


def run(asked_for, *, url, **how):
    """What a run leaves behind, with all trials for its record."""
    return replace(run_only(asked_for, url=url, **how), record=read(url, asked_for.name))


class Watching(SilentView):
    """Remembers what it was told, and may act on it."""

    def __init__(self, on_update=lambda snapshot: None, on_trial=lambda line, snapshot: None):
        self.lines, self.messages, self.snapshots = [], [], []
        self._on_update, self._on_trial = on_update, on_trial

    def update(self, snapshot):
        self.snapshots.append(snapshot)
        self._on_update(snapshot)

    def trial(self, line, snapshot):
        self.lines.append(line)
        self._on_trial(line, snapshot)

    def message(self, text):
        self.messages.append(text)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/hpo.db"


def table(folder, rows=60):
    path = folder / "table.csv"
    path.write_text(two_classes(rows))
    return path


def test_run_resume_extend_and_refuse_other_settings(url, tmp_path):
    view = Watching()
    result = run(request("s", **FAST, trials=3), url=url, view=view)
    assert not result.already_finished
    assert_exact(result.record, 3)
    assert len(view.lines) == 3
    assert winner(result.record).value == min(trial.value for trial in result.record.trials)
    assert {r.index for r in winner(result.record).replicates} == {0, 1}
    assert view.snapshots[-1].finished == 3
    assert view.snapshots[-1].prior_loss == pytest.approx(1.0986, abs=1e-4)

    again = run(request("s"), url=url)
    assert again.already_finished
    assert again.record == result.record

    extended = run(request("s", trials=4), url=url)
    assert_exact(extended.record, 4)
    assert extended.record.trials[:3] == result.record.trials

    with pytest.raises(StudyError, match=r"patience: stored 10, now 3"):
        run(request("s", patience=3), url=url)
    with pytest.raises(StudyError, match=r"data: stored 'iris', now 'wine'"):
        run(request("s", data="wine"), url=url)
    with pytest.raises(StudyError, match=r"budget can only grow.*has 4 trials, got 2"):
        run(request("s", trials=2), url=url)
    assert read(url, "s") == extended.record


def test_changed_file_is_refused(url, tmp_path):
    path = table(tmp_path)
    asked_for = request("f", data=path, target="label", max_epochs=2, replicates=2, trials=1)
    assert_exact(run(asked_for, url=url).record, 1)
    path.write_text(path.read_text() + "1,2,a\n")
    with pytest.raises(StudyError, match="has other content now"):
        run(request("f", trials=2), url=url)
    with pytest.raises(DataError, match="file that exists"):
        run(request("g", data=str(tmp_path / "none.csv"), target="label"), url=url)


def test_nothing_is_stored_for_bad_data(url, tmp_path):
    with pytest.raises(DataError, match=r"target must be a column of .*got 'lable'"):
        run(request("bad", data=str(table(tmp_path)), target="lable"), url=url)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_killed_trainer_is_replaced_and_its_trial_done_again(url):
    """Fault 1."""
    killed = []

    def kill_once(snapshot):
        if snapshot.running and snapshot.running[0].epoch > 0 and not killed:
            killed.append(trainers(os.getpid())[snapshot.running[0].trainer])
            os.kill(killed[0], signal.SIGKILL)

    view = Watching(on_update=kill_once)
    asked_for = request("k", data="digits", max_epochs=60, patience=60, replicates=1, pruner="none", trials=2)
    result = run(asked_for, url=url, view=view)
    assert killed
    assert_exact(result.record, 2)
    broken = [trial for trial in result.record.trials if trial.reason and "SIGKILL" in trial.reason]
    assert len(broken) == 1
    (second,) = [t for t in result.record.trials if t.slot == broken[0].slot and t is not broken[0]]
    assert second.params == broken[0].params
    assert second.attempt == broken[0].attempt + 1
    assert any("SIGKILL" in message for message in view.messages)


def test_interrupt_lets_running_trials_finish_and_can_be_resumed(url):
    def stop(snapshot):
        if snapshot.finished and snapshot.running and not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    asked, handler = [], signal.getsignal(signal.SIGINT)
    view = Watching(on_update=stop)
    first = run(request("i", **FAST, trials=12), url=url, view=view)
    assert first.interrupted
    assert 1 <= first.record.finished < 12
    assert not [trial for trial in first.record.trials if trial.state != "complete"]
    assert any("Ctrl-C again" in message for message in view.messages)
    assert signal.getsignal(signal.SIGINT) is handler
    second = run(request("i"), url=url)
    assert_exact(second.record, 12)
    assert not second.interrupted


@pytest.mark.parametrize("trainers", [1, 2])
def test_populations_keep_the_budget(url, trainers):
    view = Watching()
    record = run(request("p", **FAST, trials=7, trainers=trainers, population=3), url=url, view=view).record
    assert_exact(record, 7)
    assert {trial.state for trial in record.trials} <= {"complete", "raced out"}
    assert all(len(trial.replicates) == 2 and trial.state == "complete" for trial in record.trials[:6])
    assert max(one.others for snapshot in view.snapshots for one in snapshot.running) == 2
    assert max(len(snapshot.running) for snapshot in view.snapshots) <= trainers


def test_a_population_is_given_back_at_a_second_interrupt(url):
    def stop(snapshot):
        if snapshot.running and snapshot.running[0].epoch > 0:
            os.kill(os.getpid(), signal.SIGINT)

    slow = {"data": "digits", "max_epochs": 150, "patience": 150, "replicates": 2, "pruner": "none"}
    first = run(request("g", **slow, trials=3, trainers=1, population=3), url=url, view=Watching(stop))
    assert first.interrupted
    broken = [trial for trial in first.record.trials if trial.state == "interrupted"]
    assert len(broken) + first.record.finished == 3
    assert broken
    assert not first.record.running


def test_second_run_leaves_and_a_killed_one_can_be_resumed(local_fleet):
    words = ("run", "--study", "d", *synthetic(2, 3), "--no-report")
    first, url = local_fleet.start(*words, HPO_LEASE_SECONDS="60"), local_fleet.url
    local_fleet.wait_for(lambda: local_fleet.exists("d"))
    local_fleet.wait_for_trials("d", running=True)
    with pytest.raises(StudyRunningError, match=rf"process {first.pid}"):
        run(request("d"), url=url)
    first.end()
    assert not read(url, "d").running
    result = run(request("d"), url=url)
    assert_exact(result.record, 3)
    killed = [trial for trial in result.record.trials if trial.state == "failed"]
    assert killed
    for trial in killed:
        assert trial.reason.startswith("process killed: ")
        again = [t for t in result.record.trials if t.slot == trial.slot and t.attempt == trial.attempt + 1]
        assert again[0].params == trial.params


def test_killed_supervisors_trainers_end(local_fleet):
    words = ("--data", "digits", "--trials", 4, "--no-racing", "--no-report", "--trainers", 1)
    supervisor = local_fleet.start("run", "--study", "o", *words)
    local_fleet.wait_for(lambda: local_fleet.exists("o"))
    local_fleet.wait_for_trials("o", running=True)
    started = supervisor.trainers
    assert started
    supervisor.end()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), 30)


DIVERGING = """
from hpo_spaces import Categorical, MlpSpace
from hpo_spaces.mlp import MLP


def network(params):
    from dataclasses import replace
    return replace(MLP.architecture(MLP.decode([0.5] * MLP.size)), learning_rate=params["rate"])


SPACE = MlpSpace(name="wild", dimensions=(Categorical("rate", (1e35, 1e-3)),), architecture=network)
"""


def test_diverging_trials_fail_with_a_reason_and_never_win(url, tmp_path, monkeypatch):
    """Fault 18."""
    (tmp_path / "wild_space.py").write_text(DIVERGING)
    monkeypatch.chdir(tmp_path)
    record = run(request("w", space="wild_space:SPACE", sampler="random", **FAST, trials=8), url=url).record
    assert_exact(record, 8)
    failed = [trial for trial in record.trials if trial.state == "failed"]
    assert failed
    assert all("not finite" in trial.reason and trial.params["rate"] == 1e35 for trial in failed)
    assert len(failed) < 8
    assert winner(record).params["rate"] == 1e-3

    (tmp_path / "wild_space.py").write_text(DIVERGING.replace("1e-3)", "2e-3)"))
    monkeypatch.delitem(sys.modules, "wild_space")
    with pytest.raises(StudyError, match=r"dimension 'rate': choices"):
        run(request("w", trials=9), url=url)


FAILING = """
from hpo.network.architecture import Architecture
from hpo_spaces import Float, MlpSpace


def network(params):
    if 0.55 < params["x"] < 0.95:  # away from the points that are tried before a study starts
        raise ValueError("no network here")
    return Architecture(
        widths=(8,), activation="relu", initializer="he_normal", dropout=0.0, learning_rate=0.01, batch_size=32
    )


SPACE = MlpSpace(name="part", dimensions=(Float("x", 0.0, 1.0),), architecture=network)
"""


def test_a_space_that_fails_at_some_points_fails_these_trials_only(url, tmp_path, monkeypatch):
    (tmp_path / "part_space.py").write_text(FAILING)
    monkeypatch.chdir(tmp_path)
    asked_for = request("p", space="part_space:SPACE", sampler="random", **FAST, trials=6)
    record = run(asked_for, url=url).record
    assert_exact(record, 6)
    bad = [trial for trial in record.trials if 0.55 < trial.params["x"] < 0.95]
    assert {trial.state for trial in bad} == {"failed"}
    said = "the search space failed: ValueError: no network here (line "
    assert {(trial.reason[: len(said)], trial.reason.rpartition(", in ")[2]) for trial in bad} == {(said, "network)")}
    good = [trial for trial in record.trials if trial not in bad]
    assert {trial.state for trial in good} <= {"complete", "raced out"}
    assert len({trial.slot for trial in bad}) + len(good) == 6


def test_same_seed_same_study(url, tmp_path):
    """One trainer: nothing depends on timing."""
    first = run(request("a", **FAST, trials=6), url=url).record
    second = run(request("b", **FAST, trials=6), url=url).record
    assert [t.params for t in first.trials] == [t.params for t in second.trials]
    assert [t.value for t in first.trials] == [t.value for t in second.trials]
    other = run(request("c", seed=1, **FAST, trials=6), url=url).record
    assert first.trials[5].params != other.trials[5].params  # the first five are starts


def test_runs_outside_the_main_thread(url):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(request("t", **FAST, trials=1), url=url)))
    thread.start()
    thread.join()
    assert_exact(results[0].record, 1)


def test_counts_below_one_are_refused(url):
    with pytest.raises(StudyError, match="trials must be a whole number from 1 to 2147483647, got 0"):
        run(request("z", **FAST, trials=0), url=url)
    with pytest.raises(StudyError, match="trainers must be a whole number from 1 to 1000, got -1"):
        run(request("z", **FAST, trainers=-1), url=url)
    with pytest.raises(SpaceError):
        run(request("z", space="nowhere:SPACE", **FAST), url=url)
    with pytest.raises(StudyError, match="replicates"):
        run(request("z", data="iris", replicates=0), url=url)
    with pytest.raises(StudyError, match="needs data"):
        run(request("nothing"), url=url)
