"""The snippet of docs/storage.md runs as printed."""

import re
from collections.abc import Callable
from pathlib import Path

from hpo_storage.database import Database
from hpo_storage.records import Outcome
from hpo_storage.slots import finish
from hpo_storage.tables import METADATA, STUDIES

from tests.helpers.processes import run_python

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "storage.md"


def test_the_snippet_reads_a_study(file_db: Database, path: Path, make_bench, outcome: Callable[..., Outcome]):
    bench = make_bench(file_db)
    finish(bench.db, bench.claim(), outcome(0.5))
    with bench.db.begin_write() as connection:
        connection.execute(STUDIES.update().values(name="mlp"))
        connection.exec_driver_sql("UPDATE studies SET study_name = 'mlp'")
    [snippet] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    done = run_python(snippet, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 COMPLETE 0.5 {'dropout': 0.0")
    assert (path.parent / "history.html").stat().st_size > 0


def test_every_table_is_described():
    described = set(re.findall(r"^\| `(hpo_\w+)`", GUIDE.read_text(), re.MULTILINE))
    assert described == {*METADATA.tables, "hpo_alembic_version"}
