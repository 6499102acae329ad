"""A pooler between hpo and PostgreSQL: each transaction may be another session of the server."""

import re

import pytest

from tests.helpers.fleet import synthetic
from tests.helpers.servers import MissingError, PgBouncer

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("fleet", ["postgresql"], indirect=True)]


@pytest.fixture
def pooled(fleet):
    """The fleet's database by way of PgBouncer."""
    try:
        pooler = PgBouncer(fleet.server)
    except MissingError as missing:
        pytest.skip(f"needs {missing}: it is not installed")
    try:
        pooler.start()
        yield pooler.pooled(fleet.url)
        fleet.end()
    finally:
        pooler.close()


def test_fault_64_a_pooler_in_transaction_mode(fleet, pooled):
    direct, fleet.url = fleet.url, pooled
    upgraded = fleet.start("db", "upgrade")
    assert upgraded.wait() == 0, upgraded.output
    run = fleet.start("run", "--study", "s", *synthetic(0.02, 60), "--trainers", 2, "--no-report")
    fleet.wait_for(lambda: fleet.exists("s"))
    workers = [fleet.start("worker", "--trainers", 2) for _ in range(2)]
    record = fleet.finish("s", *workers)
    assert run.wait() == 0, run.output
    assert {trial.state for trial in record.trials} == {"complete"}
    for words in (("status", "--study", "s"), ("db", "check"), ("delete", "--study", "s", "--yes")):
        done = fleet.start(*words)
        assert done.wait() == 0, done.output
    assert not fleet.exists("s")
    assert not re.search("Traceback|another worker|waiting for it", fleet.outputs), fleet.outputs
    fleet.url = direct
