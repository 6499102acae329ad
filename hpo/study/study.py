"""From what a user asked for to a study's spec: new, built-in or stored."""

import codecs
import tomllib
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from hpo_spaces import SearchSpace, changed_dimensions, load_space
from pydantic import ValidationError

from hpo.data.fingerprint import BUILTIN_NAMES, file_sha256
from hpo.data.synthetic import is_synthetic, synthetic_seconds
from hpo.errors import StudyError
from hpo.study.spec import (
    DataSpec,
    EvaluationSpec,
    SearchSpec,
    SpaceSpec,
    StudySpec,
    check_study_name,
    differences,
)

DEFAULT_TRIALS = 50
DEFAULT_SPACE = "mlp"
SpecT = TypeVar("SpecT", EvaluationSpec, SearchSpec)
_CSV = ("encoding", "missing_words")
_EVALUATION = (
    "task",
    "loss",
    "weight",
    "class_weights",
    "method",
    "replicates",
    "group",
    "stop_on",
    "max_epochs",
    "patience",
)
_SEARCH = ("sampler", "seed", "racing", "pruner")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyOptions:
    """What a user asked for; None means not given: the stored study's value, or else the default."""

    name: str
    data: str | None = None
    target: str | None = None
    encoding: str | None = None
    missing_words: bool | None = None
    task: str | None = None
    loss: str | None = None
    weight: str | None = None
    class_weights: str | None = None
    space: str | None = None
    method: str | None = None
    replicates: int | None = None
    group: str | None = None
    stop_on: str | None = None
    max_epochs: int | None = None
    patience: int | None = None
    sampler: str | None = None
    seed: int | None = None
    racing: bool | None = None
    pruner: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedStudy:
    """A spec with its search space loaded."""

    spec: StudySpec
    space: SearchSpace


def resolve(
    options: StudyOptions,
    stored: StudySpec | None = None,
    *,
    frame_sha256: str | None = None,
    has_copy: bool = False,
) -> ResolvedStudy:
    """The spec that the options ask for. Where the database `has_copy` of the stored data, its file may be gone.

    Raises StudyError where it differs from the stored one (naming the differences) or is incomplete;
    DataError and SpaceError where the file or the space cannot be used.
    """
    check_study_name(options.name)
    given = _given(options)
    if stored is None:
        given = {**_definition(options), **given}
    reference = given.get("space") or (stored.space.reference if stored else DEFAULT_SPACE)
    space = load_space(reference)
    space_spec = SpaceSpec(reference=reference, description=space.describe())
    spec = _spec(given, stored, space_spec, _data_spec(given, stored, frame_sha256, has_copy))
    return ResolvedStudy(spec=spec, space=space)


def reopen(spec: StudySpec) -> ResolvedStudy:
    """A stored study, to work on it as it is.

    Raises SpaceError where its search space cannot be imported here, StudyError where it is another one here.
    """
    reference = spec.space.reference
    space = load_space(reference)
    if changes := changed_dimensions(spec.space.description, space.describe()):
        raise StudyError(
            f"a study needs the search space that it was made with, {reference!r} differs here from that of "
            f"{spec.name!r}: {'; '.join(changes)}; install the version of it that the study was made with"
        )
    return ResolvedStudy(spec=spec, space=space)


def refuse_changes(options: StudyOptions, stored: StudySpec, *, frame_sha256: str | None = None) -> None:
    """Raise StudyError where the options differ from the stored spec.

    What they do not name is not looked at: the data file and the space's module may be gone.
    """
    given = _given(options)
    space, data = stored.space, stored.data
    if "space" in given:
        space = SpaceSpec(reference=given["space"], description=load_space(given["space"]).describe())
    if "data" in given or frame_sha256 is not None:
        data = _data_spec(given, stored, frame_sha256)
    else:
        data = _as_given(data, given)
    _spec(given, stored, space, data)


def _given(options: StudyOptions) -> dict[str, Any]:
    return {key: value for key, value in asdict(options).items() if value is not None}


def _spec(given: dict[str, Any], stored: StudySpec | None, space: SpaceSpec, data: DataSpec) -> StudySpec:
    try:
        spec = StudySpec(
            name=given["name"],
            data=data,
            space=space,
            evaluation=_changed(stored.evaluation if stored else EvaluationSpec(), given, _EVALUATION),
            search=_changed(stored.search if stored else SearchSpec(), given, _SEARCH),
        )
    except ValidationError as error:
        raise StudyError(_first_problem(error)) from None
    if stored is not None:
        _refuse_differences(stored, spec)
    return spec


def special_settings(options: StudyOptions) -> dict[str, Any]:
    """How a file is read, trials are judged and points searched: what is given and not the default, but replicates
    and seed."""
    given = _as_given(DataSpec(kind="file", source="", target=""), _given(options))
    default = EvaluationSpec().model_dump() | SearchSpec().model_dump()
    others = {name: getattr(options, name) for name in (*_EVALUATION, *_SEARCH) if name not in ("replicates", "seed")}
    return {
        **given.model_dump(include=set(_CSV), exclude_defaults=True),
        **{name: value for name, value in others.items() if value not in (None, default[name])},
    }


def definition_names() -> list[str]:
    """Names of the built-in studies."""
    folder = files("hpo.study") / "definitions"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _definition(options: StudyOptions) -> dict[str, Any]:
    """Settings of the built-in study of that name, where the user named no data of his own."""
    if options.data is not None or options.name not in definition_names():
        return {}
    text = (files("hpo.study") / "definitions" / f"{options.name}.toml").read_text("utf-8")
    return tomllib.loads(text)


def _data_spec(
    given: dict[str, Any], stored: StudySpec | None, frame_sha256: str | None, has_copy: bool = False
) -> DataSpec:
    """The data that is asked for; a file is read for its hash, unless there is a copy and the file is gone."""
    old = stored.data if stored else None
    target = given.get("target") or (old.target if old else None)
    if frame_sha256 is not None:
        return _as_given(DataSpec(kind="frame", source="frame", target=target or "target", sha256=frame_sha256), given)
    if "data" not in given:
        if old is None:
            raise StudyError(
                f"a new study needs data: no study or built-in study is named {given['name']!r} "
                f"(built-in: {', '.join(definition_names())}); give --data FILE --target COLUMN"
            )
        is_read = old.kind == "file" and not (has_copy and not Path(old.source).exists())
        now = {"sha256": file_sha256(Path(old.source))} if is_read else {}
        return _as_given(old.model_copy(update=now), given)
    source = given["data"]
    if is_synthetic(source):
        synthetic_seconds(source)
        return DataSpec(kind="synthetic", source=source, target=target or "loss")
    if source in BUILTIN_NAMES and not Path(source).exists():
        return _as_given(DataSpec(kind="builtin", source=source, target=target or "target"), given)
    if target is None:
        raise StudyError(f"a target column is needed for {source}; give --target COLUMN")
    reading = old.model_dump(include=set(_CSV)) if old is not None and old.kind == "file" else {}
    file = DataSpec(kind="file", source=source, target=target, sha256=file_sha256(Path(source)), **reading)
    return _as_given(file, given)


def _as_given(data: DataSpec, given: dict[str, Any]) -> DataSpec:
    """`data` with the target, encoding and missing words that are given; the latter two are for files."""
    changes = {name: given[name] for name in ("target", *_CSV) if name in given}
    if "encoding" in changes:
        changes["encoding"] = _encoding(changes["encoding"])
    changed = data.model_copy(update=changes)
    if changed.kind != "file" and any(getattr(changed, name) != DataSpec.model_fields[name].default for name in _CSV):
        raise StudyError(
            f"an encoding and missing words are for CSV files, got them for {changed.source}; leave the options away"
        )
    return changed


def _encoding(name: str) -> str:
    """The name under which Python knows the encoding."""
    try:
        "a".encode(name)  # looks the name up, and refuses codecs that are not of text
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise StudyError(
            f"an encoding must be one that Python knows, such as utf-8, utf-16, cp1252 or latin-1, got {name!r}; "
            f"use the one that the file was saved in"
        ) from None


def _changed(base: SpecT, given: dict[str, Any], names: tuple[str, ...]) -> SpecT:
    changes = {name: given[name] for name in names if name in given}
    return type(base).model_validate({**base.model_dump(), **changes})


def _refuse_differences(stored: StudySpec, spec: StudySpec) -> None:
    same_space = stored.space.reference == spec.space.reference
    dimensions = changed_dimensions(stored.space.description, spec.space.description) if same_space else []
    same_content = stored.data.sha256 == spec.data.sha256 and stored.data.kind == spec.data.kind == "file"
    lines = [
        line
        for line in differences(stored, spec)
        if not line.startswith("space.description") and not (same_content and line.startswith("data.source"))
    ]
    if lines or dimensions:
        changes = "; ".join([*lines, *(f"search space: {line}" for line in dimensions)])
        raise StudyError(
            f"study {spec.name!r} is stored with other settings, and they cannot change: {changes}; "
            f"resume it without these options, or choose another name with --study"
        )


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    setting = ".".join(str(part) for part in problem["loc"])
    return f"{setting.replace('_', '-')}: {problem['msg'].lower()}, got {problem['input']!r}; change the option"
