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
from typing import Any

from hpo_storage.records import Outcome

from hpo.worker.signals import end_with_supervisor, ignore_stops

Answer = Callable[[Mapping[str, Any]], None]
OnEpoch = Callable[[int, int, float], None]


def begin() -> Answer:
    """Become a trainer: return what sends an answer. Anything else that is printed goes to standard error."""
    ignore_stops()
    end_with_supervisor()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # stray prints must not mix with answers

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
    for line in sys.stdin:
        for order in json.loads(line).get("train", ()):
            try:
                outcome = evaluate(order, lambda r, e, loss: answer({"replicate": r, "epoch": e, "loss": loss}))
            except Exception as error:
                answer({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})
                break
            answer({"slot": order["slot"], "outcome": outcome.to_json()})
