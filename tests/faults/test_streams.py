"""Fault 56: standard streams that are closed or strange. The work is done, and what cannot be shown is not shown."""

import fcntl
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.databases import read
from tests.helpers.fleet import CLI, synthetic
from tests.helpers.invariants import invariants
from tests.helpers.processes import wait_until

pytestmark = pytest.mark.slow

RUN = ("run", "--study", "s", *map(str, synthetic(0, 2)), "--trainers", "1", "--report", "s.html")
CLOSED = ">&- 2>&- <&-"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    return tmp_path


def hpo(*words: str, streams: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of `hpo WORDS STREAMS`."""
    shell = ["bash", "-o", "pipefail", "-c", f'"$@" {streams}', "bash", *CLI, *words]
    return subprocess.run(
        shell, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


def assert_done(ended: subprocess.CompletedProcess[str], code: int, said: str = "") -> None:
    assert "Traceback" not in ended.stderr, ended.stderr
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr


FULL = "error: the output could not be written: No space left on device"


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">&-", 0, ""),
        (CLOSED, 0, ""),
        (">/dev/full", 1, FULL),
        ("2>/dev/full", 0, ""),
        ("| head -1", 1, ""),
        ("--json >&-", 0, "s: training"),
        ("--json 2>/dev/full", 0, ""),
        ("--json >/dev/full", 1, FULL),
    ],
)
def test_fault_56_a_run_with_closed_and_full_streams(folder, streams, code, said):
    assert_done(hpo(*RUN, streams=streams), code, said)
    study = invariants(f"sqlite:///{folder}/hpo.db", "s", 2)
    assert study.finished == 2
    assert (folder / "s.html").stat().st_size > 10_000
    for path in folder.iterdir():  # nothing was printed into a file that got the number of a closed stream
        assert path.suffix == ".db" or b"trial 0 complete: " not in path.read_bytes()[:4000]


CLOSED_CODES = {
    "best --study s": 0,
    "report --study s": 0,
    "replay --study s --trial 0": 0,
    "worker --once": 0,
    "delete --study s": 1,
    "run --trials x": 2,
}


def test_fault_56_other_commands_with_closed_and_full_streams(folder):
    assert_done(hpo(*RUN), 0)
    for command, code in CLOSED_CODES.items():
        assert_done(hpo(*command.split(), streams=CLOSED), code)
    for command in ("trials --study s", "--help"):
        assert_done(hpo(*command.split(), streams=">/dev/full"), 1, FULL)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb", "COLUMNS": "many", "LINES": "-1"},
        {"TERM": "xterm-256color", "COLUMNS": "0"},
        {"TERM": "xterm-256color", "COLUMNS": "1", "NO_COLOR": "1"},
        {"TERM": "xterm-256color", "COLUMNS": "10000"},
    ],
    ids=str,
)
def test_fault_56_strange_terminals(folder, environment):
    for words in (RUN, ("status", "--study", "s"), ("trials", "--study", "s")):
        code, shown = in_terminal(words, environment)
        assert code == 0, shown
        assert b"Traceback" not in shown, shown
        assert shown
    assert read(f"sqlite:///{folder}/hpo.db", "s").finished == 2


def in_terminal(words: tuple[str, ...], environment: dict[str, str]) -> tuple[int, bytes]:
    """The exit code of `hpo WORDS` in a terminal, and all that it showed."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [*CLI, *words], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **environment}
        )
        os.close(theirs)
        shown = b""
        try:
            while data := screen.read(65536):
                shown += data
        except OSError:  # nobody has the other end any more
            pass
    return process.wait(60), shown


@pytest.mark.parametrize("blocks", [True, False])
def test_fault_56_a_reader_that_does_not_read(folder, blocks):
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, blocks)
    os.write(theirs, b"x" * 4096)
    process = subprocess.Popen([*CLI, *RUN], stdout=theirs)
    os.close(theirs)
    url = f"sqlite:///{folder}/hpo.db"
    wait_until(lambda: (folder / "s.html").exists(), 60)  # the run is over, and waits to say so
    invariants(url, "s", 2)
    with os.fdopen(ours, "rb") as reader:
        assert b"s is finished" in reader.read()
    assert process.wait(60) == 0


TUNE = """
import io, sys
class Bare:
    def write(self, text): return len(text)
class Worse:
    def __getattr__(self, name): raise OSError(5, "Input/output error")
class Terminal(io.StringIO):
    def isatty(self): return True
for number, streams in enumerate(STREAMS):
    exec(streams)
    import hpo
    study = hpo.tune(objective="synthetic", trials=2, trainers=1, study=f"s{number}", storage="hpo.db")
    # The interpreter flushes them at its end.
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    open(f"done{number}", "w").write(str(study.finished))
"""
STRANGE = [
    "sys.stdout = sys.stderr = sys.stdin = None",
    "sys.stderr = Bare()",
    "sys.stderr = Worse()",
    "sys.stderr = Terminal(); sys.stdout = None",
    "sys.stderr = io.TextIOWrapper(io.BytesIO(), 'ascii', 'strict')",
]


@pytest.mark.parametrize(
    ("streams", "redirection"), [(STRANGE, ""), ([""], CLOSED), ([""], "2>/dev/full"), ([""], "2>&-")]
)
def test_fault_56_tune_with_closed_and_strange_streams(folder, streams, redirection):
    """Objects of all kinds in one process, one study after another; descriptors each in a process of its own."""
    code = TUNE.replace("STREAMS", repr(streams))
    shell = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, "-c", code]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for number in range(len(streams)):
        assert (folder / f"done{number}").read_text() == "2", streams[number]
        invariants(f"sqlite:///{folder}/hpo.db", f"s{number}", 2)
