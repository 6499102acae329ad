"""The objective `mlp`: the loss of networks on resamples of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from hpo_spaces import Categorical, MlpSpace, SearchSpace, with_choice
from hpo_storage.records import Outcome, TrialRecord

from hpo.data.fingerprint import file_sha256
from hpo.data.spec import PREPARATION, DataSpec
from hpo.data.teaching_names import builtin_source
from hpo.declaration import settings_of, taken, to_json
from hpo.errors import SpaceError, StudyError, TrialError, use
from hpo.evaluation.cost import training_cost
from hpo.evaluation.job import Job
from hpo.network.architecture import SCALING_NAMES, Architecture
from hpo.objectives.base import PARTS, Cost, Description, Json, Objective, RunChild, StudyRequest
from hpo.search.rules import Rules
from hpo.settings import Corrections, EvaluationSpec, Reading
from hpo.study.facts import TrialInfo
from hpo.study.spec import StudySpec, definition_names, of_another_version
from hpo.usercode import said
from hpo.words import count_text

_OPTIMISTIC = "Training was stopped on the rows that it is scored on (stop_on: score): this is optimistic."
SCALING = Categorical("scaling", tuple(name for name in SCALING_NAMES if name != "none"))
_READING = tuple(setting.name for setting in settings_of(Reading))
_CORRECTIONS = tuple(setting.name for setting in settings_of(Corrections))


@dataclass(frozen=True, kw_only=True, slots=True)
class MlpPart:
    """What a study of networks on a table has of its own."""

    data: DataSpec
    evaluation: EvaluationSpec

    def to_json(self) -> Json:
        """Plain values for JSON; `from_json` is the inverse."""
        return {"data": self.data.to_json(), "evaluation": to_json(self.evaluation)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`; earlier versions knew one scaling."""
        evaluation = {"scaling": "standard", **values["evaluation"]}
        return cls(data=DataSpec(**values["data"]), evaluation=EvaluationSpec(**evaluation))

    @classmethod
    def of(cls, spec: StudySpec) -> Self:
        """That of a study; StudyError for what another version wrote."""
        try:
            return cls.from_json(spec.objective.part)
        except (KeyError, TypeError) as error:
            raise of_another_version(spec.name, error) from error


class Mlp(Objective):
    """Networks on a table; trainers train them on Keras' backends."""

    settings = frozenset(
        {
            *("data", "data_url", "target"),
            *_READING,
            *_CORRECTIONS,
            *(setting.name for setting in settings_of(EvaluationSpec)),
        }
    )
    trainer = "hpo.trainer.main"

    def define(self, request: StudyRequest, before: StudySpec | None, *, works: bool, has_copy: bool) -> Json:
        """Data and evaluation; a file is read for its hash."""
        stored = MlpPart.of(before) if before else None
        data = _data(request, stored.data if stored else None, reads_stored=works, has_copy=has_copy)
        return MlpPart(
            data=data, evaluation=_evaluation(request.given, stored.evaluation if stored else None)
        ).to_json()

    def comparable(self, stored: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
        """A file may have moved; what an earlier version did not store has its default."""
        stored = MlpPart.from_json(stored).to_json()
        old, new = stored["data"], part["data"]
        same = old["kind"] == new["kind"] != "builtin" and old["sha256"] == new["sha256"]
        return {**stored, "data": {**old, "source": new["source"]}} if same else stored

    def check_space(self, space: SearchSpace) -> None:
        """A space must make networks of its points."""
        if not isinstance(space, MlpSpace):
            raise SpaceError(
                f"the space of an MLP must make a network of each point, {space.name!r} has no architecture; "
                f"write MlpSpace(..., architecture=...) instead of SearchSpace(...)",
                setting="space",
            )
        space.check()

    def searched(self, space: SearchSpace, part: Mapping[str, Any]) -> SearchSpace:
        """Which scaling of the numbers is best differs from table to table: it is searched, unless it is given."""
        own = MlpPart.from_json(part)
        assert isinstance(space, MlpSpace)
        names = {dimension.name for dimension in space.dimensions}
        if own.data.preparation == 1 or SCALING.name in names or _scales(space):
            return space
        if own.evaluation.scaling != "search":
            return space
        return with_choice(space, SCALING, lambda made, scaling: replace(made, scaling=str(scaling)))

    def data_file(self, spec: StudySpec) -> Path | None:
        """The table, where it is a file."""
        data = MlpPart.of(spec).data
        return Path(data.source) if data.kind == "file" else None

    def prepare(self, spec: StudySpec, folder: Path, copy: Path | None, run: RunChild) -> Json:
        """Write every replicate's arrays into the folder, in a child process."""
        part = MlpPart.of(spec)
        if part.data.kind == "frame" and copy is None:
            handed = {"frame": "a data frame", "-": "standard input"}.get(part.data.source, "the answer to a query")
            remedy = "hpo.tune(frame, ...)" if part.data.source == "frame" else use("data", part.data.source)
            raise StudyError(
                f"a study of {handed} needs that again, as it is not stored with {spec.name!r}; resume it with {remedy}"
            )
        request = {**part.to_json(), "seed": spec.search.seed, "folder": str(folder)}
        return run("hpo.data.prepare", {**request, "copy": str(copy) if copy else None})

    def order(self, spec: StudySpec, space: SearchSpace, slot: int, params: Mapping[str, Any], rules: Rules) -> Json:
        """A `Job`."""
        assert isinstance(space, MlpSpace)
        part = MlpPart.of(spec)
        try:
            architecture = space.make(params)
            if not isinstance(architecture, Architecture):
                raise TypeError(f"architecture must return an Architecture, got {architecture!r}")
        except Exception as error:
            raise TrialError(f"the search space failed: {said(error)}") from error
        job = Job(
            slot=slot,
            seed=spec.search.seed,
            architecture=_scaled(architecture, part),
            evaluation=part.evaluation,
            rules=rules,
        )
        return job.to_json()

    def max_epochs(self, spec: StudySpec) -> int:
        """As the evaluation says."""
        return MlpPart.of(spec).evaluation.max_epochs

    def cost_of(self, spec: StudySpec) -> Cost:
        """Weights times epochs; see `training_cost`."""
        patience = MlpPart.of(spec).evaluation.patience

        def cost(result: Outcome | TrialRecord) -> float | None:
            parameters = TrialInfo.from_json(result.info).parameters
            best_epochs = [replicate.best_epoch for replicate in result.replicates]
            return training_cost(parameters, best_epochs, patience) if parameters and best_epochs else None

        return cost

    def describe(self, spec: StudySpec) -> Description:
        """The table and how trials are judged."""
        part = MlpPart.of(spec)
        judged = part.evaluation
        return Description(
            title="multilayer perceptrons on a table",
            source=part.data.source,
            target=part.data.target,
            sha256=part.data.sha256,
            settings={"evaluation": to_json(judged)},
            summary=f"{_division(judged)}, {count_text(judged.replicates, 'replicate')}, "
            f"at most {count_text(judged.max_epochs, 'epoch')}, patience {judged.patience}",
            caution=_OPTIMISTIC if judged.stop_on == "score" else "",
            parts=PARTS,
            needs_python=part.data.kind == "frame" and part.data.source == "frame",
        )


MLP = Mlp()


def _scales(space: MlpSpace) -> bool:
    """Whether the networks of a space say how their inputs are scaled."""
    return space.make(space.decode([0.5] * space.size)).scaling != "none"


def _scaled(architecture: Architecture, part: MlpPart) -> Architecture:
    """With the study's scaling, where the space has none of its own; earlier versions' data comes scaled."""
    if part.data.preparation == 1 or architecture.scaling != "none":
        return architecture
    given = part.evaluation.scaling
    return replace(architecture, scaling="standard" if given == "search" else given)


def _division(judged: EvaluationSpec) -> str:
    """How rows are divided, in words."""
    if judged.time is not None:
        return f"forward in time by {judged.time!r}"
    return judged.method if judged.group is None else f"{judged.method} of groups by {judged.group!r}"


def _evaluation(given: Mapping[str, Any], stored: EvaluationSpec | None) -> EvaluationSpec:
    """How trials are judged, as is given or stored; a column of times divides the rows forward in time."""
    if "time" in given and "method" not in given:
        given = {**given, "method": "forward"}
    found = taken(EvaluationSpec, given, stored)
    if found.time is None and found.method == "forward":
        raise StudyError(
            f"rows are divided forward in time by a column of times, got none; give {use('time', 'COLUMN')}",
            setting="time",
        )
    if found.time is not None and found.method != "forward":
        raise StudyError(
            f"rows with a time are divided forward in time, got {use('method', found.method)} with "
            f"{use('time', found.time)}; leave one of them away",
            setting="method",
        )
    if found.time is not None and found.group is not None:
        raise StudyError(
            f"rows are divided by their time or by their group, got {use('time', found.time)} and "
            f"{use('group', found.group)}: a group that goes on through time would have to be on both sides of each "
            f"cut; leave one of them away",
            setting="group",
        )
    return found


def _data(request: StudyRequest, stored: DataSpec | None, *, reads_stored: bool, has_copy: bool) -> DataSpec:
    """The data that is asked for, or the stored one."""
    given = request.given
    if request.frame is not None or "data" in given:
        return _as_given(_given_data(request, stored), given)
    if stored is None:
        raise StudyError(
            f"a new study needs data: no study or built-in study is named {request.name!r} "
            f"(built-in: {', '.join(definition_names())}); give {use('data', 'FILE')} {use('target', 'COLUMN')}",
            setting="data",
        )
    is_read = reads_stored and stored.kind == "file" and not (has_copy and not Path(stored.source).exists())
    now = replace(stored, sha256=file_sha256(Path(stored.source))) if is_read else stored
    return _as_given(now, given)


def _given_data(request: StudyRequest, stored: DataSpec | None) -> DataSpec:
    """A frame, a built-in set or a file; of a file, how the stored one was read holds on."""
    given = request.given
    target = given.get("target") or (stored.target if stored else None)
    how: dict[str, Any] = {"preparation": PREPARATION}
    if stored is not None:
        how = {"preparation": stored.preparation, "corrections": stored.corrections}
    is_read = stored is not None and (stored.kind == "file" or stored.source == given.get("data") == "-")
    reading = to_json(stored) if stored is not None and is_read else {}
    kept = {name: reading[name] for name in _READING if name in reading}
    if request.frame is not None:
        source = given.get("data", "frame")
        sha256 = request.sha256 or file_sha256(request.frame)
        kept = kept if source == "-" else {}
        return DataSpec(kind="frame", source=source, target=target or "target", sha256=sha256, **how, **kept)
    source = given["data"]
    if (builtin := builtin_source(source)) is not None:
        return DataSpec(kind="builtin", source=builtin, target=target or "target", **how)
    if source.partition(":")[0] == "synthetic" and not Path(source).exists():
        raise StudyError(
            f"the synthetic objective has no data, got {source!r}; "
            f"use {use('objective', 'synthetic')} and {use('sleep', 0.1)} instead",
            setting="data",
        )
    if target is None:
        raise StudyError(f"a target column is needed for {source}; give {use('target', 'COLUMN')}", setting="target")
    sha256 = request.sha256 or file_sha256(Path(source))
    return DataSpec(kind="file", source=source, target=target, sha256=sha256, **how, **kept)


def _as_given(data: DataSpec, given: Mapping[str, Any]) -> DataSpec:
    """`data` with target, reading and corrections that are given; reading is for files and standard input."""
    changes = {name: given[name] for name in ("target", *_READING) if name in given}
    changed = replace(data, **changes, corrections=taken(Corrections, given, data.corrections))
    unread = [s.name for s in settings_of(Reading) if getattr(changed, s.name) != s.default]
    if changed.kind != "file" and changed.source != "-" and unread:
        raise StudyError(
            f"encoding, missing words and header are for files, got them for {changed.source}; leave them away",
            setting=unread[0],
        )
    return changed
