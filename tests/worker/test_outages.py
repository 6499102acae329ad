"""A database that goes away, hangs and comes back while workers train: nothing is lost, nobody is robbed."""

import select
import signal
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.slow

ANSWER_SECONDS = "4"
"""When a server counts as hung: no less, for on a busy machine a sound one may take a second for its answer."""


class Proxy:
    """Forwards connections to a server, until it is cut or frozen."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = url.replace(f":{parts.port}/", f":{self.port}/")
        self._pairs, self._open, self._frozen, self._ended = [], True, False, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self):
        """End all connections, and those that come."""
        self._open = False

    def freeze(self):
        """Keep connections open, and forward nothing."""
        self._frozen = True

    def restore(self):
        self._open, self._frozen = True, False

    def end(self):
        self._ended = True
        self._thread.join()

    def _run(self):
        while not self._ended:
            if not self._open:
                self._drop(list(self._pairs))
            mine = [] if self._frozen else [one for pair in self._pairs for one in pair]
            for one in select.select([self._listener, *mine], [], [], 0.02)[0]:
                self._accept() if one is self._listener else self._forward(one)
        self._drop(list(self._pairs))
        self._listener.close()

    def _accept(self):
        client = self._listener.accept()[0]
        if self._open:
            self._pairs.append((client, socket.create_connection(self._server)))
        else:
            client.close()

    def _forward(self, one):
        pairs = [pair for pair in self._pairs if one in pair]
        for pair in pairs:
            other = pair[one is pair[0]]
            try:
                data = one.recv(1 << 16)
                other.sendall(data)
            except OSError:
                data = b""
            if not data:
                self._drop([pair])

    def _drop(self, pairs):
        for pair in pairs:
            self._pairs.remove(pair)
            for one in pair:
                with suppress(OSError):
                    one.close()


@pytest.fixture
def proxy(server_fleet):
    there = Proxy(server_fleet.url)
    yield there
    there.end()


def assert_nothing_was_lost(fleet, name, budget):
    """Every slot has a result; at most a claim whose answer got lost on the way was repeated."""
    record = fleet.assert_exact(name, budget)
    assert len([trial for trial in record.trials if trial.state == "complete"]) == budget
    assert len(record.trials) <= budget + 1


@pytest.mark.parametrize("how", ["cut", "freeze"])
def test_faults_4_and_5_results_wait_for_the_database(server_fleet, proxy, how):
    fleet = server_fleet
    fleet.create("o", 12, 0.5).end()  # who still reaches the database would give the slots to others
    words = ("worker", "--storage", proxy.url, "--trainers", 2, "--once")
    worker = fleet.start(*words, HPO_ANSWER_SECONDS=ANSWER_SECONDS, HPO_LEASE_SECONDS="3")
    fleet.wait_for_trials("o", 3)
    getattr(proxy, how)()
    fleet.wait_for(lambda: "waiting for it" in worker.output)
    fleet.wait_for(lambda: list((fleet.folder / "state").rglob("*.json")))
    finished = fleet.progress("o").finished
    threading.Event().wait(4)  # longer than a lease
    assert fleet.progress("o").finished == finished
    proxy.restore()
    assert worker.wait() == 0
    assert worker.output.count("waiting for it") == worker.output.count("the database answers again") == 1
    assert_nothing_was_lost(fleet, "o", 12)
    assert not list((fleet.folder / "state").rglob("*.json"))


def test_a_stop_during_an_outage_keeps_results_for_the_next_start(server_fleet, proxy):
    fleet = server_fleet
    fleet.create("s", 4, 0.5)
    words = ("worker", "--storage", proxy.url, "--trainers", 1, "--drain-seconds", 1)
    worker = fleet.start(*words, HPO_LEASE_SECONDS="20")
    fleet.wait_for_trials("s", 1)
    fleet.wait_for_trials("s", 1, running=True)
    proxy.cut()
    fleet.wait_for(lambda: list((fleet.folder / "state").rglob("*.json")))
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
