"""What the losses are called, in which units they are, and what they are compared with."""

from dataclasses import dataclass

from hpo.study.facts import Facts
from hpo.words import count_text, loss_text, significant


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """A loss as people read it.

    Attributes:
        name: as in the study's facts.
        unit: what it is measured in.
        baseline: what the best prediction knows that is the same for all rows.
        has_zero: whether 0 is a perfect prediction, so that shares of a loss mean something.
    """

    name: str
    unit: str
    baseline: str
    has_zero: bool = True

    @property
    def title(self) -> str:
        """`log loss (nats)`."""
        return f"{self.name} ({self.unit})"

    def compared(self, value: float, prior: float) -> str:
        """By how much `value` is below the baseline's: `95% lower`, `0.8312 lower`; empty where it is not."""
        if value >= prior:
            return ""
        return f"{1 - value / prior:.0%} lower" if self.has_zero else f"{loss_text(prior - value)} lower"


_LOSSES = {
    loss.name: loss
    for loss in (
        Loss(name="log loss", unit="nats", baseline="class frequencies"),
        Loss(name="mean squared error", unit="target variances", baseline="the mean"),
        Loss(name="Gaussian NLL", unit="nats", baseline="mean and variance", has_zero=False),
    )
}


def loss_named(name: str) -> Loss:
    """The loss of this name for people."""
    return _LOSSES[name]


def loss_of(facts: Facts) -> Loss:
    """The loss that a study's trials are judged by."""
    return loss_named(facts.loss_name)


def data_text(facts: Facts) -> list[str]:
    """What is known of the table: `1,797 rows`, `64 features`, `10 classes`; nothing where there is none."""
    rows = [] if facts.rows is None else [count_text(facts.rows, "row")]
    features = [] if facts.features is None else [count_text(facts.features, "feature")]
    target = target_text(facts)
    return [*rows, *features, *([target] if target else [])]


def target_text(facts: Facts) -> str:
    """What is predicted: `7 classes`, `3 labels`, `a quantity`; empty where it is not known."""
    if facts.task == "regression":
        return "a quantity"
    count = len(facts.classes)
    if facts.task == "multilabel":
        return count_text(count, "label")
    return f"{count} classes" if count else ""


def error_text(facts: Facts, value: float) -> str:
    """A mean squared error in the target's own units: `0.7012 root mean squared, …`; empty for other losses."""
    if loss_of(facts).name != "mean squared error" or facts.target_deviation is None:
        return ""
    root = significant(value**0.5 * facts.target_deviation, digits=4)
    return f"{root:,.10g} root mean squared, in the target's own units"
