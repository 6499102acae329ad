"""What holds for every command: start-up, exit codes, names, URLs, pipes, completion, documentation."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer.main

import hpo as hpo_package
from hpo.cli import options
from hpo.cli.main import app
from hpo.cli.settings import option_name
from hpo.settings import DRAIN_SECONDS, SETTINGS, Terms
from tests.helpers.fleet import CLI
from tests.helpers.processes import run_python

HEAVY = (
    "keras",
    "tensorflow",
    "jax",
    "pandas",
    "pyarrow",
    "sklearn",
    "optuna",
    "sqlalchemy",
    "plotly",
    "numpy",
)
COMMANDS = typer.main.get_command(app).commands
GROUPS = {name: list(command.commands) for name, command in COMMANDS.items() if hasattr(command, "commands")}
WITH_STUDY = [name for name in COMMANDS if name not in ("list", "workers", *GROUPS)]
DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


def arguments(command: str, study: str) -> list[str]:
    more = {"plot": ["history"], "replay": ["--trial", "0"]}.get(command, [])
    return [command, *more, "--study", study]


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from hpo.cli.main import main\n"
        "for command in sys.argv[1:]:\n"
        "    code = main([*command.split(), '--help'])\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    if heavy or code: sys.exit(f'hpo {command}: {heavy} {code}')"
    )
    done = run_python(code, "", *COMMANDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage") == len(COMMANDS) + 1


def test_all_commands_are_there():
    assert list(COMMANDS) == [
        *("run", "init", "status", "list", "best", "trials", "report", "plot"),
        *("replay", "worker", "workers", "retry", "delete", "data", "db"),
    ]


def test_the_installed_script(tmp_path):
    script = Path(sys.executable).with_name("hpo")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == hpo_package.__version__
    done = subprocess.run([script, "best", "--study", "x"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_without_a_command_there_is_help(hpo):
    ended = hpo()
    assert ended.code == 0
    assert "run" in ended.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["frobnicate"], "frobnicate"),
        (["run"], "--study"),
        (["run", "--study", "x", "--colour", "red"], "--colour"),
        (["run", "\x1b[31m\x07\u202e", "--study", "x"], "\\u202e"),
        (["plot", "pie", "--study", "x"], "timeline"),
        (["plot", "--study", "x"], "NAME"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(hpo, words, named):
    ended = hpo(*words)
    assert ended.code == 2
    assert re.fullmatch(r"error: .*; see hpo.* --help\n", ended.err)
    assert named in ended.err
    assert "\x1b" not in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials", "many"], "--trials must be a whole number from 1 to 2147483647, got 'many'; change --trials"),
        (["--trials", "0"], "--trials must be a whole number from 1 to 2147483647, got '0'; use --trials 1 or more"),
        (
            ["--method", "\x1b[31mred"],
            "--method must be one of bootstrap, shuffle, kfold, holdout, forward, got '\\x1b[31mred'",
        ),
        (["--sampler", "TPE"], "--sampler must be one of tpe, random, got 'TPE'; did you mean --sampler tpe?"),
        (
            ["--time-limit", "soon"],
            "--time-limit must be a time above 0, such as 90, 10m, 2h or 1d, or none, got 'soon'",
        ),
        (["--stop-fraction", "half"], "--stop-fraction must be a number above 0 and below 0.5, got 'half'"),
        (["--min-delta", "nan"], "--min-delta must be a number of at least 0, got 'nan'"),
        (["--report", "a.txt"], "--report must name an HTML file, got 'a.txt'; end it with .html"),
    ],
)
def test_a_bad_value_is_refused_with_rule_value_and_remedy(hpo, words, said):
    ended = hpo("run", "--study", "x", *words)
    assert (ended.code, ended.err.startswith(f"error: {said}")) == (2, True), ended.err
    assert ended.err.count("\n") == 1


NAMES = {
    "empty": "",
    "blanks": "   ",
    "nul": "a\x00b",
    "newline": "a\nb",
    "trailing newline": "a\n",
    "escape": "\x1b[31mred",
    "513 characters": "a" * 513,
    "surrogate": "a\udcffb",
    "parent": "..",
    "script": "</script>",
    "option": "-x",
    "slash": "a/b",
    "right to left": "a\u202eb",
}


@pytest.mark.parametrize("command", WITH_STUDY)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_fault_31_study_names(bench, hpo, command, name):
    ended = hpo(*arguments(command, name))
    assert ended.code == 2
    assert "1 to 100 letters" in ended.err
    assert "--study" in ended.err
    assert (ended.err.removesuffix("\n") + ended.out).isprintable()
    assert list(bench.folder.iterdir()) == []


def test_fault_31_bytes_that_are_no_text(tmp_path):
    done = subprocess.run(
        [*CLI, "status", "--study", b"a\xff"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert b"\\udcff" in done.stderr


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@127.0.0.1:1/db",
        "oracle://u:s3cret@h/db",
        "postgresql:/u:s3cret@h",
        "u:s3cret@h",
    ],
)
def test_fault_33_no_message_shows_a_password(bench, hpo, command, url, monkeypatch):
    monkeypatch.setenv("HPO_ANSWER_SECONDS", "0.1")
    words = arguments(command, "x") if command in WITH_STUDY else [command, *GROUPS.get(command, ())[-1:]]
    data = ["--data", "wine", "--no-report"] if command == "run" else []
    ended = hpo(*words, *data, "--storage", url)
    assert ended.code == 2
    assert "error: " in ended.err
    assert "s3cret" not in ended.err + ended.out


def test_fault_33_a_shown_url_hides_the_password():
    shown = options.shown_storage("postgresql+psycopg://u:s3cret@h/db?sslpassword=s3cret")
    assert shown == "postgresql://u@h/db"
    assert options.shown_storage("sqlite:///folder/my.db") == "folder/my.db"


def test_unexpected_exceptions_keep_their_traceback():
    done = run_python("from hpo.cli.errors import exit_code; exit_code(lambda: 1 / 0)")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr


def test_interrupts_end_quietly():
    code = (
        "import sys; from hpo.cli.errors import exit_code\n"
        "def command(): raise KeyboardInterrupt\n"
        "sys.exit(exit_code(command))"
    )
    done = run_python(code)
    assert done.returncode == 130
    assert done.stderr == "\ninterrupted\n"


def test_a_reader_that_has_gone_is_no_error(bench):
    bench.add("wine", ["complete"] * 3)
    for words in (
        ["trials", "--study", "wine"],
        ["trials", "--study", "wine", "--json"],
        ["list"],
        ["--help"],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [*CLI, *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(writing)
        assert done.stderr == b"", words


def complete(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess:
    words = line.split(" ")
    env = {
        **os.environ,
        "_HPO_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        **environment,
    }
    return subprocess.run(
        [Path(sys.executable).with_name("hpo")],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=folder,
    )


def test_study_names_complete(bench):
    bench.add("wine", ["complete"])
    bench.add("winter", ["complete"])
    assert complete(bench.folder, "hpo status --study win").stdout.split() == ["wine", "winter"]
    assert complete(bench.folder, "hpo run --study m").stdout.split() == ["mlp"]
    assert complete(bench.folder, "hpo plot hi").stdout.split() == ["history"]
    Path("hpo.db").rename("other.db")
    assert complete(bench.folder, "hpo best --storage other.db --study wine").stdout.split() == ["wine"]
    done = complete(bench.folder, "hpo best --study wine", HPO_STORAGE="other.db")
    assert done.stdout.split() == ["wine"]


def test_completion_is_quiet_and_makes_nothing(bench):
    done = complete(bench.folder, "hpo status --study w")
    assert done.stdout.strip() == ""
    assert done.stderr == ""
    assert list(bench.folder.iterdir()) == []


def test_figures_are_those_of_the_report():
    from hpo.report.figures import FIGURES

    assert get_args(options.Figure) == tuple(FIGURES)


def test_what_is_told_of_ctrl_c_is_what_it_does(hpo):
    limit = f"{DRAIN_SECONDS:.0f} seconds"
    assert Terms().drain_seconds == DRAIN_SECONDS
    assert limit in " ".join(hpo("run", "--help").out.split())
    for name in ("README.md", "docs/cli.md", "docs/python-api.md"):
        assert limit in " ".join((DOCUMENT.parents[1] / name).read_text(encoding="utf-8").split()), name


def options_of(command: str) -> set[str]:
    within = [COMMANDS[command].commands[name] for name in GROUPS.get(command, ())]
    parameters = [parameter for one in (COMMANDS[command], *within) for parameter in one.params]
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts) if name.startswith("--")} - {"--help"}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_and_option_is_documented(command):
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `hpo (\w+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert command in sections
    assert f"hpo {command} " in sections[command] or f"hpo {command}\n" in sections[command]
    common = {"--study", "--storage", "--json", *map(option_name, SETTINGS)}
    common |= {f"--no-{name.removeprefix('--')}" for name in common}
    mentioned = set(re.findall(r"--[a-z][a-z-]+", sections[command]))
    assert options_of(command) - common <= mentioned
    assert mentioned <= options_of(command)
