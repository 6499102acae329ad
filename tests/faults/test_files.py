"""The file of an SQLite database: gone or replaced while it is used, where nobody may write, by names of every kind."""

import json
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hpo_storage.checks import broken_rules
from hpo_storage.workers import list_workers

import hpo
from hpo.cli.main import main
from hpo.errors import InputError, StorageError
from tests.helpers.databases import ROOT, opened, read, upgraded_file
from tests.helpers.fleet import Fleet, Process, synthetic
from tests.helpers.invariants import invariants
from tests.helpers.processes import run_python

pytestmark = pytest.mark.slow
on_a_file = pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)

READER = """
import contextlib, io, json, sys
from hpo.cli.main import main
answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def start(fleet: Fleet, trials: int = 14, **environment: str) -> Process:
    """A run that has finished two of its trials."""
    words = ("run", "--study", "s", *synthetic(0.3, trials), "--trainers", 1, "--report", "r.html")
    run = fleet.start(*words, **environment)
    fleet.wait_for(lambda: f"\n2/{trials} " in run.output)
    return run


def rescued(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.rescued-*.db"))


def remove(file: Path) -> None:
    for path in file.parent.glob("hpo.db*"):
        path.unlink()


def move(file: Path) -> None:
    file.rename(file.with_name("moved"))


def lose_the_log(file: Path) -> None:
    file.with_name("hpo.db-wal").unlink()


def replace(file: Path) -> None:
    """As `git checkout`, or a copy that is put back."""
    file.with_name("new").replace(file)


@on_a_file
@pytest.mark.parametrize("harm", [remove, move, lose_the_log, replace])
def test_fault_44_what_a_file_held_is_saved(fleet: Fleet, harm: Callable[[Path], None]):
    file = fleet.folder / "hpo.db"
    upgraded_file(file.with_name("new"))
    run = start(fleet)
    harm(file)
    assert run.wait() == 2, run.output
    assert "an SQLite file must stay while it is used" in run.output
    assert "Traceback" not in run.output
    assert "finished after" not in run.output
    assert not (fleet.folder / "r.html").exists()
    (saved,) = rescued(fleet.folder)
    assert f"saved in {saved}" in run.output
    assert f"--storage sqlite:///{saved}" in run.output
    if harm is replace:
        with opened(fleet.url) as database:
            assert broken_rules(database) == []
        assert sqlite3.connect(file).execute("SELECT count(*) FROM studies").fetchone() == (0,)
    remove_all_but(fleet.folder, saved)
    saved.rename(file)
    assert len(fleet.ended("s")) >= 2
    again = fleet.start("run", "--study", "s", "--no-report")
    assert again.wait() == 0, again.output
    record = invariants(fleet.url, "s")
    assert "failed" not in {trial.state for trial in record.trials}
    assert fleet.spooled == []


def remove_all_but(folder: Path, kept: Path) -> None:
    for path in folder.glob("hpo.db*"):
        if path != kept:
            path.unlink()


def truncate(file: Path) -> None:
    file.write_bytes(b"")


def write_over(file: Path) -> None:
    shutil.copyfile(file.with_name("other.db"), file)


@on_a_file
@pytest.mark.parametrize("harm", [truncate, write_over])
def test_fault_44_a_file_with_another_content(fleet: Fleet, harm: Callable[[Path], None]):
    other = f"sqlite:///{fleet.folder}/other.db"
    made = fleet.start("run", "--study", "other", *synthetic(0, 3), "--no-report", HPO_STORAGE=other)
    assert made.wait() == 0, made.output
    run = start(fleet)
    harm(fleet.folder / "hpo.db")
    assert run.wait() == 2, run.output
    assert "was overwritten with another file" in run.output
    assert "Traceback" not in run.output
    assert rescued(fleet.folder) == [], "pages of two files are no copy of either"
    if harm is write_over:  # and what is there now is as it was written
        assert (fleet.folder / "hpo.db").read_bytes() == (fleet.folder / "other.db").read_bytes()
        assert not (fleet.folder / "hpo.db-wal").exists()
        invariants(fleet.url, "other")


@on_a_file
def test_fault_44_a_folder_that_is_gone(fleet: Fleet):
    folder, temporary = fleet.folder / "folder", fleet.folder / "temporary"
    folder.mkdir()
    temporary.mkdir()
    run = start(fleet, HPO_STORAGE=f"sqlite:///{folder}/hpo.db", TMPDIR=str(temporary))
    shutil.rmtree(folder)
    assert run.wait() == 2, run.output
    (saved,) = rescued(temporary)
    assert f"saved in {saved}" in run.output
    assert len(read(f"sqlite:///{saved}", "s").trials) >= 2


@on_a_file
def test_fault_44_a_link_that_leads_elsewhere(fleet: Fleet):
    link, url = fleet.folder / "link.db", f"sqlite:///{fleet.folder}/link.db"
    link.symlink_to("real.db")
    upgraded_file(fleet.folder / "hpo.db")
    run = start(fleet, HPO_STORAGE=url)
    link.unlink()
    link.symlink_to("hpo.db")
    assert run.wait() == 2, run.output
    assert "was replaced by another file" in run.output
    assert len(rescued(fleet.folder)) == 1
    assert len(read(f"sqlite:///{fleet.folder}/real.db", "s").trials) >= 2


@on_a_file
def test_fault_44_workers_and_watchers_notice_it_too(fleet: Fleet):
    watcher = fleet.create("s", 30, 0.3)
    worker = fleet.start("worker", "--trainers", 1)
    fleet.wait_for_trials("s", 2)
    remove(fleet.folder / "hpo.db")
    assert (worker.wait(), watcher.wait()) == (2, 2), fleet.outputs
    for process in (worker, watcher):
        assert "which was removed; what it held is saved in" in process.output
        assert "Traceback" not in process.output
    for saved in rescued(fleet.folder):
        assert len(read(f"sqlite:///{saved}", "s").trials) >= 2


def test_fault_44_python_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    url = upgraded_file(tmp_path / "hpo.db")
    with opened(url) as database:
        (tmp_path / "hpo.db").unlink()
        with pytest.raises(StorageError, match="which was removed; what it held is saved in"):
            list_workers(database)
    with opened(f"sqlite:///{rescued(tmp_path)[0]}") as saved:
        assert broken_rules(saved) == []


@pytest.fixture
def finished(fleet: Fleet) -> Path:
    """A folder with the file of a study that is finished."""
    run = fleet.start("run", "--study", "s", *synthetic(0, 3), "--trainers", 1, "--no-report")
    assert run.wait() == 0, run.output
    (fleet.folder / "place").mkdir()
    return Path(shutil.move(fleet.folder / "hpo.db", fleet.folder / "place" / "hpo.db"))


def as_reader(*commands: str, folder: Path) -> Iterator[tuple[int, str, str]]:
    """What commands answer to somebody who may write only where permissions allow it."""
    plain: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv: root may write anywhere")
        plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*plain, sys.executable, "-B", "-c", READER],
        input=json.dumps([shlex.split(command) for command in commands]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "HPO_STORAGE"} | {"HOME": "/nonexistent"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return (tuple(answer) for answer in json.loads(done.stdout))


@pytest.fixture
def protect(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    def protect(folder: Path) -> None:
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)

    yield protect
    for path in tmp_path.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


READS = ("best --study s", "status --study s", "list", "trials --study s", "workers --all", "db check", "db current")


@on_a_file
def test_fault_57_reading_where_one_may_not_write(fleet: Fleet, finished: Path, protect: Callable[[Path], None]):
    folder, elsewhere = finished.parent, fleet.folder
    protect(folder)
    before = finished.read_bytes()
    drawn = (f"report --study s --output {elsewhere}/r.html", f"plot history --study s --output {elsewhere}/p.html")
    again = "run --study s --no-report"
    for code, out, err in as_reader(*READS, *drawn, again, folder=folder):
        assert (code, err) == (0, ""), err
        assert out
    refused = ("run --study s", "run --study s --trials 9 --no-report", "delete --study s --yes", "report --study s")
    says = ("--report must name a file that can be written", *["readonly"] * 2, "--output must name")
    for words, (code, _, err) in zip(says, as_reader(*refused, folder=folder), strict=True):
        assert code == 2
        assert words in err
    assert [path.name for path in folder.iterdir()] == ["hpo.db"]
    assert finished.read_bytes() == before
    assert (elsewhere / "r.html").exists()


@on_a_file
@pytest.mark.parametrize("index", [True, False])
def test_fault_57_a_log_that_was_left(fleet: Fleet, index: bool, protect: Callable[[Path], None]):
    """A killed run leaves what it wrote last in the log, which is read, too."""
    run = start(fleet, HPO_STORAGE=fleet.url)
    run.end()
    place = fleet.folder / "place"
    place.mkdir()
    for ending in ("", "-wal", "-shm" if index else "-wal"):
        shutil.copyfile(fleet.folder / f"hpo.db{ending}", place / f"hpo.db{ending}")
    assert (place / "hpo.db-wal").stat().st_size
    names = {path.name for path in place.iterdir()}
    protect(place)
    for code, out, err in as_reader("trials --study s", folder=place):
        assert (code, err) == (0, "")
        assert out.count("complete") >= 2
    assert {path.name for path in place.iterdir()} == names


@on_a_file
def test_fault_57_a_file_of_somebody_else_in_a_folder_of_ones_own(fleet: Fleet, finished: Path):
    """The log that a reader would make there could not be written by who owns the file."""
    finished.chmod(0o444)
    for code, _, err in as_reader(*READS, folder=finished.parent):
        assert (code, err) == (0, "")
    assert [path.name for path in finished.parent.iterdir()] == ["hpo.db"]


@on_a_file
def test_fault_57_a_file_that_others_write_meanwhile(fleet: Fleet):
    """Of another user: may be read, with its log and the index of it."""
    run = start(fleet, trials=40)
    (fleet.folder / "hpo.db").chmod(0o444)
    names = {path.name for path in fleet.folder.glob("hpo.db*")}
    for code, out, err in as_reader("trials --study s", folder=fleet.folder):
        assert (code, err) == (0, "")
        assert out.count("complete") >= 2
    assert {path.name for path in fleet.folder.glob("hpo.db*")} == names == {"hpo.db", "hpo.db-wal", "hpo.db-shm"}
    (fleet.folder / "hpo.db").chmod(0o644)
    assert run.wait() == 0, run.output
    invariants(fleet.url, "s")


@on_a_file
def test_fault_57_a_file_system_that_is_read_only(fleet: Fleet, finished: Path):
    disk = fleet.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("needs mount: this user may not mount a file system")
    try:
        shutil.copyfile(finished, disk / "hpo.db")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert invariants(f"sqlite:///{disk}/hpo.db", "s").finished == 3
        assert [path.name for path in disk.iterdir()] == ["hpo.db"]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_fault_57_an_older_schema(tmp_path: Path, protect: Callable[[Path], None]):
    place = tmp_path / "place"
    place.mkdir()
    with closing(sqlite3.connect(place / "hpo.db")) as file:
        file.executescript((ROOT / "tests/hpo_storage/fixtures/r0002.sql").read_text())
    protect(place)
    answers = as_reader("list", f"db backup {tmp_path}/copy.db", folder=place)
    code, _, err = next(answers)
    assert code == 2
    assert "the older 0002, and it cannot be written; copy it to a folder of yours with hpo db backup, and run" in err
    assert next(answers)[0] == 0
    assert main(["db", "upgrade", "--storage", str(tmp_path / "copy.db")]) == 0


NAMES = ("q?x.db", "per%20cent.db", "a#b.db", "a b.db", "ünï.db", "x;y.db", 'it\'s "x".db', "-x.db", "$HOME.db", "X.DB")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_fault_79_a_file_has_the_name_it_was_given(here: Path, name: str, capsys: pytest.CaptureFixture[str]):
    upgraded_file(here / name)
    assert main(["list", "--storage", name]) == 0
    words = ["run", "--study", "s", *map(str, synthetic(0, 1)), "--no-report", "--storage", f"n{name}"]
    assert main(words) == 0
    assert files(here) == {name, f"n{name}"}
    shown = next(line for line in capsys.readouterr().out.splitlines() if "hpo report" in line)
    assert main([*shlex.split(shown.partition("hpo ")[2]), "--output", "r.html"]) == 0
    assert files(here) == {name, f"n{name}", "r.html"}
    assert hpo.open_study("s", storage=Path(f"n{name}")).finished == 1
    invariants(hpo.api.database_url(f"n{name}"), "s")


def test_fault_79_what_stands_for_a_home_and_what_is_a_url(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    urls = ("~/x.db", "sqlite:///per%20cent.db", f"sqlite:///{here}/whole.db", "sqlite+pysqlite:///driver.db")
    for url in urls:
        monkeypatch.setenv("HPO_STORAGE", url)
        assert main(["db", "upgrade"]) == 0
    hpo.upgrade(here / "file:x.db")
    assert files(here) == {"home/x.db", "per cent.db", "whole.db", "driver.db", "file:x.db"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.db?mode=ro", "a name that ends in .db"),
        ("file:x.db", "with ./ before one with a colon"),
        ("C:\\x.db", "with ./ before one with a colon"),
        ("sqlite:/x.db", "write sqlite:///FILE"),
        ("sqlite://rel.db", "three slashes"),
        ("sqlite://user:secret@host/x.db", "three slashes"),
        ("sqlite:///q?x.db", "has no options, got ?x.db; leave them out, or write %3F"),
        ("sqlite:///x.db?mode=ro&uri=true", "has no options, got ?mode&uri"),
        ("sqlite+aiosqlite:///x.db", "needs its driver, pysqlite, got sqlite+aiosqlite"),
        ("sqlite+pysqlite:///", "must outlive the process"),
        (":memory:", "got ':memory:'"),
        ("x.db ", "got 'x.db '"),
        ("study", "got 'study'"),
        ("a\nb.db", "must have a printable name"),
        ("sqlite:///a%00b.db", "must have a printable name"),
        ("sqlite:///%ff.db", "must have a printable name"),
        ("\udcff.db", "must have a printable name"),
        ("x" * 300 + ".db", "File name too long"),
        ("no/such.db", "in a folder that exists"),
        ("pipe.db", "a pipe, socket or device"),
        ("socket.db", "a pipe, socket or device"),
        ("device.db", "a pipe, socket or device"),
        ("folder.db", "got the folder 'folder.db'"),
    ],
)
def test_fault_79_other_names_are_refused(here: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]):
    (here / "folder.db").mkdir()
    os.mkfifo("pipe.db")
    (here / "device.db").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.db")
    for command in ("db upgrade", "list"):
        assert main([*command.split(), "--storage", name]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert "secret" not in error
    assert files(here) == set()


@on_a_file
def test_fault_44_a_copy_of_a_file_that_is_used(fleet: Fleet):
    run = start(fleet)
    alone = fleet.folder / "alone.db"

    def lacks_little():
        shutil.copyfile(fleet.folder / "hpo.db", alone)
        with suppress(InputError):  # the file alone has nothing yet
            return read(f"sqlite:///{alone}", "s").finished >= 1
        return False

    fleet.wait_for(lacks_little)
    backup = fleet.start("db", "backup", "copy.db")
    assert backup.wait() == 0, backup.output
    assert "hpo list --storage copy.db" in backup.output
    refused = fleet.start("db", "backup", "copy.db")
    assert refused.wait() == 2
    assert "a copy must be a new file, got 'copy.db'" in refused.output
    url = f"sqlite:///{fleet.folder}/copy.db"
    with opened(url) as database:
        assert broken_rules(database) == []
        assert list_workers(database) == []
    assert len([trial for trial in read(url, "s").trials if trial.state == "complete"]) >= 2
    assert run.wait() == 0, run.output
    again = fleet.start("run", "--study", "s", "--no-report", HPO_STORAGE=url)
    assert again.wait() == 0, again.output
    assert {path.name for path in fleet.folder.glob("copy*")} == {"copy.db"}
    invariants(url, "s")
    invariants(fleet.url, "s")


def test_fault_44_a_copy_without_its_log(tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]):
    code = "import sqlite3; f = sqlite3.connect('hpo.db'); f.execute('PRAGMA journal_mode=WAL'); import os; os._exit(0)"
    assert run_python(code, cwd=here).returncode == 0
    for path in here.glob("hpo.db-*"):
        path.unlink()
    assert main(["list"]) == 2
    assert "got sqlite:///hpo.db without its -wal; copy it with hpo db backup" in capsys.readouterr().err
    assert main(["db"]) == 0
    assert "backup" in capsys.readouterr().out
