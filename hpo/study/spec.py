"""The immutable description of a study: data, space, evaluation and search. Stored as JSON with the study."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hpo.errors import StudyError

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSpec(_Frozen):
    """Where the rows come from; `sha256` pins their content ("" for a built-in set and the synthetic objective).

    `encoding` and `missing_words` say how a CSV file is read, and keep their defaults for anything else.
    """

    kind: Literal["builtin", "file", "frame", "synthetic"]
    source: str = Field(description="built-in name, path as given, 'frame', or 'synthetic:SECONDS'")
    target: str = Field(description="a column, or several with commas between")
    sha256: str = ""
    encoding: str = Field(default="utf-8", description="as codecs.lookup names it")
    missing_words: bool = Field(default=True, description="whether NA, null, None and the like are read as missing")


class SpaceSpec(_Frozen):
    """The search space: how it was named and what it contained when the study was created."""

    reference: str = "mlp"
    description: dict[str, Any] = Field(description="SearchSpace.describe()")


class EvaluationSpec(_Frozen):
    """How a trial is judged: what is predicted with which loss and weights, resamples, and the training protocol."""

    task: Literal["auto", "classification", "multilabel", "regression"] = "auto"
    loss: Literal["auto", "log_loss", "squared_error", "gaussian"] = "auto"
    weight: str | None = Field(default=None, description="column that says how much a row counts, in all parts")
    class_weights: Literal["none", "balanced"] = Field(default="none", description="in training only")
    method: Literal["bootstrap", "shuffle", "kfold", "holdout"] = "bootstrap"
    replicates: int = Field(default=5, ge=1, le=100)
    group: str | None = Field(default=None, description="column whose values are never split")
    stop_fraction: float = Field(default=0.1, gt=0.0, lt=0.5)
    score_fraction: float = Field(default=0.2, gt=0.0, lt=0.9, description="shuffle and holdout only")
    stop_on: Literal["stop", "score"] = "stop"
    max_epochs: int = Field(default=200, ge=1)
    patience: int = Field(default=10, ge=1, description="epochs without improvement before stopping")
    min_delta: float = Field(default=1e-3, ge=0.0, description="how much less loss is an improvement")


class SearchSpec(_Frozen):
    """How points are proposed and which trials are cut short."""

    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = Field(default=0, ge=0, lt=2**32)
    racing: bool = True
    pruner: Literal["curve", "halving", "hyperband", "none"] = "curve"

    @property
    def compares_curves(self) -> bool:
        """Whether trials are pruned by the curves of others, which must be known then."""
        return self.pruner in ("halving", "hyperband")

    @model_validator(mode="before")
    @classmethod
    def _from_pruning(cls, values: object) -> object:
        """Stored studies of the past have `pruning`, true or false, for what is now `pruner`, curve or none."""
        if not isinstance(values, dict) or "pruning" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "pruning"}
        return {"pruner": "curve" if values["pruning"] else "none", **rest}


class StudySpec(_Frozen):
    """One study; its budget of trials stands beside it in the database, because it can be extended."""

    name: str
    data: DataSpec
    space: SpaceSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    search: SearchSpec = SearchSpec()


def check_study_name(name: str) -> str:
    """Return `name`; raise StudyError where it is not allowed."""
    if not STUDY_NAME.fullmatch(name):
        raise StudyError(
            f"a study name must be 1 to 100 letters, digits, '.', '_' or '-' and start with a letter or digit, "
            f"got {name[:60]!r}; choose another with --study"
        )
    return name


def differences(stored: StudySpec, given: StudySpec) -> list[str]:
    """One line per setting that differs: `evaluation.patience: stored 10, now 5`."""
    return _differences("", stored.model_dump(mode="json"), given.model_dump(mode="json"))


def _differences(prefix: str, stored: dict[str, Any], given: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for key in sorted(stored.keys() | given.keys()):
        old, new = stored.get(key), given.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _differences(f"{prefix}{key}.", old, new)
        elif old != new:
            lines.append(f"{prefix}{key}: stored {old!r}, now {new!r}")
    return lines
