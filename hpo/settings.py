"""Every setting, said once: name, type, default, unit, help and group are those of a field below.

The command line's options, the keywords of `hpo.tune`, and whatever else takes settings, derive from `SETTINGS`. A
setting that is not given has the stored study's value, or else its default. To add one, add a field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from hpo.declaration import About, Duration, Group, Pairs, Setting, Settings, column_kind, encoding_name, settings_of
from hpo.errors import StudyError, use

DEFAULT_TRIALS = 50
MOST_TRIALS = 2**31 - 1
"""Numbers of trials are 32-bit integers in the database."""
MOST_AT_ONCE = 1000
"""Processes of one machine, and networks that one of them trains together."""
DRAIN_SECONDS = 30.0
MOST_SLEEP = 1e6

TaskChoice = Literal["auto", "classification", "multilabel", "regression"]
LossChoice = Literal["auto", "log_loss", "squared_error", "gaussian"]
BackendChoice = Literal["auto", "tensorflow", "jax"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Settings):
    """What trains here, as far as a person says it."""

    trainers: Annotated[
        int | None,
        About(
            help="Trainer processes.",
            group=Group.RUN,
            least=1,
            most=MOST_AT_ONCE,
            otherwise="one per core, or one on a GPU",
        ),
    ] = None
    population: Annotated[
        int | None,
        About(
            help="Trials a trainer trains at once, without a race.",
            group=Group.RUN,
            least=1,
            most=MOST_AT_ONCE,
            otherwise="1; on a GPU a fifth of the budget, at most 64",
        ),
    ] = None
    backend: Annotated[
        BackendChoice | None,
        About(help="What trains.", group=Group.RUN, otherwise="auto, the faster one that is installed"),
    ] = None
    device: Annotated[
        str | None,
        About(help="cpu, or the number of a GPU.", group=Group.RUN, example="DEVICE", otherwise="what is there"),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Work(Settings):
    """How a study is worked on; none of it is fixed."""

    trials: Annotated[
        int | None,
        About(
            help="Budget of trials; a higher one extends a study.",
            group=Group.RUN,
            least=1,
            most=MOST_TRIALS,
            otherwise=str(DEFAULT_TRIALS),
        ),
    ] = None
    workers: Annotated[
        int,
        About(
            help="0: train nothing here, but watch what others do. With an executor: how many to start.",
            group=Group.RUN,
            least=0,
        ),
    ] = 1
    executor: Annotated[
        Literal["ray"] | None,
        About(help="ray: start the workers on a Ray cluster.", group=Group.RUN, otherwise="this machine works"),
    ] = None
    time_limit: Annotated[
        Duration | None,
        About(help="Of the study, from its first trial on.", group=Group.LIMITS, example="TIME", otherwise="none"),
    ] = None
    trainer_seconds: Annotated[
        Duration | None,
        About(help="Of all trials, added up over trainers.", group=Group.LIMITS, example="TIME", otherwise="none"),
    ] = None
    trial_timeout: Annotated[
        Duration | None,
        About(help="Of one trial, which fails then.", group=Group.LIMITS, example="TIME", otherwise="none"),
    ] = None
    store_data: Annotated[
        bool,
        About(help="Put the data into the database, so that workers need no path to it.", group=Group.DATA),
    ] = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice(Settings):
    """What is tuned: an objective, on which data if it has any, over which space."""

    objective: Annotated[
        str,
        About(
            help="What is minimized: mlp, synthetic, or package.module:NAME.",
            group=Group.SEARCH,
            example="NAME",
            rule="a name, or package.module:NAME, which every worker can import",
        ),
    ] = "mlp"
    data: Annotated[
        str | None,
        About(
            help="A table: CSV, Parquet, Feather, JSON, Excel or NumPy, also compressed; a built-in set; - for "
            "standard input; or sql:SELECT ...",
            group=Group.DATA,
            example="FILE",
        ),
    ] = None
    data_url: Annotated[
        str | None,
        About(
            help="Database that answers sql:SELECT ...; it is not stored.",
            group=Group.DATA,
            example="URL",
            otherwise="the variable HPO_DATA_URL",
        ),
    ] = None
    target: Annotated[
        str | None,
        About(
            help="The column to predict: classes or a quantity; or labels, with commas between.",
            group=Group.DATA,
            example="COLUMN",
            several=True,
        ),
    ] = None
    space: Annotated[
        str,
        About(
            help="Search space: a name, or package.module:NAME.",
            group=Group.SEARCH,
            example="NAME",
            rule="a name, or package.module:NAME, which every worker can import",
        ),
    ] = "mlp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Settings):
    """How a CSV file is read, and whether a table has a header."""

    encoding: Annotated[
        str, About(help="Of a CSV file.", group=Group.DATA, example="NAME", canonical=encoding_name)
    ] = "utf-8"
    missing_words: Annotated[
        bool,
        About(help="Whether NA, null, None and the like in a CSV file are missing values.", group=Group.DATA),
    ] = True
    header: Annotated[
        bool | None,
        About(
            help="Whether the first row names the columns. Without names they are column_1, column_2 and so on.",
            group=Group.DATA,
            otherwise="yes, unless it looks like values",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Corrections(Settings):
    """What a person knows better about a table's columns than their values tell."""

    kind: Annotated[
        Pairs,
        About(
            help="What a column is: number, category, ordered, boolean, date or text. May be repeated.",
            group=Group.DATA,
            example="COLUMN=KIND",
            pair=column_kind,
            rule="a kind for each column, such as zip=category or when=date:%d.%m.%Y, and one for each",
        ),
    ] = ()
    drop: Annotated[
        str | None,
        About(help="Columns to leave out, with commas between.", group=Group.DATA, example="COLUMN", several=True),
    ] = None
    missing: Annotated[
        str | None,
        About(
            help="Further words for missing values, with commas between.",
            group=Group.DATA,
            example="WORDS",
            several=True,
            rule="a word, or a list of several",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSpec(Settings):
    """How a trial is judged: what is predicted with which loss and weights, resamples, and the training protocol."""

    task: Annotated[TaskChoice, About(help="What the target is; auto tells by its values.", group=Group.JUDGE)] = "auto"
    loss: Annotated[LossChoice, About(help="auto is the first that goes with the task.", group=Group.JUDGE)] = "auto"
    weight: Annotated[
        str | None,
        About(help="How much a row counts, in all parts.", group=Group.DATA, example="COLUMN"),
    ] = None
    class_weights: Annotated[
        Literal["none", "balanced"],
        About(help="'balanced': rare classes weigh as much as frequent ones in training.", group=Group.JUDGE),
    ] = "none"
    scaling: Annotated[
        Literal["search", "standard", "robust", "quantile"],
        About(
            help="How numbers are scaled; search tries each, as one more dimension of the space.",
            group=Group.JUDGE,
        ),
    ] = "search"
    method: Annotated[
        Literal["bootstrap", "shuffle", "kfold", "holdout", "forward"],
        About(help="Resampling; forward where a column says the time.", group=Group.JUDGE),
    ] = "bootstrap"
    replicates: Annotated[int, About(help="Resamples per trial.", group=Group.JUDGE, least=1, most=100)] = 5
    group: Annotated[
        str | None,
        About(help="Rows that share a value stay together.", group=Group.DATA, example="COLUMN"),
    ] = None
    time: Annotated[
        str | None,
        About(help="Train on earlier rows, score later ones: dates or numbers.", group=Group.DATA, example="COLUMN"),
    ] = None
    stop_fraction: Annotated[
        float,
        About(help="Share of the rows that early stopping looks at.", group=Group.JUDGE, above=0.0, below=0.5),
    ] = 0.1
    score_fraction: Annotated[
        float,
        About(
            help="Share of the rows that shuffle, holdout and forward score.", group=Group.JUDGE, above=0.0, below=0.9
        ),
    ] = 0.2
    stop_on: Annotated[
        Literal["stop", "score"],
        About(help="Rows for early stopping; 'score' makes the estimate optimistic.", group=Group.JUDGE),
    ] = "stop"
    max_epochs: Annotated[
        int, About(help="Longest training of a replicate.", group=Group.JUDGE, unit="epochs", least=1)
    ] = 200
    patience: Annotated[
        int,
        About(help="How long training goes on without improvement.", group=Group.JUDGE, unit="epochs", least=1),
    ] = 10
    min_delta: Annotated[
        float,
        About(help="How much less loss is an improvement.", group=Group.JUDGE, least=0.0),
    ] = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpec(Settings):
    """How points are proposed and which trials are cut short."""

    sampler: Annotated[Literal["tpe", "random"], About(help="What proposes points.", group=Group.SEARCH)] = "tpe"
    seed: Annotated[int, About(help="Of all randomness.", group=Group.SEARCH, least=0, below=2**32)] = 0
    racing: Annotated[bool, About(help="Drop trials that lose on few replicates.", group=Group.SEARCH)] = True
    pruner: Annotated[
        Literal["curve", "halving", "hyperband", "none"],
        About(help="What ends a trial by its curve.", group=Group.SEARCH),
    ] = "curve"

    @property
    def compares_curves(self) -> bool:
        """Whether trials are pruned by the curves of others, which must be known then."""
        return self.pruner in ("halving", "hyperband")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretence(Settings):
    """What the synthetic objective has of its own."""

    sleep: Annotated[
        float,
        About(
            help="How long a trial of the synthetic objective takes.",
            group=Group.SEARCH,
            unit="seconds",
            least=0.0,
            most=MOST_SLEEP,
            listed=False,
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms(Settings):
    """Until when a worker serves; settings of a worker, not of a study."""

    drain_seconds: Annotated[
        float,
        About(help="How long trials may go on once a stop is asked for.", group=Group.RUN, unit="seconds", least=0.0),
    ] = DRAIN_SECONDS
    once: Annotated[
        bool,
        About(help="End when the study is finished, or all are, instead of waiting for new ones.", group=Group.RUN),
    ] = False
    max_trials: Annotated[
        int | None, About(help="End after so many trials.", group=Group.RUN, least=1, otherwise="never")
    ] = None


GROUPS: tuple[type[Settings], ...] = (
    Work,
    Training,
    Choice,
    Reading,
    Corrections,
    EvaluationSpec,
    SearchSpec,
    Pretence,
)
SETTINGS: dict[str, Setting] = {setting.name: setting for group in GROUPS for setting in settings_of(group)}
"""By name."""


def asked(given: Mapping[str, object]) -> dict[str, Any]:
    """What is given, checked, without what is None; StudyError for a setting that there is not."""
    for name in given:
        if name not in SETTINGS:
            close = get_close_matches(name, SETTINGS, n=1)
            remedy = f"did you mean {use(close[0])}?" if close else f"there are {', '.join(SETTINGS)}"
            raise StudyError(f"a setting must be one that hpo has, got {name!r}; {remedy}", setting=name)
    return {name: SETTINGS[name].checked(value) for name, value in given.items() if value is not None}
