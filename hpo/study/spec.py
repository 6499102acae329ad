"""The immutable description of a study: objective, space and search. Stored as JSON with the study."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from hpo.declaration import to_json
from hpo.errors import StudyError, use
from hpo.settings import SearchSpec
from hpo.words import shown

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveSpec:
    """What is minimized: the objective by its name or reference, and what it alone understands, as JSON values."""

    name: str
    part: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceSpec:
    """The search space: how it was named, and `SearchSpace.describe()` of when the study was created."""

    reference: str
    description: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySpec:
    """One study; its budget of trials stands beside it in the database, because it can be extended."""

    name: str
    objective: ObjectiveSpec
    space: SpaceSpec
    search: SearchSpec

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {
            "name": self.name,
            "objective": {"name": self.objective.name, "part": dict(self.objective.part)},
            "space": {"reference": self.space.reference, "description": dict(self.space.description)},
            "search": to_json(self.search),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`; StudyError for what another version wrote."""
        try:
            return cls(
                name=values["name"],
                objective=ObjectiveSpec(**values["objective"]),
                space=SpaceSpec(**values["space"]),
                search=SearchSpec(**values["search"]),
            )
        except (KeyError, TypeError) as error:
            raise of_another_version(str(values.get("name")), error) from error


def of_another_version(study: str, error: Exception) -> StudyError:
    """The error to raise where a stored spec, or an objective's part of it, cannot be understood."""
    return StudyError(
        f"a stored study must have the settings that this version knows, {study!r} has not ({error}); "
        f"use the version of hpo that it was made with",
        setting="study",
    )


def definition_names() -> list[str]:
    """Names of the built-in studies."""
    folder = files("hpo.study") / "definitions"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def check_study_name(name: object) -> str:
    """Return `name`; raise StudyError where it is not allowed."""
    if not isinstance(name, str) or not STUDY_NAME.fullmatch(name):
        raise StudyError(
            f"a study name must be 1 to 100 letters, digits, '.', '_' or '-' and start with a letter or digit, "
            f"got {shown(name)}; choose another {use('study')}",
            setting="study",
        )
    return name


@dataclass(frozen=True, slots=True)
class Difference:
    """What two specs differ in: its place in their JSON, such as `search.seed`, and both values."""

    place: str
    stored: Any
    now: Any


def differences(stored: StudySpec, given: StudySpec) -> list[Difference]:
    """What differs, in the order of the places."""
    return _differences("", stored.to_json(), given.to_json())


def _differences(prefix: str, stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[Difference]:
    found: list[Difference] = []
    for key in sorted(stored.keys() | given.keys()):
        old, new = stored.get(key), given.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(f"{prefix}{key}.", old, new)
        elif old != new:
            found.append(Difference(f"{prefix}{key}", old, new))
    return found
