"""Objectives by name, or by the place where somebody defined one of his own."""

from collections.abc import Mapping
from typing import Any

from hpo_spaces.loading import load

from hpo.errors import StudyError
from hpo.objectives.base import Description, Objective
from hpo.study.spec import StudySpec
from hpo.words import shown

OBJECTIVES = {
    "mlp": "hpo.objectives.mlp:MLP",
    "synthetic": "hpo.objectives.synthetic:SYNTHETIC",
}
"""Name -> where the objective is defined; imported when it is asked for."""


def load_objective(name: str) -> Objective:
    """The objective of that name, or found at `package.module:NAME`; StudyError where there is none."""
    found = load(name, OBJECTIVES, "objective", StudyError)
    if isinstance(found, type) or not isinstance(found, Objective):
        raise StudyError(
            f"an objective must be an instance of a class that derives from hpo.objectives.base.Objective, "
            f"got {shown(found)} for {name!r}; correct it",
            setting="objective",
        )
    return found


def described(spec: Mapping[str, Any]) -> Description:
    """What can be said of a stored spec's objective, also where the objective cannot be loaded here."""
    stored = spec["objective"]
    try:
        return load_objective(stored["name"]).describe(StudySpec.from_json(spec))
    except Exception:  # a study can be looked at whatever its objective is here
        return Description(title=stored["name"], settings={"objective": stored["part"]})
