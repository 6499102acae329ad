"""What a study predicts, and its error in the target's own units."""

from hpo.losses import loss_of
from hpo.study.facts import Facts, kinds_text
from hpo.words import count_text, counts_text


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


def table_lines(facts: Facts) -> list[str]:
    """What was understood of the table, in short: rows, classes with their rows, columns by kind, and inputs."""
    if facts.rows is None:
        return []
    lines = [f"table: {', '.join(data_text(facts))}"]
    if facts.classes:
        title = "labels" if facts.task == "multilabel" else "classes"
        lines.append(f"{title}: {counts_text(dict(zip(facts.classes, facts.class_counts, strict=False)), facts.rows)}")
    return [*lines, *([f"columns: {kinds_text(facts.columns)}"] if facts.columns else [])]


def error_text(facts: Facts, value: float) -> str:
    """A mean squared error in the target's own units: `0.7012 root mean squared, …`; empty for other losses."""
    deviation = facts.target_deviation
    return "" if deviation is None else loss_of(facts).in_target_units(value, deviation)
