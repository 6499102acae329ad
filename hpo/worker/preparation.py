"""The supervisor's side of the data process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hpo.errors
from hpo.errors import DataError
from hpo.study.spec import StudySpec
from hpo.worker.process import Child, wait_for_output

TICK_SECONDS = 0.25


def prepare_data(spec: StudySpec, folder: Path, frame_path: Path | None, on_wait: Callable[[], None]) -> dict[str, Any]:
    """Write every replicate's arrays into the folder and return the facts about the data.

    `on_wait` is called a few times a second and may raise to give up. Raises InputError for unusable data.
    """
    child = Child("hpo.data.prepare")
    try:
        child.send(
            {
                "data": spec.data.model_dump(mode="json"),
                "evaluation": spec.evaluation.model_dump(mode="json"),
                "seed": spec.search.seed,
                "folder": str(folder),
                "frame_path": str(frame_path) if frame_path else None,
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
    facts: dict[str, Any] = answers[-1]["facts"]
    return facts
