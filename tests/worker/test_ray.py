"""Workers on a Ray cluster, on this machine: two nodes, real tasks, a node that is lost."""

import os
import sys
from pathlib import Path

import pytest

from hpo.errors import StorageError, StudyError
from hpo.settings import Training
from hpo.worker import ray as ray_launcher
from hpo.worker.ray import WorkerError, WorkerKilledError, check_ray, ray_workers
from tests.helpers.invariants import invariants
from tests.helpers.processes import command_line

SERVER = "postgresql://hpo@db/hpo"


@pytest.fixture
def short_leases(monkeypatch, tmp_path):
    """The environment of workers that are started from here."""
    monkeypatch.setenv("HPO_LEASE_SECONDS", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def cluster(short_leases, monkeypatch):
    """A Ray cluster of two nodes with one core each, and how to lose the second one."""
    pytest.importorskip("ray", reason="needs ray: Ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    there = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = there.add_node(num_cpus=1)
    there.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", there.address)
    yield lambda: there.remove_node(second, allow_graceful=False)
    there.shutdown()


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StudyError, match=r"pip install 'hpo\[ray\]'"):
        check_ray(SERVER, 2)


@pytest.mark.parametrize(
    ("url", "workers", "error", "message"),
    [
        ("sqlite:///hpo.db", 2, StorageError, "needs? a database server that all nodes reach, got 'sqlite:///hpo.db'"),
        (SERVER, 0, StudyError, "at least one worker, got 0; use workers=1"),
    ],
)
def test_what_cannot_work_is_refused(monkeypatch, url, workers, error, message):
    monkeypatch.setitem(sys.modules, "ray", sys)  # anything that can be imported
    with pytest.raises(error, match=message):
        check_ray(url, workers)


def test_options_become_those_of_the_command():
    training = Training(trainers=4, backend="jax")
    expected = "--study churn --drain-seconds 5 --trainers 4 --backend jax --device cpu"
    assert ray_launcher._arguments("churn", training, 5) == expected.split()
    expected = "--study churn --drain-seconds 30 --trainers 1 --population 3 --device cpu"
    assert ray_launcher._arguments("churn", Training(population=3), 30) == expected.split()


def test_a_worker_that_cannot_start_says_why(short_leases, tmp_path):
    with pytest.raises(WorkerError, match=r"exit code 2 on .*trainers must be a whole number from 1 to 1000"):
        ray_launcher._work(f"sqlite:///{tmp_path}/none.db", ["--trainers", "0"])


def test_a_worker_that_is_killed_is_told_from_one_that_fails(short_leases, monkeypatch, local_fleet):
    local_fleet.create("sleep", 1)
    monkeypatch.setenv("HPO_FAILPOINT", "after_claim:kill")
    with pytest.raises(WorkerKilledError, match="killed by SIGKILL on "):
        ray_launcher._work(local_fleet.url, ["--study", "sleep"])


@pytest.mark.slow
def test_a_study_on_two_nodes_one_of_which_is_lost(cluster, server_fleet):
    watcher = server_fleet.create("sleep", 3, 4.0)
    with ray_workers(server_fleet.url, "sleep", 2, Training()) as launched:
        server_fleet.wait_for(lambda: server_fleet.progress("sleep").claimed == 2)
        cluster()
        assert watcher.wait(120) == 0, watcher.output
        launched.check()
        assert _lines_with("--study sleep")
        assert not _lines_with(server_fleet.url)
    assert not _lines_with("--study sleep")
    record = invariants(server_fleet.url, "sleep", 3)
    assert len(record.trials) == 4  # one of them twice


@pytest.mark.slow
def test_workers_that_cannot_work_end_the_launch(cluster, server_fleet):
    with ray_workers(server_fleet.url, "no name", 2, Training()) as launched:

        def is_refused() -> bool:
            try:
                launched.check()
            except StudyError as error:
                assert "all 2 ended: exit code 2" in str(error)  # noqa: PT017 - it comes at some time
                return True
            return False

        server_fleet.wait_for(is_refused)


def _lines_with(words: str) -> list[str]:
    """Command lines of running workers that contain the words."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        line = command_line(int(path.parent.name)).replace(b"\0", b" ").decode(errors="replace")
        if words in line and "hpo.cli.main worker" in line and path.parent.name != str(os.getpid()):
            lines.append(line)
    return lines
