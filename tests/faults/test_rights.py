"""A server that answers, and refuses: a right that is missing, now or from some moment on."""

import pytest
from hpo_storage.migrations import HEAD

from tests.helpers.fleet import synthetic
from tests.helpers.servers import SERVERS

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("fleet", list(SERVERS), indirect=True)]

RUN = ("run", "--study", "s", *synthetic(0.05, 6), "--trainers", 1, "--no-report")


@pytest.fixture
def few(fleet):
    """The database's URL for a user who has no rights there yet; `allow` gives and takes them as the administrator."""
    postgres, admin = fleet.server.name == "postgresql", fleet.url
    name = admin.rpartition("/")[2]

    def allow(*statements):
        for statement in statements:
            _execute(admin, statement.replace("DB", name))

    if postgres:
        allow("DROP ROLE IF EXISTS few", "CREATE ROLE few LOGIN", "REVOKE CREATE ON SCHEMA public FROM public")
    else:
        allow("DROP USER IF EXISTS few", "CREATE USER few")
    yield admin.replace("postgres@", "few@").replace("root@", "few@"), allow
    if postgres:
        allow("DROP OWNED BY few", "DROP ROLE few")
    else:
        allow("DROP USER few")


def _execute(url, statement):
    import sqlalchemy as sa
    from hpo_storage.engine import parse_url

    engine = sa.create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def refused(process, *texts):
    assert process.wait() == 2, process.output
    assert "Traceback" not in process.output
    assert len([line for line in process.output.splitlines() if line.startswith("error: ")]) == 1
    assert [text for text in texts if text not in process.output] == [], process.output


def test_fault_63_rights_that_are_missing_from_the_start(fleet, few):
    url, allow = few
    if fleet.server.name == "postgresql":
        schema = "permission denied for schema public", "GRANT USAGE, CREATE ON SCHEMA public TO few"
        refused(fleet.start("db", "upgrade", HPO_STORAGE=url), "right to CREATE", *schema)
        refused(fleet.start(*RUN, HPO_STORAGE=url), *schema)
        assert fleet.start("db", "upgrade").wait() == 0
        table = (
            "permission denied for table hpo_alembic_version",
            "right to SELECT",
            "GRANT SELECT, INSERT, UPDATE, DELETE",
        )
        refused(fleet.start("list", HPO_STORAGE=url), *table)
        allow("GRANT SELECT ON ALL TABLES IN SCHEMA public TO few")
        refused(fleet.start(*RUN, HPO_STORAGE=url), "right to INSERT", "permission denied for table")
        allow("GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO few")
        refused(fleet.start(*RUN, HPO_STORAGE=url), "permission denied for sequence", "GRANT USAGE ON ALL SEQUENCES")
        allow("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO few")
        _execute(fleet.url, "UPDATE hpo_alembic_version SET version_num = '0002'")
        refused(fleet.start("db", "upgrade", HPO_STORAGE=url), "must be owner of table", "as the tables' owner")
        _execute(fleet.url, f"UPDATE hpo_alembic_version SET version_num = '{HEAD}'")
    else:
        refused(fleet.start("db", "upgrade", HPO_STORAGE=url), "Access denied for user 'few'", "GRANT ALL ON")
        allow("GRANT SELECT ON DB.* TO few")
        refused(fleet.start("db", "upgrade", HPO_STORAGE=url), "CREATE command denied", "GRANT ALL ON")
        assert fleet.start("db", "upgrade").wait() == 0
        refused(fleet.start(*RUN, HPO_STORAGE=url), "right to INSERT", "INSERT command denied", "GRANT SELECT, INSERT")
        allow("GRANT INSERT, UPDATE ON DB.* TO few")
    done = fleet.start(*RUN, HPO_STORAGE=url)
    assert done.wait() == 0, done.output
    refused(fleet.start("delete", "--study", "s", "--yes", HPO_STORAGE=url), "right to DELETE", "denied")
    fleet.finish("s")
    refused(fleet.start("list", HPO_STORAGE=fleet.url + "nosuch"), "nosuch", "create it first")


def test_fault_63_a_right_that_is_revoked_while_trials_run(fleet, few):
    url, allow = few
    fleet.create("s", 2, 2)
    on = "ON ALL TABLES IN SCHEMA public" if fleet.server.name == "postgresql" else "ON DB.*"
    rights = [f"GRANT SELECT, INSERT, UPDATE, DELETE {on} TO few"]
    if fleet.server.name == "postgresql":
        rights.append("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO few")
    allow(*rights)
    lease = {"HPO_STORAGE": url, "HPO_LEASE_SECONDS": "20"}
    worker = fleet.start("worker", "--trainers", 2, "--study", "s", **lease)
    fleet.wait_for_trials("s", 2, running=True)
    allow(f"REVOKE INSERT, UPDATE {on} FROM few")
    if fleet.server.name == "mariadb":  # where a session keeps the rights that it began with
        allow("KILL USER few")
    fleet.wait_for(lambda: "denied" in worker.output and fleet.spooled)
    assert "Traceback" not in worker.output
    allow(*rights)
    again = fleet.start("worker", "--trainers", 2, **lease)
    fleet.wait_for(lambda: again.output)  # the first one may end the study before this one has begun
    record = fleet.finish("s", again)
    assert len([trial for trial in record.trials if trial.state == "complete"]) == 2
    assert fleet.spooled == []
