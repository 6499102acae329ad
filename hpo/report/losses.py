"""What a study predicts, and its error in the target's own units."""

from collections.abc import Mapping
from typing import Any

from hpo.losses import loss_of
from hpo.words import count_text


def target_text(facts: Mapping[str, Any]) -> str:
    """What is predicted: `7 classes`, `3 labels`, `a quantity`."""
    if facts.get("task") == "regression":
        return "a quantity"
    count = len(facts.get("classes", ()))
    return count_text(count, "label") if facts.get("task") == "multilabel" else f"{count} classes"


def error_text(facts: Mapping[str, Any], value: float) -> str:
    """A mean squared error in the target's own units: `0.7012 root mean squared, …`; empty for other losses."""
    deviation = facts.get("target_deviation")
    return "" if deviation is None else loss_of(facts).in_target_units(value, deviation)
