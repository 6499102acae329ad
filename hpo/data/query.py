"""`python -m hpo.data.query`: the child process that asks a database for a table, and writes it as Parquet.

One JSON request on standard input: `sql`, `url` and `path`; one JSON answer on standard output. The URL may hold a
password: it is in no argument, no message and no file.
"""

import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.errors import DataError, InputError, use
from hpo.processes import end_with_supervisor


def query(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the rows that answer a query as Parquet; InputError where there are none, or the database refuses."""
    import pandas as pd

    from hpo.data.formats import column_of
    from hpo.data.frames import write_frame
    from hpo.data.named import refuse_duplicates

    names, rows = _answer(str(request["sql"]), str(request["url"]))
    refuse_duplicates("the answer to the query", names)
    if not rows:
        raise DataError("the answer to the query must hold rows, it has none; change its conditions")
    columns = zip(*rows, strict=True)
    frame = pd.DataFrame({name: column_of(_plain(values)) for name, values in zip(names, columns, strict=True)})
    write_frame(frame, Path(request["path"]))
    return {"rows": len(frame)}


def _answer(sql: str, url: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and rows of what the database answers."""
    import sqlalchemy as sa
    from hpo_storage.urls import redacted

    address = _parsed(url)
    if address.get_backend_name() == "sqlite" and address.database and not Path(address.database).exists():
        raise DataError(
            f"the database of a query must exist, there is no file {address.database}; check {use('data_url')}",
            setting="data_url",
        )
    try:
        engine = sa.create_engine(address, poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            answer = connection.exec_driver_sql(sql)
            if not answer.returns_rows:
                raise DataError("a query must answer with rows, this one has no answer; use a SELECT")
            return [str(name) for name in answer.keys()], [tuple(row) for row in answer]  # noqa: SIM118 - no mapping
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        cause = getattr(error, "orig", None) or error
        reason = redacted(str(cause).strip().splitlines()[0], address)
        raise DataError(
            f"the database must answer the query, it does not ({reason}); check {use('data')} and {use('data_url')}"
        ) from None


def _parsed(url: str) -> Any:  # noqa: ANN401 - of a library that is loaded late
    """The URL; a plain `postgresql://` or `mysql://` is reached with the driver that hpo brings."""
    import sqlalchemy as sa

    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise DataError(
            f"a database is given as a URL, such as sqlite:///FILE or postgresql://USER@HOST/NAME; change "
            f"{use('data_url')}",
            setting="data_url",
        ) from None
    drivers = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}
    return address.set(drivername=drivers.get(address.drivername, address.drivername))


def _plain(values: tuple[Any, ...]) -> list[Any]:
    """Numbers as they can be computed with, and bytes as nothing."""
    from decimal import Decimal

    return [
        float(value) if isinstance(value, Decimal) else None if isinstance(value, bytes | memoryview) else value
        for value in values
    ]


def main() -> None:
    """Answer one request, and be it with the traceback of something unexpected."""
    end_with_supervisor()
    try:
        answer: dict[str, Any] = {"ok": True, "facts": query(json.loads(sys.stdin.readline()))}
    except InputError as error:
        answer = {"ok": False, "kind": type(error).__name__, "message": error.marked, "setting": error.setting}
    except Exception:
        answer = {"ok": False, "kind": None, "message": traceback.format_exc(), "setting": None}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
