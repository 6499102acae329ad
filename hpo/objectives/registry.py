"""Objectives by name, or by the place where somebody defined one of his own."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hpo_spaces.loading import hidden, load
from hpo_storage.records import TrialRecord

from hpo.errors import StudyError
from hpo.objectives.base import Description, Objective, Part
from hpo.objectives.own import OwnObjective
from hpo.study.facts import TrialInfo
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
            f"got {shown(found)} for {name!r}; correct it{hidden(name)}",
            setting="objective",
        )
    return found if name in OBJECTIVES else cast("Objective", OwnObjective(name, found))


def described(spec: Mapping[str, Any]) -> Description:
    """What can be said of a stored spec's objective, also where the objective cannot be loaded here."""
    stored = spec["objective"]
    found: object = None
    with contextlib.suppress(Exception):  # a study can be looked at whatever its objective is here
        found = load_objective(stored["name"]).describe(StudySpec.from_json(spec))
    if isinstance(found, Description):
        return found
    return Description(title=stored["name"], settings={"objective": stored["part"]})


def parts_of(spec: Mapping[str, Any], trials: Sequence[TrialRecord]) -> frozenset[Part]:
    """What there is to show of a study: what its objective says, and what these of its trials have nevertheless."""
    replicates = [replicate for trial in trials for replicate in trial.replicates]
    found: dict[Part, bool] = {
        "replicates": bool(replicates),
        "curves": any(replicate.curve for replicate in replicates),
        "networks": any(TrialInfo.from_json(trial.info) != TrialInfo() for trial in trials),
    }
    return described(spec).parts | {part for part, is_there in found.items() if is_there}
