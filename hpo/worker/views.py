"""Views of a run: live in a terminal, plain lines anywhere else."""

import contextlib
import io
import os
import select
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TextIO, cast

from hpo_storage.records import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.errors import PYTHON, Face, written
from hpo.losses import loss_named
from hpo.words import duration_text, ended_text, loss_text, printable
from hpo.worker.progress import ProgressView, Running, SilentView, Snapshot, TrialLine

SHOWN_TRAINERS = 8
REDRAW_SECONDS = 0.1
READER_SECONDS = 1.0
"""How long a reader may let a line wait; then it is lost."""
ETA_TRIALS = 20
"""The time left is judged by at most this many trials, the latest."""
ETA_FIRST_TRIALS = 3


def make_view(stream: TextIO | None, face: Face = PYTHON) -> ProgressView:
    """A live view where `stream` is a terminal that can move its cursor, otherwise plain lines; of None nothing.

    `face` writes the marks of messages.
    """
    if stream is None:  # as `pythonw`, services and closed descriptors have it
        return SilentView()
    shown = cast(TextIO, Unfailing(stream))
    if shown.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        return LiveView(Console(file=shown), face)
    return LineView(shown, face)


class Unfailing(io.TextIOBase):
    """A stream on which nothing fails, and nothing waits for long: a full disk, a terminal that is gone or paused, or a
    reader that reads no more are no reason to stop a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._patience = stream, READER_SECONDS

    @property
    def encoding(self) -> str:  # type: ignore[override] # it has no setter
        """The stream's, or else what takes any text."""
        with contextlib.suppress(Exception):
            return self._stream.encoding or "utf-8"
        return "utf-8"

    def isatty(self) -> bool:
        """As the stream says."""
        with contextlib.suppress(Exception):
            return self._stream.isatty()
        return False

    def write(self, text: str) -> int:
        """Write what the stream can, other characters as their escapes; nothing while nobody takes it."""
        with contextlib.suppress(Exception):
            if self._takes():
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def _takes(self) -> bool:
        """Whether a write returns; who was waited for once is not waited for again until he takes something."""
        try:
            takes = bool(select.select((), (self._stream.fileno(),), (), self._patience)[1])
        except (OSError, ValueError, AttributeError):  # it is no file
            return True
        self._patience = READER_SECONDS if takes else 0.0
        return takes

    def flush(self) -> None:
        """Flush a stream that can."""
        with contextlib.suppress(Exception):
            self._stream.flush()


class LineView:
    """One line for each trial that ends, for each phase and for each message; no control characters."""

    def __init__(self, stream: TextIO, face: Face = PYTHON) -> None:
        self._stream, self._face = stream, face
        self._last = ""

    def update(self, snapshot: Snapshot) -> None:
        """Write a line when the phase changes, or the study."""
        line = f"{snapshot.study}: {snapshot.phase}"
        if line != self._last:
            self._last = line
            self._write(line)

    def trial(self, line: TrialLine, snapshot: Snapshot) -> None:
        """Write a line for the trial."""
        self._write(f"{snapshot.finished}/{snapshot.budget} {trial_text(line)}")

    def message(self, text: str) -> None:
        """Write a line."""
        self._write(printable(written(text, self._face)))

    def close(self) -> None:
        """Nothing to give back."""

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class LiveView:
    """A block at the bottom of a terminal, drawn anew in place; above it scroll new bests and messages."""

    def __init__(self, console: Console, face: Face = PYTHON) -> None:
        self._console, self._face = console, face
        self._live: Live | None = None
        self._drawn = 0.0
        self._clock = TrialClock()

    def update(self, snapshot: Snapshot) -> None:
        """Draw the state of the run, at most ten times a second."""
        self._clock.tell(snapshot)
        now = time.monotonic()
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=sys.stdout is not None,  # what is None could not be given back
                redirect_stderr=sys.stderr is not None,
            )
            self._live.start()
        elif now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        self._live.update(draw(snapshot, self._clock.seconds_left(snapshot)), refresh=True)

    def trial(self, line: TrialLine, snapshot: Snapshot) -> None:
        """Leave a line for a new best and for a failure."""
        self._clock.tell(snapshot)
        if line.is_best or line.state == TrialState.FAILED:
            style = "green" if line.is_best else "red"
            self._console.print(Text(trial_text(line), style=style))

    def message(self, text: str) -> None:
        """Leave a line."""
        self._console.print(Text(printable(written(text, self._face)), style="yellow"))

    def close(self) -> None:
        """Take the block away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class TrialClock:
    """When the latest trials ended, in seconds since the start of the run, to tell the time left."""

    def __init__(self) -> None:
        self._finished = 0
        self._ends: deque[float] = deque(maxlen=ETA_TRIALS + 1)

    def tell(self, snapshot: Snapshot) -> None:
        """Take in how far the run is."""
        if not self._ends and snapshot.phase == "training":
            self._ends.append(snapshot.seconds)
        self._ends.extend([snapshot.seconds] * (snapshot.finished_here - self._finished))
        self._finished = snapshot.finished_here

    def seconds_left(self, snapshot: Snapshot) -> float | None:
        """Estimated seconds to the end of the budget; None where it is too early to tell."""
        trials = len(self._ends) - 1
        if trials < ETA_FIRST_TRIALS:
            return None
        return (snapshot.seconds - self._ends[0]) / trials * (snapshot.budget - snapshot.finished)


def trial_text(line: TrialLine) -> str:
    """One line on a trial that has ended: `trial 7 complete: 0.1234 ± 0.0051, 2.3 s, 250-150 elu`."""
    parts = [f"trial {line.trial} {line.state}: {loss_text(line.value, line.standard_error)}"]
    if line.value is None:
        parts = [f"trial {line.trial} {line.state}"]
    if line.reason and line.state == TrialState.FAILED:
        parts[0] += f": {printable(line.reason)}"
    parts += [duration_text(line.seconds), printable(line.description)]
    return ", ".join([*(part for part in parts if part), *(["new best"] if line.is_best else [])])


def draw(snapshot: Snapshot, seconds_left: float | None) -> RenderableType:
    """The block that a live view shows; lines are cut at the edge of the terminal."""
    return Group(
        _header(snapshot, seconds_left),
        _bar(snapshot),
        Text(best_text(snapshot), style="bold", no_wrap=True, overflow="ellipsis"),
        Text(counts_text(snapshot), no_wrap=True, overflow="ellipsis"),
        _trainers(snapshot.running),
    )


def best_text(snapshot: Snapshot) -> str:
    """The best value so far beside the prior loss."""
    if snapshot.best_value is None:
        return "no result yet"
    baseline = loss_named(snapshot.loss_name).baseline
    prior = f", {baseline} alone: {loss_text(snapshot.prior_loss)}" if snapshot.prior_loss else ""
    best = loss_text(snapshot.best_value, snapshot.best_error)
    return f"best {snapshot.loss_name} {best} (trial {snapshot.best_trial}){prior}"


def counts_text(snapshot: Snapshot) -> str:
    """How the trials ended so far."""
    return ended_text(
        {
            "complete": snapshot.complete,
            "raced out": snapshot.raced_out,
            "pruned": snapshot.pruned,
            "failed": snapshot.failed,
        }.items()
    )


def _header(snapshot: Snapshot, seconds_left: float | None) -> RenderableType:
    table = Table.grid(expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, justify="right")
    done = f", {snapshot.share:.0%}" if snapshot.share is not None else ""
    left = f", {duration_text(seconds_left)} left" if seconds_left is not None else ""
    table.add_row(
        Text.assemble((snapshot.study, "bold"), f": {snapshot.phase}{done}"),
        f"{snapshot.finished}/{snapshot.budget} trials, {duration_text(snapshot.seconds)}{left}",
    )
    return table


def _bar(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(expand=True)  # ends the line, which a bar by itself does not
    table.add_row(ProgressBar(total=max(1, snapshot.budget), completed=snapshot.finished, complete_style="cyan"))
    return table


def _trainers(running: Sequence[Running]) -> RenderableType:
    lines = [
        f"trainer {one.trainer:<2} trial {one.trial:<4} {_part_text(one)}".rstrip() for one in running[:SHOWN_TRAINERS]
    ]
    if len(running) > SHOWN_TRAINERS:
        lines.append(f"and {len(running) - SHOWN_TRAINERS} more trainers")
    return Group(*(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines))


def _part_text(running: Running) -> str:
    """How far its trials are, as far as it has told."""
    part = f"and {running.others} more" if running.others else f"replicate {running.replicate:<2}"
    if running.stop_loss is None:
        return part if running.others else ""
    return f"{part} epoch {running.epoch:<4} loss {loss_text(running.stop_loss)}"
