"""What the losses are called, in which units they are, and what they are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def loss_of(facts: Mapping[str, Any]) -> Loss:
    """The loss of a study's facts; log loss where they name none."""
    return _LOSSES[facts.get("loss_name", "log loss")]


def target_text(facts: Mapping[str, Any]) -> str:
    """What is predicted: `7 classes`, `3 labels`, `a quantity`."""
    if facts.get("task") == "regression":
        return "a quantity"
    count = len(facts.get("classes", ()))
    return count_text(count, "label") if facts.get("task") == "multilabel" else f"{count} classes"


def error_text(facts: Mapping[str, Any], value: float) -> str:
    """A mean squared error in the target's own units: `0.7012 root mean squared, …`; empty for other losses."""
    if loss_of(facts).name != "mean squared error":
        return ""
    root = significant(value**0.5 * facts["target_deviation"], digits=4)
    return f"{root:,.10g} root mean squared, in the target's own units"
