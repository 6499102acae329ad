"""status, list, best, trials and delete on real databases, in a pipe, as JSON and in a terminal."""

import csv
import io
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from hpo.cli.describe import _search_text
from tests.helpers.fleet import CLI

STATES = ["complete", "failed", "raced out", "pruned", "complete", "interrupted", "complete"]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
STRICT = {"parse_constant": lambda name: pytest.fail(f"JSON holds {name}")}


def in_terminal(*arguments: str, columns: int = 80, **environment: str) -> str:
    """What a person sees, escape sequences included."""
    parent, child = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    process = subprocess.Popen([*CLI, *arguments], stdout=child, stderr=child, env=env)
    os.close(child)
    shown = b""
    while True:
        try:
            data = os.read(parent, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    process.wait()
    os.close(parent)
    return shown.decode()


def test_status_as_json(bench, hpo):
    bench.add("wine", STATES, 9)
    shown = json.loads(hpo("status", "--study", "wine", "--json").out, **STRICT)
    counted = [shown[name] for name in ("complete", "raced_out", "pruned", "failed", "finished", "budget")]
    assert counted == [3, 1, 1, 1, 6, 9]
    assert shown["state"] == "unfinished"
    assert shown["spec"]["search"]["sampler"] == "tpe"
    assert shown["prior_loss"] == 1.0861
    assert list(shown["failures"].values()) == [1]


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({"sampler": "tpe", "seed": 0, "racing": False, "pruner": "none"}, "tpe, seed 0, no racing, no pruning"),
        (
            {"sampler": "random", "seed": 4, "racing": True, "pruner": "halving"},
            "random, seed 4, racing, pruner halving",
        ),
    ],
)
def test_status_says_what_cuts_trials_short(stored, shown):
    assert _search_text(stored) == shown


def test_status_in_a_pipe_has_a_field_per_line(bench, hpo):
    bench.add("wine", STATES, 9)
    ended = hpo("status", "--study", "wine")
    fields = dict(line.split("\t") for line in ended.out.splitlines())
    assert fields["trials"] == "6 of 9: 3 complete, 1 raced out, 1 pruned, 1 failed"
    assert fields["compare"].endswith("% lower")
    assert fields["evaluation"] == "bootstrap, 3 replicates, at most 200 epochs, patience 10"
    assert fields["search"] == "tpe, seed 0, racing, pruner curve"
    assert ended.code == 0
    assert ended.err == ""


def test_a_running_study_names_its_running_trials(bench, hpo):
    bench.add("wine", ["complete", "running"], 5, running=True)
    assert "state\trunning" in hpo("status", "--study", "wine").out
    assert "now running\ttrial 1\n" in hpo("status", "--study", "wine").out


def test_control_characters_in_the_database_are_escaped(bench, hpo):
    bench.add("wine", ["failed"])
    for command in ("status", "trials"):
        out = hpo(command, "--study", "wine").out
        assert "\\x1b[31m" in out
        assert "\x1b" not in out


def test_list(bench, hpo):
    bench.add("wine", ["complete"] * 2)
    bench.add("doomed", ["failed"], 3)
    shown = json.loads(hpo("list", "--json").out, **STRICT)
    assert [(s["study"], s["state"], s["finished"], s["budget"]) for s in shown] == [
        ("wine", "finished", 2, 2),
        ("doomed", "unfinished", 1, 3),
    ]
    assert shown[0]["best_value"] == pytest.approx(0.5)
    assert shown[1]["best_value"] is None
    lines = hpo("list").out.splitlines()
    assert lines[0] == "study\tstate\tbudget\tfinished\tbest_value\tcreated"
    assert lines[2].startswith("doomed\tunfinished\t3\t1\t\t20")


def test_best_as_json_has_the_winner(bench, hpo):
    bench.add("wine", STATES)
    best = json.loads(hpo("best", "--study", "wine", "--json").out, **STRICT)
    trials = json.loads(hpo("trials", "--study", "wine", "--json").out, **STRICT)
    full = [t for t in trials if t["state"] == "complete"]
    assert best["value"] == min(trial["value"] for trial in full)
    assert best["params"] == trials[best["trial"]]["params"]
    assert best["standard_error"] == 0.0058
    assert len(best["replicates"]) == 3
    assert best["network"]["widths"]


def test_best_without_a_result(bench, hpo):
    bench.add("doomed", ["failed"])
    assert hpo("best", "--study", "doomed").code == 1
    ended = hpo("best", "--study", "doomed", "--json")
    assert (ended.code, json.loads(ended.out)) == (1, None)
    assert ended.err == "error: doomed has no winner: its one trial failed; see hpo trials --study doomed\n"


def test_trials_in_a_pipe_are_a_table_with_every_number_in_full(bench, hpo):
    bench.add("wine", STATES)
    rows = list(csv.DictReader(io.StringIO(hpo("trials", "--study", "wine").out), delimiter="\t"))
    assert [row["state"] for row in rows] == STATES
    trials = json.loads(hpo("trials", "--study", "wine", "--json").out)
    assert [float(row["learning_rate"]) for row in rows] == [trial["params"]["learning_rate"] for trial in trials]


COLLIDING = {"value": 0.25, "state": "solid", "params_value": 3, "dropout": 0.1}


def test_parameters_called_like_a_column_are_told_apart(bench, hpo):
    bench.add_trial("clash", COLLIDING)
    lines = [line.split("\t") for line in hpo("trials", "--study", "clash").out.splitlines()]
    assert len(set(lines[0])) == len(lines[0])
    (row,) = (dict(zip(lines[0], line, strict=True)) for line in lines[1:])
    assert (row["state"], float(row["value"])) == ("complete", 0.5)
    shown = [row[name] for name in ("params_params_value", "params_state", "params_value", "dropout")]
    assert shown == ["0.25", "solid", "3", "0.1"]
    (trial,) = json.loads(hpo("trials", "--study", "clash", "--json").out)
    assert (trial["state"], trial["value"], trial["params"]) == ("complete", 0.5, COLLIDING)


@pytest.mark.parametrize("columns", [20, 50, 80, 120, 250])
def test_tables_fit_the_terminal(bench, columns):
    bench.add("wine", STATES)
    shown = ESCAPES.sub("", in_terminal("trials", "--study", "wine", columns=columns))
    lines = shown.splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) - len(STATES) in (1, 2)  # parameters have names of two lines
    if columns >= 50:
        assert "…" not in shown
        assert all(f"\n{number}  {state}" in shown for number, state in [(1, "failed"), (5, "interrupted")])


def test_no_color_is_respected(bench):
    bench.add("wine", ["complete"])
    assert "\x1b[1;32m" in in_terminal("trials", "--study", "wine")
    assert "\x1b[1;32m" not in in_terminal("trials", "--study", "wine", NO_COLOR="1")


def test_an_empty_database_says_how_to_make_a_study(bench, hpo):
    bench.add("wine", ["complete"])
    assert hpo("delete", "--study", "wine", "--yes").code == 0
    assert json.loads(hpo("list", "--json").out) == []
    assert "hpo run --study mlp" in in_terminal("list")


@pytest.mark.parametrize("command", ["status", "best", "trials", "report", "delete"])
def test_an_unknown_study_is_named_with_those_there_are(bench, hpo, command):
    bench.add("wine", ["complete"])
    ended = hpo(command, "--study", "wien")
    assert ended.code == 2
    assert "'wien'" in ended.err
    assert "use one of wine" in ended.err


@pytest.mark.parametrize("command", ["status", "list", "best", "trials", "report", "delete"])
def test_without_a_database_none_is_made(bench, hpo, command):
    ended = hpo(command, *([] if command == "list" else ["--study", "wine"]))
    assert ended.code == 2
    assert "hpo run" in ended.err
    assert not (bench.folder / "hpo.db").exists()


def test_delete_asks_first(bench, hpo, monkeypatch):
    bench.add("wine", ["complete"] * 4)
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        ended = hpo("delete", "--study", "wine")
        assert ended.code == 1
        assert "4 trials" in ended.err
        assert hpo("status", "--study", "wine").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert hpo("delete", "--study", "wine").code == 0
    assert hpo("status", "--study", "wine").code == 2


def test_a_running_study_is_not_deleted(bench, hpo):
    bench.add("wine", ["complete"], 5, running=True)
    ended = hpo("delete", "--study", "wine", "--yes")
    assert ended.code == 2
    assert "running" in ended.err
    assert hpo("status", "--study", "wine").code == 0


def test_storage_may_be_a_file_a_url_or_the_environment(bench, hpo, monkeypatch):
    bench.add("wine", ["complete"])
    Path("hpo.db").rename("other.db")
    assert hpo("list", "--storage", "other.db").code == 0
    assert hpo("list", "--storage", "sqlite:///other.db").code == 0
    monkeypatch.setenv("HPO_STORAGE", "other.db")
    assert hpo("list").out.count("wine") == 1
