"""The sides that `compare.py` sets against each other, each run as a program of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from points import Point, write_points

HERE = Path(__file__).parent
PACKAGES = os.pathsep.join(str(HERE.parent / folder) for folder in ("", "search_spaces", "storage"))
TORCH_REMEDY = "give --torch-python V/bin/python after: python -m venv V; V/bin/pip install torch==2.13.0 numpy optuna"
Losses = list[list[float] | None]


@dataclass(frozen=True, slots=True)
class Side:
    """What one side needed for a list of trials: seconds without start-up, score losses (None where it failed)."""

    seconds: float
    losses: Losses
    startup: float | None = None


@dataclass(frozen=True, slots=True)
class TableRuns:
    """How the sides are run on one table, whose replicates are prepared in `folder`."""

    table: Path
    target: str
    folder: Path
    backend: str
    torch_python: Path | None

    def hpo(self, points: Sequence[Point]) -> Side:
        """hpo with the whole machine."""
        return Side(**self._hpo("points", stdin=write_points(points)))

    def hpo_until(self, loss: float, seed: int, trials: int, *, no_starts: bool) -> dict[str, Any]:
        """hpo from process start until the loss is reached."""
        more = ["--no-starts"] if no_starts else []
        return self._hpo("tune", "--loss", str(loss), "--seed", str(seed), "--trials", str(trials), *more)

    def _hpo(self, command: str, *more: str, stdin: str | None = None) -> dict[str, Any]:
        arguments = [command, "--table", str(self.table), "--target", self.target, "--backend", self.backend, *more]
        with tempfile.TemporaryDirectory() as cache:  # so that compilation always counts
            return answer(sys.executable, "hpo_side.py", arguments, stdin, {"XDG_CACHE_HOME": cache})

    def torch(self, points: Sequence[Point], processes: int, threads: int) -> Side:
        """The PyTorch loop."""
        return Side(**self._torch("points", *shared(processes, threads), stdin=write_points(points)))

    def torch_until(self, loss: float, seed: int, trials: int, minutes: float, report: str) -> dict[str, Any]:
        """The PyTorch loop with Optuna, from process start until the loss is reached or the budget is used up."""
        limits = ["--trials", str(trials), "--minutes", str(minutes)]
        return self._torch("tune", "--loss", str(loss), "--seed", str(seed), "--report", report, *limits)

    def _torch(self, command: str, *more: str, stdin: str | None = None) -> dict[str, Any]:
        arguments = [command, "--folder", str(self.folder), *more]
        return answer(str(self.torch_python), "torch_peer.py", arguments, stdin)

    def sklearn(self, points: Sequence[Point], processes: int, threads: int) -> Side:
        """scikit-learn's MLPClassifier."""
        arguments = ["--folder", str(self.folder), *shared(processes, threads)]
        return Side(**answer(sys.executable, "sklearn_peer.py", arguments, write_points(points)))

    def keras_lines(self, points: Sequence[Point]) -> list[dict[str, Any]]:
        """The lines of plain Keras, trained now."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "points.json"
            file.write_text(write_points(points), "utf-8")
            arguments = ["--data", str(self.table), "--target", self.target, "--points", str(file)]
            return [json.loads(line) for line in output(sys.executable, "plain_keras.py", arguments)]


def shared(processes: int, threads: int) -> list[str]:
    """The options that say how a peer uses the machine."""
    return ["--processes", str(processes), "--threads", str(threads)]


def keras_side(lines: Sequence[Mapping[str, Any]]) -> Side:
    """What lines of plain Keras say of these trials."""
    losses: Losses = [None if line["value"] is None else [line["value"]] for line in lines]
    return Side(seconds=sum(keras_seconds(line) for line in lines), losses=losses)


def keras_seconds(line: Mapping[str, Any]) -> float:
    """Wall seconds of a trial of plain Keras, or its processor seconds where these are fewer."""
    return float(min(line["seconds"], line["cpu_seconds"]))


def kept_lines(folder: Path, table: Path) -> list[dict[str, Any]] | None:
    """The kept lines of plain Keras on the table; None where there are none."""
    file = folder / f"{table.stem}.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else None


def answer(
    python: str, program: str, arguments: Sequence[str], stdin: str | None, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The JSON object that a program prints last."""
    result: dict[str, Any] = json.loads(output(python, program, arguments, stdin, variables)[-1])
    return result


def output(
    python: str,
    program: str,
    arguments: Sequence[str],
    stdin: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """The lines that a program prints; it finds the packages of this repository whatever its Python is."""
    environment = {**os.environ, "PYTHONPATH": PACKAGES, **(variables or {})}
    command = [python, str(HERE / program), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, input=stdin, env=environment)
    return done.stdout.splitlines()


def torch_missing(python: Path | None) -> str | None:
    """Why the PyTorch peers are left out; None where they can run."""
    if python is None:
        return TORCH_REMEDY
    try:
        subprocess.run([python, "-c", "import torch, optuna"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return f"{python} has not all it needs; {TORCH_REMEDY}"
    return None
