"""Passwords in every form that people type, and commands that connect as they did."""

import logging
import re
import shlex
import traceback

import pytest
from hpo_storage.database import connect
from hpo_storage.urls import database_url
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpo
from hpo.cli.main import main
from hpo.errors import StorageError
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants

PASSWORD = "hunter2SECRET"
HOST = "127.0.0.1:1"
FORMS = [
    f"postgresql://u:PW@{HOST}/d",
    f" postgresql://u:PW@{HOST}/d",
    f'"postgresql://u:PW@{HOST}/d"',
    f"postgresql://:PW@{HOST}/d",
    f"postgresql+psycopg2://u:PW@{HOST}/d",
    f"postgresql+nosuch://u:PW@{HOST}/d",
    f"mysql+mysqldb://u:PW@{HOST}/d",
    f"mariadb://u:PW@{HOST}/d?charset=nope",
    f"mysql://u:PW@{HOST}/d?nosuch=1",
    f"postgresql://u:PW@{HOST}/d?nosuch=1",
    f"postgresql://u:PW@{HOST}/d?connect_timeout=abc",
    f"postgress://u:PW@{HOST}/d",
    f"postgress://{HOST}/d?password=PW",
    "postgresql:/u:PW@h",
    "postgresql//u:PW@h/d",
    "postgresql//PW/d",
    "postgresql:u:PW",
    "postgresql://u:PW",
    "postgresql://u:PW@",
    "postgresql://PW",
    f"postgresql://u:x@PW@{HOST}/d",
    f"postgresql://u:PW@x@{HOST}/d",
    f"postgresql://u:a/PW@{HOST}/d",
    f"postgresql://u:a?PW@b@{HOST}/d",
    f"postgresql://u%3APW@{HOST}/d",
    "postgresql://u%3APW%40127.0.0.1/d",
    "postgresql://u:PW%40127.0.0.1/d",
    f"postgresql://{HOST}/d?user=u&password=PW",
    f"postgresql://{HOST}/d?user=u&passwd=PW",
    f"postgresql://u@{HOST}/d?sslpassword=PW",
    f"mysql://u@{HOST}/d?passwd=PW",
    f"mariadb://u@{HOST}/d?password=PW",
    "postgresql:///host=127.0.0.1 password=PW",
    f"postgresql://{HOST}/dbname=d password=PW",
    f"postgresql://{HOST}/u:PW",
    "host=127.0.0.1 port=1 user=u password=PW dbname=d",
    "password='PW'",
    "Server=127.0.0.1;Database=d;Uid=u;Pwd=PW;",
    "jdbc:postgresql://h/d?user=u&password=PW",
    "HPO_STORAGE=postgresql://u:PW@h/d",
    "sqlite://u:PW@h/d.db",
    "sqlite:///x.db?password=PW",
    "https://u:PW@h/d",
    "u:PW@h/d",
    "PW@h",
    ":PW@",
]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setenv("HPO_ANSWER_SECONDS", "0.1")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(password=st.text("abcdefghijkXYZ0123456789", min_size=8, max_size=12).map("pw".__add__))
def test_fault_77_no_error_shows_a_password(form, password):
    with pytest.raises(StorageError) as caught:
        connect(database_url(form.replace("PW", password)))
    assert password not in repr(caught.value) + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("form", FORMS)
def test_fault_77_no_command_shows_a_password(form, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    url = form.replace("PW", PASSWORD)
    codes = [main(["list", "--json", "--storage", url]), main(["db", "upgrade", "--storage", url])]
    monkeypatch.setenv("HPO_STORAGE", url)
    codes += [main(["worker", "--once"]), main(["run", "--study", "s", *map(str, synthetic(0, 1)), "--no-report"])]
    assert codes == [2, 2, 2, 2]
    with pytest.raises(StorageError) as caught:
        hpo.open_study("s", storage=url)
    told = capfd.readouterr()
    assert "Traceback" not in told.err
    assert PASSWORD not in told.out + told.err + caplog.text + str(caught.value)


@pytest.mark.parametrize("text", [f"postgresql://u:{PASSWORD}@h/d", f"password={PASSWORD}"])
@pytest.mark.parametrize("words", [("list",), ("status", "--study"), ("report", "--study", "s", "--output"), ("-x",)])
def test_fault_77_a_url_in_a_wrong_place(text, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main([*words, text]) == 2
    told = capfd.readouterr()
    assert PASSWORD not in told.out + told.err


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"postgresql://u@{HOST}/d?nosuch=1", 'got nosuch .*"nosuch"'),
        (f"postgresql://u@{HOST}/d?connect_timeout=abc", "got connect_timeout"),
        (f"postgresql://u@{HOST}/d?sslmode=nope", 'invalid sslmode value: "nope"'),
        (f"mysql://u@{HOST}/d?nosuch=1", "got nosuch .*'nosuch'"),
        (f"mysql://u@{HOST}/d?connect_timeout=abc", "got connect_timeout"),
        (f"mysql://u@{HOST}/d?charset=nope", "got charset"),
        ("sqlite:///x.db?nosuch=1", r"no options, got \?nosuch"),
        ("sqlite:///x.db?timeout=abc", r"no options, got \?timeout"),
        (f"postgress://u@{HOST}/d", "use postgresql://"),
        (f"mysql+mysqldb://u@{HOST}/d", "write mysql://"),
    ],
)
def test_fault_77_what_is_wrong_in_a_url_is_named(url, named, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["db", "upgrade", "--storage", url]) == 2
    told = capfd.readouterr().err
    assert re.search(named, told), told
    assert "Traceback" not in told


def next_commands(output):
    lines = re.findall("^(?:next:|     ) ((?:PGPASSWORD=|hpo ).*)", output, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("fleet", ["postgresql"], indirect=True)
def test_fault_77_what_is_shown_connects_as_the_user_did(fleet):
    words = ("run", "--study", "s", *synthetic(0, 2), "--trainers", 1, "--no-report")
    url = f"{fleet.url}?application_name=mine&connect_timeout=7&sslmode=disable"
    given = fleet.start(*words, "--storage", url, HPO_STORAGE="")
    assert given.wait() == 0, given.output
    commands = next_commands(given.output)
    assert commands
    for command in commands:
        assert command[command.index("--storage") + 1] == url
    assert fleet.start(*commands[-1][1:], HPO_STORAGE="").wait() == 0, fleet.outputs
    again = fleet.start(*words)
    assert again.wait() == 0, again.output
    assert [word for command in next_commands(again.output) for word in command if "://" in word] == []
    secret = url.replace("postgres@", f"postgres:{PASSWORD}@")
    hidden = fleet.start(*words, "--storage", secret, HPO_STORAGE="")
    assert hidden.wait() == 0, hidden.output
    commands = next_commands(hidden.output)
    assert {command[command.index("--storage") + 1] for command in commands} == {url}
    assert {command[0] for command in commands} == {"PGPASSWORD=..."}
    assert PASSWORD not in hidden.output
    fleet.server.execute("CREATE DATABASE bare")
    bare = fleet.url.rpartition("/")[0] + "/bare?sslmode=disable"
    listed = fleet.start("list", "--storage", bare, HPO_STORAGE="")
    assert listed.wait() == 2
    assert f"hpo run --storage '{bare}' creates them" in listed.output
    fleet.server.execute("DROP DATABASE bare")
    invariants(fleet.url, "s")
