"""What trainers say and hear: lines of JSON, on standard output and from standard input.

-> {"open": folder, "replicates": R}   the study to work on from now on
-> {"train": [orders]}                 trials to evaluate; an order has its `slot`
<- {"ready": true}                     it can begin
<- {"replicate", "epoch", "loss"}      progress, a few times a second
<- {"slot", "outcome": Outcome as JSON}  of each trial
<- {"error": "...", "traceback": "..."}  something unexpected, the end of all trials without an outcome;
                                       the trainer goes on
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from hpo_storage.records import Outcome

from hpo.processes import end_with_supervisor
from hpo.worker.signals import ignore_stops

Answer = Callable[[Mapping[str, Any]], None]
OnEpoch = Callable[[int, int, float], None]


@cache
def output_aside() -> TextIO:
    """Where answers go; anything else that is printed from now on goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def begin() -> Answer:
    """Become a trainer: return what sends an answer."""
    ignore_stops()
    end_with_supervisor()
    answers = output_aside()

    def answer(message: Mapping[str, Any]) -> None:
        answers.write(json.dumps(message, default=_plain) + "\n")
        answers.flush()

    return answer


def _plain(value: Any) -> object:  # noqa: ANN401 - a number of NumPy's or of a framework's
    """Python's own number for one of another library's."""
    if not hasattr(value, "item"):
        raise TypeError(f"an outcome holds numbers and texts, got {type(value).__name__}")
    return value.item()


def serve(evaluate: Callable[[Mapping[str, Any], OnEpoch], Outcome]) -> None:
    """Evaluate one order after the other until standard input ends: all that a trainer without a framework does.

    `evaluate(order, on_epoch)` returns the outcome; it may tell `on_epoch(replicate, epoch, loss)` how far it is.
    """
    answer = begin()
    answer({"ready": True})
    orders, sys.stdin = sys.stdin, Path(os.devnull).open(encoding="ascii")  # noqa: SIM115 - `exit()` closes it
    for line in orders:
        for order in json.loads(line).get("train", ()):
            try:
                outcome = evaluate(order, lambda r, e, loss: answer({"replicate": r, "epoch": e, "loss": loss}))
                if not isinstance(outcome, Outcome):
                    raise TypeError(f"evaluate must return an Outcome, got {outcome!r:.200}")
                answer({"slot": order["slot"], "outcome": outcome.to_json()})
            except BaseException as error:  # whatever it raises is the end of its trial only
                answer({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})
                break
