"""What all trials of a study share: made once, in a folder, by a child process where it is work."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hpo_storage.database import Database
from hpo_storage.datasets import fetch_dataset
from hpo_storage.timing import silence_seconds

import hpo.errors
from hpo.errors import DataError, ResourceError
from hpo.objectives.base import NO_FACTS
from hpo.study.resolve import ResolvedStudy
from hpo.usercode import RequestedInterrupt
from hpo.words import duration_text
from hpo.worker.child import Child, wait_for_output

TICK_SECONDS = 0.25
FETCHED = "data"
WARNING_PART = 6
"""A child that prepares longer than this part of what a silent trainer may have is worth a word."""
OnWait = Callable[[str, float | None], None]
_log = logging.getLogger("hpo")


def prepare_study(
    database: Database,
    study: ResolvedStudy,
    dataset: str | None,
    folder: Path,
    on_wait: OnWait,
    *,
    copy: Path | None = None,
    reads_source: bool = True,
) -> dict[str, Any]:
    """Prepare a study in the folder, and return the facts that its objective found.

    Its data is `copy` where there is one; or else, where it `reads_source`, the file that the spec names; or else the
    stored `dataset`. `on_wait` is called a few times a second with what is done now, and which share of it, as far as
    that is known, and may raise to give up. Raises InputError.
    """
    if copy is None and dataset is not None:
        source = study.objective.data_file(study.spec) if reads_source else None
        if source is None or not source.exists():
            copy = folder / FETCHED
            fetch_dataset(database, dataset, copy)
    facts = study.objective.prepare(study.spec, folder, copy, partial(run_child, on_wait))
    return {**NO_FACTS, **(facts or {})}


def run_child(on_wait: OnWait, module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module in a child with one request, and return the facts it answers with; raises its InputError."""
    child, started, warned = Child(module), time.monotonic(), False
    now: dict[str, Any] = {"step": "", "share": None}
    try:
        child.send(request)
        child.finish_input()
        answers: list[dict[str, Any]] = []
        while not child.closed:
            wait_for_output([child], TICK_SECONDS)
            for message in child.messages():
                if "step" in message:
                    now = message
                else:
                    answers.append(message)
            on_wait(now["step"], now["share"])
            seconds = time.monotonic() - started
            if not warned and seconds > silence_seconds() / WARNING_PART:
                warned = True
                said = duration_text(seconds)
                _log.warning("the data is not prepared after %s (process %d)", said, child.process_id)
        if not answers:
            ending = child.ending()
            raise RequestedInterrupt if child.was_stopped else _death(child, ending)
    finally:
        child.kill()
    answer = answers[-1]
    if not answer["ok"] and answer["kind"] is None:
        raise RuntimeError(f"preparing the data failed:\n{answer['message']}")
    if not answer["ok"]:
        raise getattr(hpo.errors, answer["kind"], DataError)(answer["message"], setting=answer["setting"])
    facts: dict[str, Any] = answer["facts"]
    return facts


def _death(child: Child, ending: str) -> Exception:
    """Why a child that gave no answer is gone."""
    errors = child.errors().strip()
    if ending == "killed by SIGKILL":
        return ResourceError(
            f"preparing the data must come to an end, it was {ending}, as the system does where memory is short; "
            f"see that more is free, or use fewer rows or columns"
        )
    return RuntimeError(f"preparing the data failed ({ending}):\n{errors or 'it said nothing'}")
