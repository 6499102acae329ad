"""A database that goes away, hangs and comes back while workers train: nothing is lost, nobody is robbed."""

import signal
import time

import pytest

from tests.helpers.invariants import invariants
from tests.helpers.proxy import Proxy

pytestmark = pytest.mark.slow

ANSWER_SECONDS = "4"
"""When a server counts as hung: no less, for on a busy machine a sound one may take a second for its answer."""


@pytest.fixture
def proxy(server_fleet):
    there = Proxy(server_fleet.url)
    yield there
    there.close()


def assert_nothing_was_lost(fleet, name, budget):
    """Every slot has a result; at most a claim whose answer got lost on the way was repeated."""
    record = invariants(fleet.url, name, budget)
    assert len([trial for trial in record.trials if trial.state == "complete"]) == budget
    assert len(record.trials) <= budget + 1


@pytest.mark.parametrize(
    ("how", "server_fleet"), [("cut", "postgresql"), ("freeze", "mariadb")], indirect=["server_fleet"]
)
def test_faults_4_and_5_results_wait_for_the_database(server_fleet, proxy, how):
    fleet = server_fleet
    fleet.create("o", 12, 0.5).end()  # who still reaches the database would give the slots to others
    words = ("worker", "--storage", proxy.url, "--trainers", 2, "--once")
    worker = fleet.start(*words, HPO_ANSWER_SECONDS=ANSWER_SECONDS, HPO_LEASE_SECONDS="3")
    fleet.wait_for_trials("o", 3)
    getattr(proxy, how)()
    fleet.wait_for(lambda: "waiting for it" in worker.output)
    fleet.wait_for(lambda: fleet.spooled)
    finished = fleet.progress("o").finished
    time.sleep(4)  # longer than a lease
    assert fleet.progress("o").finished == finished
    proxy.restore()
    assert worker.wait() == 0
    assert worker.output.count("waiting for it") == worker.output.count("the database answers again") == 1
    assert_nothing_was_lost(fleet, "o", 12)
    assert not fleet.spooled


@pytest.mark.parametrize("server_fleet", ["postgresql"], indirect=True)
def test_a_stop_during_an_outage_keeps_results_for_the_next_start(server_fleet, proxy):
    fleet = server_fleet
    fleet.create("s", 4, 0.5)
    words = ("worker", "--storage", proxy.url, "--trainers", 1, "--drain-seconds", 1)
    worker = fleet.start(*words, HPO_LEASE_SECONDS="20")
    fleet.wait_for_trials("s", 1)
    fleet.wait_for_trials("s", 1, running=True)
    proxy.cut()
    fleet.wait_for(lambda: fleet.spooled)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert "to be told at the next start: 1 result" in worker.output
    before = fleet.progress("s").finished
    proxy.restore()
    again = fleet.start(*words, "--once")
    assert again.wait() == 0
    assert "kept on this machine from before, and told now: 1 result" in again.output
    assert before < 4
    assert_nothing_was_lost(fleet, "s", 4)
