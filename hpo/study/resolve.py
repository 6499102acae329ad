"""From what a person asked for to a study's spec: new, built-in or stored."""

import contextlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from hpo_spaces import SearchSpace, load_space, space_changes
from hpo_spaces.loading import forget_module, is_there

from hpo.declaration import Pairs, settings_of, taken
from hpo.errors import InputError, StudyError, use
from hpo.objectives.base import Objective, StudyRequest
from hpo.objectives.registry import load_objective
from hpo.search.incumbent import Leaderboard
from hpo.settings import SETTINGS, SearchSpec, Training, Work, asked
from hpo.study.spec import (
    Difference,
    ObjectiveSpec,
    SpaceSpec,
    StudySpec,
    check_study_name,
    definition_names,
    differences,
    of_another_version,
)
from hpo.words import shown

_FOR_ALL = frozenset(
    {"objective", "space", *(setting.name for group in (Work, Training, SearchSpec) for setting in settings_of(group))}
)
"""Settings that every study has, whatever its objective."""
Found = TypeVar("Found")
_DATA = "objective.part.data."
"""Where a spec says what its data is."""
_CONTENT = frozenset(_DATA + name for name in ("kind", "source", "sha256"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedStudy:
    """A spec with its search space and its objective loaded."""

    spec: StudySpec
    space: SearchSpace
    objective: Objective

    def leaderboard(self) -> Leaderboard:
        """An empty one, for its trials."""
        objective, spec = self.objective, self.spec
        return Leaderboard(spec.search, objective.max_epochs(spec), objective.cost_of(spec))


def request(name: str, *, frame: Path | None = None, **given: object) -> StudyRequest:
    """A request whose settings are checked; StudyError for a name or a value that cannot be."""
    return StudyRequest(name=check_study_name(name), given=asked(given), frame=frame)


def resolve(asked_for: StudyRequest, stored: StudySpec | None = None, *, has_copy: bool = False) -> ResolvedStudy:
    """The study that is asked for. Where the database `has_copy` of the stored data, its file may be gone.

    Raises StudyError where it differs from the stored one (naming the differences) or is incomplete; another
    InputError where its data, its space or its objective cannot be used.
    """
    if stored is None:
        asked_for = replace(asked_for, given={**_definition(asked_for), **asked_for.given})
    objective_name = _named("objective", asked_for, stored.objective.name if stored else None)
    objective = _objective(objective_name, asked_for.given)
    reference = _named("space", asked_for, stored.space.reference if stored else None)
    space = load_space(reference)
    objective.check_space(space)
    part = objective.define(asked_for, _alike(stored, objective_name), works=True, has_copy=has_copy)
    space = objective.searched(space, part)
    spec = StudySpec(
        name=asked_for.name,
        objective=ObjectiveSpec(name=objective_name, part=part),
        space=SpaceSpec(reference=reference, description=space.describe()),
        search=taken(SearchSpec, asked_for.given, stored.search if stored else None),
    )
    if stored is not None:
        _refuse_differences(asked_for, stored, spec, objective)
    return ResolvedStudy(spec=spec, space=space, objective=objective)


def reopen(spec: StudySpec) -> ResolvedStudy:
    """A stored study, to work on it as it is.

    Raises SpaceError or StudyError where its space or objective cannot be imported here, or is another one here.
    """
    reference = spec.space.reference
    named = _found_here(spec, "space", reference, load_space)
    objective = _found_here(spec, "objective", spec.objective.name, load_objective)
    objective.check_space(named)
    try:
        space = objective.searched(named, spec.objective.part)
    except (KeyError, TypeError) as error:
        raise of_another_version(spec.name, error) from error
    if changes := space_changes(spec.space.description, space.describe()):
        raise StudyError(
            f"a study needs the search space that it was made with, {reference!r} differs here from that of "
            f"{spec.name!r}: {'; '.join(changes)}; install the version of it that the study was made with",
            setting="space",
        )
    return ResolvedStudy(spec=spec, space=space, objective=objective)


def forget(spec: Mapping[str, Any]) -> None:
    """Have a stored study's own modules imported anew the next time: they may have been corrected meanwhile."""
    for part, name in (("space", "reference"), ("objective", "name")):
        with contextlib.suppress(KeyError, TypeError):
            forget_module(spec[part][name])


def _found_here(spec: StudySpec, setting: str, reference: str, load: Callable[[str], Found]) -> Found:
    """What a stored study refers to; where its module is not here say so, as the reference is no mistake."""
    try:
        return load(reference)
    except InputError as error:
        module = reference.partition(":")[0]
        cause = error.__cause__
        if not isinstance(cause, ModuleNotFoundError) or not f"{module}.".startswith(f"{cause.name}."):
            raise
        raise StudyError(
            f"the {setting} of study {spec.name!r} must be importable where the study is worked on, its module "
            f"{module!r} is not in {Path.cwd()} or among the installed packages; start in the folder that holds it, or "
            f"put that folder on PYTHONPATH",
            setting=setting,
        ) from cause


def trainer_of(study: ResolvedStudy) -> str:
    """The module that evaluates its trials; StudyError where nobody here does."""
    module = study.objective.trainer
    if module is None:
        raise StudyError(
            f"trials that are trained here need a trainer, the objective of {study.spec.name!r} has none: others ask "
            f"for its points and tell what they found",
            setting="objective",
        )
    if not isinstance(module, str) or not is_there(module):
        raise StudyError(
            f"the trainer of an objective must be a module that can be imported here, {shown(module)} of "
            f"{study.spec.objective.name!r} cannot; correct it, or start in the folder that holds it",
            setting="objective",
        )
    return module


def refuse_changes(asked_for: StudyRequest, stored: StudySpec) -> None:
    """Raise StudyError where what is asked for differs from the stored spec.

    What is not named is not looked at: the data file and the space's module may be gone.
    """
    given, name = asked_for.given, _named("objective", asked_for, stored.objective.name)
    part, objective, space = stored.objective.part, None, stored.space
    if asked_for.frame is not None or not given.keys() <= _FOR_ALL or name != stored.objective.name:
        objective = _objective(name, given)
        part = objective.define(asked_for, _alike(stored, name), works=False, has_copy=False)
    if "space" in given:
        searched = load_objective(name).searched(load_space(given["space"]), part)
        space = SpaceSpec(reference=given["space"], description=searched.describe())
    spec = replace(
        stored,
        objective=ObjectiveSpec(name=name, part=part),
        space=space,
        search=taken(SearchSpec, given, stored.search),
    )
    _refuse_differences(asked_for, stored, spec, objective)


def fixed_settings(asked_for: StudyRequest) -> dict[str, Any]:
    """What is given of the settings that are fixed for a study, and is not the default."""
    own = load_objective(_named("objective", asked_for, None)).settings
    fixed = {"objective", "space", *(setting.name for setting in settings_of(SearchSpec)), *own}
    given = {name: value for name, value in asked_for.given.items() if name in fixed}
    return {name: value for name, value in given.items() if value != SETTINGS[name].default}


def _named(setting: str, asked_for: StudyRequest, stored: str | None) -> str:
    return str(asked_for.given.get(setting) or stored or SETTINGS[setting].default)


def _objective(name: str, given: Mapping[str, Any]) -> Objective:
    """The objective; StudyError where a setting is given that it does not have."""
    objective = load_objective(name)
    for setting in given:
        if setting not in _FOR_ALL | objective.settings:
            there = ", ".join(sorted(objective.settings)) or "none of its own"
            raise StudyError(
                f"a setting must be one of the objective's, {name!r} has no {use(setting)}; leave it away "
                f"(it has {there})",
                setting=setting,
            )
    return objective


def _alike(stored: StudySpec | None, objective: str) -> StudySpec | None:
    """The stored spec, unless it is another objective's."""
    return stored if stored is not None and stored.objective.name == objective else None


def _definition(asked_for: StudyRequest) -> dict[str, Any]:
    """Settings of the built-in study of that name, where the user named no data and no objective of his own."""
    own = asked_for.frame is not None or {"data", "objective"} & asked_for.given.keys()
    if own or asked_for.name not in definition_names():
        return {}
    text = (files("hpo.study") / "definitions" / f"{asked_for.name}.toml").read_text("utf-8")
    return asked(tomllib.loads(text))


def _refuse_differences(
    asked_for: StudyRequest, stored: StudySpec, spec: StudySpec, objective: Objective | None
) -> None:
    """Raise StudyError where the specs differ; without an objective, its part is the same."""
    if stored.objective.name != spec.objective.name:
        found = [Difference("objective", stored.objective.name, spec.objective.name)]  # the rest follows from it
    else:
        if objective is not None:
            part = objective.comparable(stored.objective.part, spec.objective.part)
            stored = replace(stored, objective=replace(stored.objective, part=part))
        found = [each for each in differences(stored, spec) if not each.place.startswith("space.description")]
    lines = _lines(found, spec, asked_for.given)
    changes = []
    if stored.space.reference == spec.space.reference:
        changes = space_changes(stored.space.description, spec.space.description)
        lines |= {f"the search space's {change}": "space" for change in changes}
    if lines:
        raise StudyError(
            f"study {spec.name!r} is stored with other settings, and they cannot change: {'; '.join(lines)}; "
            f"{_remedy(asked_for, lines)}, or choose another name with {use('study')}",
            setting=next(iter(lines.values())),
        )


def _lines(found: list[Difference], spec: StudySpec, given: Mapping[str, Any]) -> dict[str, str]:
    """A line for each difference, in the words of who gave the settings, and the setting that it is about.

    How other data is read follows from it, unless that was given as well.
    """
    lines = {}
    data = {each.place.removeprefix(_DATA): each for each in found if each.place.startswith(_DATA)}
    for each in found:
        name = each.place.rpartition(".")[2]
        if each.place in _CONTENT:
            lines[_data_line(data, spec)] = "data"
        elif name not in data or "source" not in data or name in given:
            name = "space" if each.place == "space.reference" else name
            said = use(name) if name in SETTINGS else name
            stored, now = (_as_said(name, value) for value in (each.stored, each.now))
            lines[f"{said}: stored {stored}, now {now}"] = name
    return lines


def _as_said(name: str, value: object) -> str:
    """A setting's value for people: a mapping is stored as pairs."""
    is_mapping = name in SETTINGS and SETTINGS[name].type == Pairs
    return shown(dict(value) if is_mapping and isinstance(value, list) else value)


def _data_line(changed: Mapping[str, Difference], spec: StudySpec) -> str:
    if (source := changed.get("source")) is not None:
        other = " with other content" if "sha256" in changed and "kind" not in changed else ""
        return f"{use('data')}: stored {shown(source.stored)}, now {shown(source.now)}{other}"
    return f"{use('data')}: {shown(spec.objective.part['data']['source'])} has other content now"


def _remedy(asked_for: StudyRequest, lines: Mapping[str, str]) -> str:
    """What to do about the differences: leave away what was given, put back what has changed by itself."""
    names = [name for line, name in lines.items() if "stored" in line]
    given = [use(name) for name in dict.fromkeys(names) if name in asked_for.given]
    others = {"data": "the data", "space": "the search space"}
    back = [others.get(n, f"the objective's {n}") for n in dict.fromkeys(lines.values()) if use(n) not in given]
    remedies = [f"resume it without {' and '.join(given)}"] if given else []
    return " and ".join(remedies + ([f"put back {' and '.join(back)}"] if back else []))
