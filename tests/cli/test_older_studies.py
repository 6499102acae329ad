"""Studies that the version before has made open, report and go on."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIXTURE = Path(__file__).parents[1] / "hpo_storage" / "fixtures" / "r0002.sql"
STUDIES = {"synthetic": 6, "failed": 2, "finished": 10, "own-space": 2, "frame": 2, "unfinished": 5}


@pytest.fixture
def older(bench: Any, hpo: Callable[..., Any]) -> Path:
    """`hpo.db` of the version before, upgraded, in the current folder."""
    path = bench.folder / "hpo.db"
    connection = sqlite3.connect(path)
    connection.executescript(FIXTURE.read_text())
    connection.close()
    ended = hpo("list")
    assert (ended.code, "hpo db upgrade" in ended.err) == (2, True)
    assert hpo("db", "upgrade").code == 0
    return path


def states(hpo: Callable[..., Any], study: str) -> Counter[str]:
    return Counter(trial["state"] for trial in json.loads(hpo("trials", "--study", study, "--json").out))


def test_they_are_listed(older: Path, hpo):
    listed = {study["study"]: study for study in json.loads(hpo("list", "--json").out)}
    assert {name: study["budget"] for name, study in listed.items()} == STUDIES
    assert [name for name, study in listed.items() if study["state"] != "finished"] == ["unfinished"]


@pytest.mark.parametrize("study", STUDIES)
def test_they_are_shown_and_reported(older: Path, hpo, study: str):
    shown = hpo("status", "--study", study)
    assert (shown.code, shown.err) == (0, "")
    assert study in shown.out
    assert hpo("best", "--study", study).code == (1 if study == "failed" else 0)
    written = hpo("report", "--study", study)
    assert (written.code, written.err) == (0, "")
    assert Path(written.out.strip()).stat().st_size > 10_000


def test_their_trials_are_in_the_states_of_now(older: Path, hpo):
    assert states(hpo, "finished") == {"complete": 4, "raced out": 1, "pruned": 5}
    assert states(hpo, "failed") == {"failed": 2}
    assert states(hpo, "unfinished") == {"complete": 3, "failed": 1, "interrupted": 2}


def test_a_synthetic_one_is_extended(older: Path, hpo):
    ended = hpo("run", "--study", "synthetic", "--trials", "8", "--trainers", "1", "--no-report")
    assert (ended.code, ended.err) == (0, "")
    assert states(hpo, "synthetic") == {"complete": 8}


@pytest.mark.slow
@pytest.mark.parametrize("study", ["finished", "own-space", "frame"])
def test_others_are_extended(older: Path, hpo, study: str):
    trials = STUDIES[study] + 1
    ended = hpo("run", "--study", study, "--trials", str(trials), "--trainers", "1", "--no-report")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(hpo("status", "--study", study, "--json").out)["finished"] == trials


@pytest.mark.slow
def test_one_that_was_killed_is_finished(older: Path, hpo, monkeypatch):
    """Its lease has long expired; what ran then is tried again with the same parameters."""
    monkeypatch.setenv("HPO_LEASE_SECONDS", "1")  # after which a run takes what nobody has renewed
    ended = hpo("run", "--study", "unfinished", "--trainers", "1", "--no-report")
    assert (ended.code, ended.err) == (0, "")
    trials = [trial for trial in json.loads(hpo("trials", "--study", "unfinished", "--json").out) if trial["slot"] == 3]
    assert [trial["state"] for trial in trials] == ["failed", "interrupted", "failed", "complete"]
    assert len({str(trial["params"]) for trial in trials}) == 1
