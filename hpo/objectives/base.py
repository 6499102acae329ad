"""What an objective is: what a study minimizes, whoever evaluates it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from hpo_spaces import SearchSpace
from hpo_storage.records import Outcome, TrialRecord

from hpo.declaration import taken
from hpo.search.rules import Rules
from hpo.settings import Training, Work
from hpo.study.spec import StudySpec

Json = dict[str, Any]
Cost = Callable[[Outcome | TrialRecord], float | None]
"""None where the cost is not known."""
Part = Literal["table", "replicates", "curves", "networks", "races"]
"""What there may be to show of a study beside the values of its trials: rows that it learns from, trainings of each
trial, their losses by epoch, layers and weights, and trials that are cut short."""
PARTS: frozenset[Part] = frozenset(get_args(Part))
NO_FACTS: Json = {"replicates": 1, "notes": [], "loss_name": "value"}
"""What is known where an objective says nothing."""
RunChild = Callable[[str, Mapping[str, Any]], Json]
"""Runs a module in a child process with one request, and returns its answer; raises the InputError it answers with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRequest:
    """What a person asks of a study; what is not given is the stored study's, or else the default.

    `given` holds checked values (see `hpo.settings.asked`). `frame` is a Parquet file that stands for a data frame
    handed over in Python. `sha256` is that of the data, where it has been read already.
    """

    name: str
    given: Mapping[str, Any]
    frame: Path | None = None
    sha256: str | None = None

    @property
    def work(self) -> Work:
        """How the study is to be worked on."""
        return taken(Work, self.given)

    @property
    def training(self) -> Training:
        """What is to train here."""
        return taken(Training, self.given)


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a report can say of a study's objective: what is tuned, and its settings by group.

    `source` and `target` name the data where there is any; `summary` says in a line how trials are judged, `caution`
    what must be known of their values. `parts` say what there is beside the values. A study that `needs_python` cannot
    be resumed from the command line unless its data is stored.
    """

    title: str
    source: str = ""
    target: str = ""
    sha256: str = ""
    settings: Mapping[str, Mapping[str, Any]]
    summary: str = ""
    caution: str = ""
    parts: frozenset[Part] = frozenset()
    needs_python: bool = False


@runtime_checkable
class Objective(Protocol):
    """What a study minimizes. Its own part of a spec is JSON that it alone understands.

    One of your own derives from this class, which has an answer to all that it does not say itself.
    """

    settings: frozenset[str] = frozenset()
    """The names of the settings that it takes, beside those of every study."""
    trainer: str | None = None
    """The module that evaluates orders, run with `python -m`; None where nobody here does: others ask and tell."""

    def define(self, request: StudyRequest, before: StudySpec | None, *, works: bool, has_copy: bool) -> Json:
        """Its part of a new spec, or of the stored one with what is given; raises InputError where that cannot be.

        Unless the study is worked on, only what is given is looked at: the stored data may be gone. So it may where
        the database has a copy of it.
        """
        return {}

    def comparable(self, stored: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
        """The stored part with what may differ in another one of the same study: the place of the same data."""
        return stored

    def check_space(self, space: SearchSpace) -> None:
        """Raise SpaceError where its trials cannot be made of the space's points."""
        return

    def searched(self, space: SearchSpace, part: Mapping[str, Any]) -> SearchSpace:
        """The space that a study with that part searches: the one that is named, and what the objective adds to it."""
        return space

    def data_file(self, spec: StudySpec) -> Path | None:
        """The file that is stored with the study, so that workers need no path to it; None for none."""
        return None

    def prepare(self, spec: StudySpec, folder: Path, copy: Path | None, run: RunChild) -> Json:
        """Do, once before the first trial, what all trials share, in a folder that trainers will open.

        `copy` has the content of `data_file`, to be read instead of it. Returns facts, as JSON; those of `NO_FACTS`
        hold where others are not said. Raises InputError.
        """
        return NO_FACTS

    def order(self, spec: StudySpec, space: SearchSpace, slot: int, params: Mapping[str, Any], rules: Rules) -> Json:
        """What the trainer is told to do for a trial, as JSON, which has its `slot`."""
        return {"slot": slot, "params": dict(params), "part": dict(spec.objective.part)}

    def max_epochs(self, spec: StudySpec) -> int:
        """How long the curves of its trials are at most."""
        return 1

    def cost_of(self, spec: StudySpec) -> Cost:
        """The function that says what a trial has cost, in any measure that is the same on all machines."""
        return lambda result: None

    def describe(self, spec: StudySpec) -> Description:
        """What a report says of it."""
        return Description(title=spec.objective.name, settings={"objective": spec.objective.part})
