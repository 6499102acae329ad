"""Losses, one class each: what people read of it, what networks put out for it, and its value for each row.

The command line reads names and units only, so numpy is loaded where a loss is computed.

Targets and outputs are as the head has them: class numbers (rows,) and logits (rows, classes) for softmax, 0 or 1 and
logits (rows, labels) for sigmoid, standardized numbers (rows, 1) for squared and gaussian, whose outputs are a mean,
and for gaussian the logarithm of a variance beside it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from hpo.study.facts import Facts
from hpo.words import loss_text, significant

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Task = Literal["classification", "multilabel", "regression"]
RowLosses = Callable[["npt.NDArray[Any]", "Floats"], "Floats"]
"""(targets, outputs in float64) -> the loss of each row, (rows,)."""


class Head(NamedTuple):
    """What a study's networks put out, by its name, and how many numbers that is."""

    name: str
    outputs: int


def _softmax_losses(labels: "npt.NDArray[Any]", logits: "Floats") -> "Floats":
    """Negative log likelihood of each row's class."""
    import numpy as np

    largest = logits.max(axis=1, keepdims=True)
    normalizer = largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))
    losses: Floats = normalizer - logits[np.arange(len(labels)), labels]
    return losses


def _sigmoid_losses(labels: "npt.NDArray[Any]", logits: "Floats") -> "Floats":
    """Negative log likelihood of each row's labels, mean over labels."""
    import numpy as np

    losses: Floats = (np.logaddexp(0.0, logits) - labels * logits).mean(axis=1)
    return losses


def _squared_losses(numbers: "npt.NDArray[Any]", means: "Floats") -> "Floats":
    """Squared error of each row."""
    losses: Floats = ((means - numbers) ** 2).mean(axis=1)
    return losses


def _gaussian_losses(numbers: "npt.NDArray[Any]", outputs: "Floats") -> "Floats":
    """Negative log likelihood of each row's number."""
    import numpy as np

    mean, log_variance = outputs[:, :1], outputs[:, 1:]
    squares = (numbers - mean) ** 2 * np.exp(-log_variance)
    losses: Floats = 0.5 * (squares + log_variance + math.log(2 * math.pi)).mean(axis=1)
    return losses


class Loss(ABC):
    """A loss that networks are trained with and judged by.

    Attributes:
        key: its name in settings.
        name: its name for people, and in the facts of studies.
        unit: what it is measured in.
        baseline: what the best prediction knows that is the same for all rows.
        has_zero: whether 0 is a perfect prediction, so that shares of a loss mean something.
        of_labels: whether its targets are classes or labels, which can be smoothed.
        tasks: those that it goes with.
        heads: the loss of each row, for each head that networks may have.
    """

    key: ClassVar[str]
    name: ClassVar[str]
    unit: ClassVar[str]
    baseline: ClassVar[str]
    has_zero: ClassVar[bool] = True
    of_labels: ClassVar[bool] = False
    tasks: ClassVar[tuple[Task, ...]]
    heads: ClassVar[Mapping[str, RowLosses]]

    @abstractmethod
    def head(self, task: Task, count: int) -> Head:
        """The head for so many classes or labels, or for one number."""

    @abstractmethod
    def prior(self, shares: "Floats") -> float:
        """The loss of the best prediction that is the same for all rows.

        `shares` are those of the classes, (classes,), or of no and yes for each label, (labels, 2); of numbers none.
        """

    @property
    def title(self) -> str:
        """`log loss (nats)`."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def compared(self, value: float, prior: float) -> str:
        """By how much `value` is below the baseline's: `95% lower`, `0.8312 lower`; empty where it is not."""
        if value >= prior:
            return ""
        return f"{1 - value / prior:.0%} lower" if self.has_zero else f"{loss_text(prior - value)} lower"

    def in_target_units(self, value: float, deviation: float) -> str:
        """The loss in the units of a target with this standard deviation; empty where it has no such form."""
        return ""


class LogLoss(Loss):
    """The negative log likelihood of classes, or the mean of that of labels."""

    key, name, unit, baseline = "log_loss", "log loss", "nats", "class frequencies"
    of_labels = True
    tasks = ("classification", "multilabel")
    heads: ClassVar[Mapping[str, RowLosses]] = {"softmax": _softmax_losses, "sigmoid": _sigmoid_losses}

    def head(self, task: Task, count: int) -> Head:
        """A logit for each class or label; one logit for two classes."""
        if task == "multilabel":
            return Head("sigmoid", count)
        return Head("sigmoid", 1) if count == 2 else Head("softmax", count)

    def prior(self, shares: "Floats") -> float:
        """The entropy of the shares, or the mean of those of the labels."""
        import numpy as np

        return float(-(shares * np.log(shares)).sum(axis=-1).mean())


class SquaredError(Loss):
    """The mean squared error of standardized numbers."""

    key, name, unit, baseline = "squared_error", "mean squared error", "target variances", "the mean"
    tasks = ("regression",)
    heads: ClassVar[Mapping[str, RowLosses]] = {"squared": _squared_losses}

    def head(self, task: Task, count: int) -> Head:
        """The number."""
        return Head("squared", 1)

    def prior(self, shares: "Floats") -> float:
        """The variance, which is the unit."""
        return 1.0

    def in_target_units(self, value: float, deviation: float) -> str:
        """`0.7012 root mean squared, in the target's own units`."""
        root = significant(value**0.5 * deviation, digits=4)
        return f"{root:,.10g} root mean squared, in the target's own units"


class GaussianLoss(Loss):
    """The negative log likelihood of standardized numbers under normal distributions."""

    key, name, unit, baseline = "gaussian", "Gaussian NLL", "nats", "mean and variance"
    has_zero = False
    tasks = ("regression",)
    heads: ClassVar[Mapping[str, RowLosses]] = {"gaussian": _gaussian_losses}

    def head(self, task: Task, count: int) -> Head:
        """The mean and the logarithm of the variance of the number."""
        return Head("gaussian", 2)

    def prior(self, shares: "Floats") -> float:
        """The entropy of the standard normal distribution."""
        return 0.5 * (1 + math.log(2 * math.pi))


class OtherLoss(Loss):
    """What somebody else's objective minimizes: it has a name, and no more is known of it."""

    key, unit, baseline = "", "", "the baseline"
    has_zero = False
    tasks = ()
    heads: ClassVar[Mapping[str, RowLosses]] = {}

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc] # of the class in all others

    def head(self, task: Task, count: int) -> Head:
        """No network of ours is trained with it."""
        raise NotImplementedError(self.name)

    def prior(self, shares: "Floats") -> float:
        """Nobody knows."""
        raise NotImplementedError(self.name)


LOSSES: dict[str, Loss] = {loss.key: loss for loss in (LogLoss(), SquaredError(), GaussianLoss())}
"""By key; the first that goes with a task is the task's default."""
BY_HEAD: dict[str, Loss] = {head: loss for loss in LOSSES.values() for head in loss.heads}
_BY_NAME = {loss.name: loss for loss in LOSSES.values()}


def losses_for(task: Task) -> list[Loss]:
    """The losses that go with a task, the default first."""
    return [loss for loss in LOSSES.values() if task in loss.tasks]


def loss_named(name: str) -> Loss:
    """The loss that people know by this name."""
    return _BY_NAME.get(name) or OtherLoss(name)


def loss_of(facts: Facts) -> Loss:
    """The loss of a study's facts."""
    return loss_named(facts.loss_name)


def mean_loss(
    head: str,
    targets: "npt.NDArray[Any]",
    outputs: "npt.NDArray[Any]",
    row_weights: "npt.NDArray[Any] | None" = None,
) -> float:
    """The mean over rows of the loss of networks with that head, weighted where there are weights (rows,).

    It is computed in float64 and never clipped, and not finite where an output is not.
    """
    import numpy as np

    row_losses = BY_HEAD[head].heads[head]
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.average(row_losses(targets, outputs.astype(np.float64)), weights=row_weights))
