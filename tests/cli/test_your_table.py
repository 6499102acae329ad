"""`hpo data check`, `hpo init` and study files as commands; those of docs/your-table.md run as printed."""

import io
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from hpo.settings import SETTINGS
from tests.helpers.tables import csv_text

GUIDE = (Path(__file__).parents[2] / "docs" / "your-table.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("hpo ")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for line in ([] if language else block.splitlines())
]
CITIES, COLORS = ("Oslo", "Rome", "Kyiv"), ("red", "blue")
FAST = ("--max-epochs", "2", "--replicates", "2", "--trainers", "1")


@pytest.fixture
def orders(bench):
    rows = [
        (
            CITIES[i % 3],
            i * 7 % 10,
            "" if i % 9 == 0 else COLORS[i * 3 % 2],
            i * 11 % 13,
            f"n{i}",
            "no" if i % 4 else "yes",
        )
        for i in range(120)
    ]
    Path("orders.csv").write_text(csv_text("city,size,color,visits,note,returned", rows))


@pytest.mark.slow
def test_the_guide_runs(orders, hpo):
    for command in COMMANDS:
        words = shlex.split(command)
        ended = hpo(*words, *(FAST if words[0] == "init" else ()))
        assert ended.code == 0, (command, ended.err)
    assert Path("report-orders.html").exists()
    assert hpo("run", "orders.toml").out.startswith("orders is already finished")


def test_a_check_shows_what_was_understood_and_makes_nothing(orders, hpo):
    ended = hpo("data", "check", "orders.csv", "--target", "returned")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert ["rows", "120"] in lines
    assert ["task", "classification, as it holds 2 different values"] in lines
    assert ["classes", "no 90 (75%), yes 30 (25%)"] in lines
    assert ["column", "kind", "becomes", "missing", "values"] in lines
    (city,) = (line for line in lines if line[0] == "city")
    assert (city[2], city[3], set(city[4].split(", "))) == ("one input per value (3)", "0", set(CITIES))
    (color,) = (line for line in lines if line[0] == "color")
    assert color[3] == "14"
    assert [line[1] for line in lines if line[0] == "not used"] == ["note"]
    assert lines[-1] == ["next", "hpo run --study orders --data orders.csv --target returned"]
    assert [path.name for path in Path().iterdir()] == ["orders.csv"]


def test_a_check_as_json(orders, hpo):
    shown = json.loads(hpo("data", "check", "orders.csv", "--target", "size", "--loss", "gaussian", "--json").out)
    assert (shown["task"], shown["reason"]) == ("regression", "as the loss gaussian asks for")
    assert (shown["target_range"], shown["classes"]) == ([0, 9], {})
    assert [column["name"] for column in shown["columns"]] == ["city", "color", "visits", "returned"]
    assert shown["left_out"].keys() == {"note"}
    assert shown["next"].endswith("--target size --loss gaussian")


def test_a_check_in_a_terminal_of_80_columns(orders, hpo, monkeypatch):
    monkeypatch.setattr("hpo.cli.data.to_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    out = hpo("data", "check", "orders.csv", "--target", "returned").out
    table = out.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 80
    assert [line.split()[0] for line in table] == ["column", "city", "size", "color", "visits"]
    assert "values" in table[0]


def test_a_table_that_cannot_be_used_is_told_as_by_a_run(orders, hpo):
    for more in (["--target", "retuned"], [], ["--target", "city", "--task", "regression"]):
        checked = hpo("data", "check", "orders.csv", *more)
        assert (checked.code, checked.out) == (2, "")
        assert checked.err.startswith("error: ")
        assert "Traceback" not in checked.err


def test_what_init_writes_is_complete_and_not_overwritten(orders, hpo):
    Path("sub").mkdir()
    assert hpo("init", "orders.csv", "--target", "returned", "--seed", "5", "-o", "sub/s.toml").code == 0
    text = Path("sub/s.toml").read_text("utf-8")
    assert tomllib.loads(text) == {"study": "orders", "data": "../orders.csv", "target": "returned", "seed": 5}
    lines = re.findall(r"^(?:# )?(\w+ = .*)$", text, re.MULTILINE)
    values = tomllib.loads("\n".join(lines))
    assert values.keys() == {"study", *(name for name, setting in SETTINGS.items() if setting.about.listed)}
    for name in values.keys() - {"study", "seed"}:
        default = SETTINGS[name].default
        assert SETTINGS[name].checked(values[name]) is not None
        assert default in (None, ()) or values[name] == default
    again = hpo("init", "orders.csv", "--target", "returned", "-o", "sub/s.toml")
    assert (again.code, Path("sub/s.toml").read_text("utf-8")) == (2, text)
    assert "--force" in again.err
    assert hpo("init", "orders.csv", "--target", "returned", "-o", "sub/s.toml", "--force").code == 0


def test_a_run_takes_one_study_file_whose_name_says_so(bench, hpo):
    Path("s.toml").write_text('data = "none.csv"\ntarget = "y"')
    for words, said in (
        (["s.toml", "--config", "s.toml"], "use one of them"),
        (["mine"], "--study mine for a study"),
        (["s.toml"], "a study needs a name, got none; give --study NAME"),
        ([], "a study needs a name"),
        (["s.toml", "--study", "mine"], "there is no none.csv; check the path"),
        (["s.toml", "--study", "mine", "--data", "other.csv"], "there is no other.csv"),
    ):
        ended = hpo("run", *words)
        assert ended.code == 2
        assert said in ended.err, (words, ended.err)
    assert hpo("run", "s.toml", "--study", "mine").err.endswith("(s.toml, line 1)\n")


def test_a_file_says_the_database_before_the_variable_does(bench, hpo, monkeypatch):
    bench.add("wine", ["complete"])
    Path("s.toml").write_text('study = "wine"\nstorage = "hpo.db"')
    monkeypatch.setenv("HPO_STORAGE", "sqlite:///other.db")
    assert "wine is already finished" in hpo("run", "s.toml").out
    assert hpo("run", "s.toml", "--storage", "third.db").code == 2


def test_a_check_takes_standard_input_and_says_how_to_go_on(bench, hpo, monkeypatch):
    text = csv_text("a,b,y", [(i % 4, f"0{i % 7}", "yn"[i % 2]) for i in range(60)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    ended = hpo("data", "check", "-", "--target", "y", "--kind", "a=category", "--kind", "b=number")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert [line[:2] for line in lines if line[0] in ("a", "b")] == [["a", "category"], ["b", "number"]]
    assert lines[-1] == ["next", "hpo run --study study --data - --target y --kind a=category --kind b=number"]
