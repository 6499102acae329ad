"""Database servers that restart, stop for a while, hang, or have no connection left."""

import json
import signal
import time

import pytest

from tests.helpers.servers import SERVERS

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("fleet", list(SERVERS), indirect=True)]


def assert_complete(record):
    """Each slot has a result; all that was repeated is an attempt whose beginning or end got lost on the way."""
    assert len([trial for trial in record.trials if trial.state == "complete"]) == record.budget
    for trial in record.trials:
        assert trial.reason is None or trial.reason.startswith("lease expired"), trial.reason


def test_fault_03_a_server_that_is_restarted_while_trials_run(fleet):
    # So many trials that some run at each crash, however late the look that waits for it.
    watcher = fleet.create("s", 40, 0.5)
    workers = [fleet.start("worker", "--trainers", 2, HPO_LEASE_SECONDS="2") for _ in range(2)]
    for finished in (3, 9):
        fleet.wait_for_trials("s", finished)
        fleet.wait_for_trials("s", 2, running=True)
        fleet.server.crash()
        fleet.server.start()
    assert_complete(fleet.finish("s", *workers))
    assert watcher.wait() == 0, watcher.output
    assert "s is finished after" in watcher.output
    assert fleet.spooled == []


def test_fault_04_a_server_that_is_down_while_results_are_told(fleet):
    lease = 1.5
    fleet.create("s", 10, 1)
    workers = [fleet.start("worker", "--trainers", 2, HPO_LEASE_SECONDS=str(lease)) for _ in range(2)]
    fleet.wait_for_trials("s", 2)
    fleet.wait_for_trials("s", 4, running=True)
    fleet.server.crash()
    down = time.monotonic()
    fleet.wait_for(lambda: len(fleet.spooled) >= 3)
    fleet.wait_for(lambda: time.monotonic() > down + 3 * lease)
    spooled = {json.loads(path.read_text())["claim"]["number"] for path in fleet.spooled}
    fleet.server.start()
    record = fleet.finish("s", *workers)
    assert_complete(record)
    assert [trial.state for trial in record.trials if trial.number in spooled] == ["complete"] * len(spooled)
    for worker in workers:
        assert worker.output.count("; waiting for it") == worker.output.count("the database answers again") == 1
    assert fleet.spooled == []


def test_fault_05_a_server_that_hangs(fleet):
    fleet.create("s", 10, 0.5)
    workers = [fleet.start("worker", "--trainers", 2, HPO_ANSWER_SECONDS="4") for _ in range(2)]
    fleet.wait_for_trials("s", 2)
    fleet.server.freeze()
    fleet.wait_for(lambda: all("; waiting for it" in worker.output for worker in workers))
    fleet.wait_for(lambda: fleet.spooled)
    fleet.server.thaw()
    assert_complete(fleet.finish("s", *workers))
    assert all("the database answers again" in worker.output for worker in workers)
    assert fleet.spooled == []


def test_fault_17_a_server_with_fewer_connections_than_are_wanted(fleet):
    fleet.create("s", 12, 0.2)
    if fleet.server.name == "postgresql":
        fleet.server.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 3")
        fleet.server.execute("GRANT pg_read_all_data, pg_write_all_data TO few")
    else:
        fleet.server.execute("CREATE USER few WITH MAX_USER_CONNECTIONS 3")
        fleet.server.execute("GRANT ALL ON *.* TO few")
    url = fleet.url.replace("postgres@", "few@").replace("root@", "few@")
    workers = [fleet.start("worker", "--trainers", 1, HPO_STORAGE=url) for _ in range(3)]
    fleet.wait_for(lambda: fleet.is_over("s"))
    for worker in workers:
        worker.send(signal.SIGTERM)
    for worker in workers:
        code = worker.wait()
        assert "Traceback" not in worker.output
        assert code == 0 or (code == 2 and "no connection became free" in worker.output), worker.output
    assert_complete(fleet.finish("s"))
