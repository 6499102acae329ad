"""What may name a database."""

from pathlib import Path

import pytest
from hpo_storage.urls import DEFAULT_URL, database_url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (None, DEFAULT_URL),
        ("", DEFAULT_URL),
        ("team.db", "sqlite:///team.db"),
        ("/data/team.sqlite3", "sqlite:////data/team.sqlite3"),
        (Path("/data/team"), "sqlite:////data/team"),
        ("sqlite:///other.db", "sqlite:///other.db"),
        ("postgresql://host/hpo.db", "postgresql+psycopg://host/hpo.db"),
        ("postgres://u:p%40@host:5/d?sslmode=require", "postgresql+psycopg://u:p%40@host:5/d?sslmode=require"),
        ("mysql://host/d", "mysql+pymysql://host/d"),
        ("mariadb://host/d", "mariadb+pymysql://host/d"),
        ("postgresql+psycopg2://host/d", "postgresql+psycopg2://host/d"),
        ("team", "team"),
    ],
)
def test_a_url_a_file_or_nothing(given: str | Path | None, url: str):
    assert database_url(given) == url
