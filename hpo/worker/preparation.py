"""The supervisor's side of the data: where it comes from, and the child process that makes arrays of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo_storage.database import Database
from hpo_storage.datasets import fetch_dataset
from hpo_storage.records import StudyHeader, StudyRecord

import hpo.errors
from hpo.data.synthetic import synthetic_facts
from hpo.errors import DataError, StudyError
from hpo.study.facts import Facts
from hpo.study.spec import DataSpec, StudySpec
from hpo.worker.child import Child, wait_for_output

TICK_SECONDS = 0.25
FETCHED = "data"


def fetch_data(database: Database, stored: StudyHeader | StudyRecord, folder: Path) -> Path | None:
    """A copy of a study's data from the database, in the folder; None where the data is read from its source.

    StudyError where the data is a frame that is not stored.
    """
    if stored.dataset is not None:
        fetch_dataset(database, stored.dataset, folder / FETCHED)
        return folder / FETCHED
    if stored.spec["data"]["kind"] == "frame":
        raise StudyError(
            f"study {stored.name!r} was made from a data frame, which is not stored; "
            f"resume it with hpo.tune(frame, ...)"
        )
    return None


def is_at_its_source(data: DataSpec) -> bool:
    """Whether the data needs no copy: it is built in, or its file is where the spec says."""
    return data.kind in ("builtin", "synthetic") or (data.kind == "file" and Path(data.source).exists())


def prepare_data(spec: StudySpec, folder: Path, copy: Path | None, on_wait: Callable[[], None]) -> Facts:
    """Write every replicate's arrays into the folder and return the facts about the data.

    `copy` is a file with the content of the data, which is read instead of its source. `on_wait` is called a few
    times a second and may raise to give up. Raises InputError for unusable data.
    """
    if spec.data.kind == "synthetic":
        return synthetic_facts(spec.evaluation.replicates)
    child = Child("hpo.data.prepare")
    try:
        child.send(
            {
                "data": spec.data.model_dump(mode="json"),
                "evaluation": spec.evaluation.model_dump(mode="json"),
                "seed": spec.search.seed,
                "folder": str(folder),
                "copy": str(copy) if copy else None,
            }
        )
        child.finish_input()
        answers: list[dict[str, Any]] = []
        while not child.closed:
            wait_for_output([child], TICK_SECONDS)
            answers += child.messages()
            on_wait()
        if not answers:
            raise RuntimeError(f"preparing the data failed ({child.ending()}):\n{child.errors()}")
    finally:
        child.kill()
    if not answers[-1]["ok"]:
        raise getattr(hpo.errors, answers[-1]["kind"], DataError)(answers[-1]["message"])
    return Facts.from_json(answers[-1]["facts"])
