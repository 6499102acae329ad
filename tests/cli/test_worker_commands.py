"""`hpo worker`, `hpo workers`, `hpo replay`, and the limits of `hpo run`: what they refuse and what they show."""

import json
import os
import socket

import pytest
from hpo_storage.records import Limits
from hpo_storage.studies import find_study, set_limits

from tests.helpers.databases import opened


def limit(bench, name, limits):
    with opened(bench.url) as database:
        set_limits(database, find_study(database, name).id, limits)


def test_workers_are_listed_while_they_live(bench, hpo):
    bench.add("wine", ["complete", "pruned", "running"], 5, running=True)
    bench.add("ended", ["complete"])
    header, alive = (line.split("\t") for line in hpo("workers").out.splitlines())
    row = dict(zip(header, alive, strict=True))
    assert (row["host"], row["pid"], row["study"]) == (socket.gethostname(), str(os.getpid()), "wine")
    assert (row["running"], row["finished"], row["role"], row["alive"]) == ("1", "2", "run", "True")
    both = json.loads(hpo("workers", "--all", "--json").out)
    assert [(worker["study"], worker["alive"]) for worker in both] == [("wine", True), ("ended", False)]


def test_a_database_without_workers(bench, hpo):
    bench.add("wine", ["complete"])
    assert hpo("workers").out.count("\n") == 1
    assert json.loads(hpo("workers", "--json").out) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--trainers", "0"], "--trainers 1"),
        (["--max-trials", "0"], "--max-trials 1"),
        (["--population", "-1"], "--population 1"),
        (["--device", "gpu"], "a device must be cpu, or a GPU's number"),
        (["--device", "0"], "a device must be one that trains, got GPU 0"),
        (["--drain-seconds", "-1"], "--drain-seconds"),
        (["--study", "none", "--once"], "use one of wine"),
    ],
)
def test_what_a_worker_refuses(bench, hpo, monkeypatch, words, named):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # and back, whatever the command sets
    bench.add("wine", ["complete"])
    ended = hpo("worker", *words)
    assert ended.code == 2
    assert named in ended.err
    assert "Traceback" not in ended.err


def test_a_worker_makes_no_database(bench, hpo):
    ended = hpo("worker", "--once")
    assert ended.code == 2
    assert "there must be a database to read" in ended.err
    assert list(bench.folder.iterdir()) == []


def test_nothing_to_do_once(bench, hpo):
    bench.add("wine", ["complete"])
    ended = hpo("worker", "--once")
    assert (ended.code, ended.out, ended.err) == (0, "this worker has ended, with 0 trials finished\n", "")


@pytest.mark.parametrize("option", ["--time-limit", "--trainer-seconds", "--trial-timeout"])
@pytest.mark.parametrize("value", ["0", "soon", "-1", "nan"])
def test_limits_that_are_none(bench, hpo, option, value):
    ended = hpo("run", "--study", "x", "--data", "wine", option, value)
    assert ended.code == 2
    assert f"must be a time above 0, such as 90, 10m, 2h or 1d, or none, got '{value}'; change {option}" in ended.err
    assert list(bench.folder.iterdir()) == []


def test_a_study_that_has_used_up_its_time_is_over(bench, hpo):
    bench.add("wine", ["complete"], 4)
    limit(bench, "wine", Limits(wall_seconds=1e-6, trial_seconds=600))
    ended = hpo("run", "--study", "wine")
    assert ended.code == 0
    assert "wine is over, as its wall time is used up; nothing was done" in ended.out
    assert "next: hpo run --study wine --time-limit none\n" in ended.out
    assert "limits\twall time 1e-06 s (used up), one trial 10 min 00 s\n" in hpo("status", "--study", "wine").out
    shown = json.loads(hpo("status", "--study", "wine", "--json").out)
    assert shown["limits"] == {"wall_seconds": 1e-6, "trainer_seconds": None, "trial_seconds": 600.0}
    assert shown["limit_reached"] == "wall time"
    assert bench.read("wine").finished == 1


@pytest.mark.parametrize(
    ("trial", "named"),
    [("7", "got 7 of 'wine'; see hpo trials --study wine\n"), ("1", "trial 1 of 'wine', which is failed")],
)
def test_trials_that_cannot_be_replayed(bench, hpo, trial, named):
    bench.add("wine", ["complete", "failed"])
    ended = hpo("replay", "--study", "wine", "--trial", trial)
    assert ended.code == 2
    assert named in ended.err


@pytest.mark.slow
def test_a_synthetic_trial_is_replayed_and_a_changed_one_found(bench, hpo):
    words = ["--study", "x", "--objective", "synthetic", "--trials", "2", "--replicates", "3", "--no-report"]
    assert hpo("run", *words, "--trainers", "1").code == 0
    ended = hpo("replay", "--study", "x", "--trial", "1", "--json")
    shown = json.loads(ended.out)
    assert (ended.code, shown["same"], shown["difference"], len(shown["losses"])) == (0, True, 0.0, 6)
    with opened(bench.url) as database, database.begin_write() as connection:
        connection.exec_driver_sql("UPDATE hpo_replicates SET score_loss = score_loss * 1.001 WHERE replicate = 2")
    ended = hpo("replay", "--study", "x", "--trial", "1")
    assert ended.code == 1
    assert "trial 1 is not the same: the largest relative difference is 1.0e-03" in ended.out
