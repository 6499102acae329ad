"""A start in a bad moment: connections that end, a server that is not there yet."""

import signal

import pytest

from tests.helpers.fleet import synthetic
from tests.helpers.proxy import Proxy
from tests.helpers.servers import SERVERS

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("fleet", list(SERVERS), indirect=True)]

LOSS = 0.01
"""Of the pieces that pass; a transaction on a new connection has some fifty."""
STARTS = 2


def test_fault_82_connections_that_end_while_commands_start(fleet):
    made = Proxy(fleet.url, loss=LOSS / 10)  # in one transaction, of hundreds of pieces
    assert fleet.start("db", "upgrade", HPO_STORAGE=made.url).wait() == 0, fleet.outputs
    made.close()
    for seed in range(STARTS):
        proxy, name = Proxy(fleet.url, loss=LOSS, seed=seed), f"s{seed}"
        words = ("run", "--study", name, *synthetic(0, 3), "--trainers", 1, "--no-report")
        codes = [fleet.start(*words, HPO_STORAGE=proxy.url).wait(180)]
        commands = [("status", "--study", name), ("list",), ("db", "upgrade"), ("worker", "--once", "--trainers", 1)]
        others = [fleet.start(*words, HPO_STORAGE=proxy.url) for words in commands]
        codes += [process.wait(180) for process in others]
        proxy.close()
        assert codes == [0] * len(codes), fleet.outputs
        fleet.finish(name)


def test_fault_82_a_server_that_comes_up_after_its_worker(fleet):
    assert fleet.start("db", "upgrade").wait() == 0
    fleet.server.crash()
    worker = fleet.start("worker", "--trainers", 1)
    run = fleet.start("run", "--study", "s", *synthetic(0, 3), "--workers", 0, "--no-report")
    fleet.wait_for(lambda: all("waiting for the database" in process.output for process in (worker, run)))
    fleet.server.start()
    fleet.wait_for(lambda: fleet.exists("s"))
    fleet.finish("s", worker)
    assert run.wait() == 0, run.output


def test_fault_82_a_server_that_stays_away(fleet):
    """It is waited for as long as an answer, unless the user wants to wait no longer; what is wrong for good is not."""
    url = fleet.url.replace(f":{fleet.server.port}/", ":1/")
    status = fleet.start("status", "--study", "s", HPO_STORAGE=url, HPO_ANSWER_SECONDS="1")
    worker = fleet.start("worker", HPO_STORAGE=url, HPO_ANSWER_SECONDS="300")
    run = fleet.start("run", "--study", "s", *synthetic(0, 3), HPO_STORAGE=url, HPO_ANSWER_SECONDS="300")
    fleet.wait_for(lambda: all("waiting for the database" in process.output for process in (worker, run)))
    worker.send(signal.SIGTERM)
    run.send(signal.SIGINT)
    assert [worker.wait(), run.wait()] == [0, 130], fleet.outputs
    assert status.wait() == 2, status.output
    assert "check host, port" in status.output
    wrong = fleet.start("list", HPO_STORAGE=fleet.url + "nosuch", HPO_ANSWER_SECONDS="300")
    assert wrong.wait() == 2, wrong.output
    assert "Traceback" not in fleet.outputs
