"""A stored study in words for people and in plain values for JSON."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hpo_storage.records import TrialState

from hpo.cli.errors import CommandLine
from hpo.errors import written
from hpo.losses import loss_of
from hpo.report.table_text import data_text, error_text
from hpo.study import standing
from hpo.study.facts import Facts, TrialInfo
from hpo.words import count_text, duration_text, ended_text, limit_text, loss_text, value_text

if TYPE_CHECKING:
    from hpo_storage.records import StudyOverview, StudyRecord, StudySummary, TrialRecord

    from hpo.objectives.base import Part
    from hpo.study.standing import Standing


def parameters(trial: "TrialRecord") -> dict[str, str]:
    """Parameters with readable names and values: {"learning rate": "0.0034", "batch size": "32"}."""
    texts = {}
    for name, value in trial.params.items():
        if name == "batch_exponent":
            texts["batch size"] = str(2**value)
        else:
            texts[name.replace("_", " ")] = value_text(value)
    return texts


def parameters_text(trial: "TrialRecord") -> str:
    """`dropout 0.12, learning rate 0.0034, ...`."""
    return ", ".join(f"{name} {value}" for name, value in parameters(trial).items())


def widths_text(trial: "TrialRecord") -> str:
    """Units of the hidden layers: `250-150-90`."""
    return "-".join(str(width) for width in TrialInfo.from_json(trial.info).widths)


def network_text(trial: "TrialRecord") -> str:
    """`250-150-90 units, 70,000 weights`; empty where there is no network."""
    info, widths = TrialInfo.from_json(trial.info), widths_text(trial)
    parts = [f"{widths} units"] if widths else []
    return ", ".join([*parts, *([] if info.parameters is None else [f"{info.parameters:,} weights"])])


def winner_text(trial: "TrialRecord") -> str:
    """`0.0823 ± 0.0051 over 5 replicates (trial 17)`."""
    over = f" over {count_text(len(trial.replicates), 'replicate')}" if trial.replicates else ""
    return f"{loss_text(trial.value, trial.standard_error)}{over} (trial {trial.number})"


def prior_text(study: "Standing") -> str:
    """The loss of the best guess that is the same for all rows, beside the winner's."""
    facts, best = Facts.from_json(study.facts), standing.winner(study)
    loss, prior = loss_of(facts), facts.prior_loss
    if prior is None:
        return ""
    text = f"{loss_text(prior)} from {loss.baseline} alone"
    if best is None or best.value is None:
        return text
    lower = loss.compared(best.value, prior)
    return f"{text}: the winner's is {lower}" if lower else f"{text}: the winner is no better"


def winner_fields(study: "Standing", trial: "TrialRecord") -> dict[str, str]:
    """The winner for people, as far as there is something to say."""
    facts = Facts.from_json(study.facts)
    fields = {
        facts.loss_name: winner_text(trial),
        "compare": prior_text(study),
        "error": "" if trial.value is None else error_text(facts, trial.value),
        "network": network_text(trial),
        "parameters": parameters_text(trial),
    }
    return {name: text for name, text in fields.items() if text}


def trials_text(study: "Standing") -> str:
    """`16 of 50: 12 complete, 3 raced out, 1 pruned, 0 failed`."""
    return f"{study.finished} of {study.budget}: {ended_text(standing.counts(study).items())}"


def limits_text(study: "Standing") -> str:
    """`wall time 2 h 00 min (used up), one trial 10 min 00 s`; empty where there are none."""
    limits = {
        "wall time": study.limits.wall_seconds,
        "trainer seconds": study.limits.trainer_seconds,
        "one trial": study.limits.trial_seconds,
    }
    return ", ".join(
        f"{name} {limit_text(seconds)}{' (used up)' if name == study.limit_reached else ''}"
        for name, seconds in limits.items()
        if seconds is not None
    )


def training_text(study: "Standing", in_replicates: float) -> str:
    """`2 min 10 s in replicates, 2 min 15 s in attempts, which the limit of trainer seconds counts`."""
    text = (
        f"{duration_text(in_replicates)} in replicates, {duration_text(standing.attempts_seconds(study))} in attempts"
    )
    return text if study.limits.trainer_seconds is None else f"{text}, which the limit of trainer seconds counts"


def time_text(moment: datetime) -> str:
    """Local time to the minute."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def status_fields(
    study: "StudyOverview", trainer_seconds: float, waiting: standing.Waiting | None = None, url: str | None = None
) -> dict[str, str]:
    """A study's state for people; `url` is of its database."""
    from hpo.objectives.registry import described, parts_of

    spec, facts, best = study.spec, Facts.from_json(study.facts), standing.winner(study)
    objective, table = described(spec), ", ".join(data_text(facts))
    parts = parts_of(spec, [best] if best else [])
    fields = {
        "study": study.name,
        "state": standing.study_state(study),
        "waiting": written(waiting.text, CommandLine(url)) if waiting else "",
        "trials": trials_text(study),
        "now running": ", ".join(f"trial {number}" for number in standing.running(study)),
        facts.loss_name: winner_text(best) if best else standing.why_no_winner(study),
        "compare": prior_text(study),
        "failures": "; ".join(f"{count} × {reason}" for reason, count in standing.failure_reasons(study)),
        "objective": "" if objective.source else objective.title,
        "data": f"{objective.source}, target {objective.target}: {table}" if objective.source else "",
        "notes": written("; ".join(facts.notes), CommandLine(url)),
        "space": spec["space"]["reference"],
        "evaluation": objective.summary,
        "search": _search_text(spec["search"], parts),
        "limits": limits_text(study),
        "training": training_text(study, trainer_seconds) if "replicates" in parts else "",
        "created": time_text(study.created),
    }
    return {name: text for name, text in fields.items() if text}


def _search_text(stored: dict[str, Any], parts: "frozenset[Part]") -> str:
    """What proposes trials and what cuts them short, also of a study of the past."""
    from hpo.settings import SearchSpec

    search = SearchSpec(**stored)
    if "races" not in parts:
        return f"{search.sampler}, seed {search.seed}"
    racing = "racing" if search.racing else "no racing"
    pruning = "no pruning" if search.pruner == "none" else f"pruner {search.pruner}"
    return f"{search.sampler}, seed {search.seed}, {racing}, {pruning}"


def summary_json(study: "Standing") -> dict[str, Any]:
    """A study without its trials."""
    facts = Facts.from_json(study.facts)
    return {
        "study": study.name,
        "state": standing.study_state(study),
        "budget": study.budget,
        "finished": study.finished,
        **{name.replace(" ", "_"): count for name, count in standing.counts(study).items()},
        "loss": facts.loss_name,
        "prior_loss": facts.prior_loss,
        "best": best_json(study),
        "failures": dict(standing.failure_reasons(study)),
        "created": study.created,
    }


def status_json(study: "Standing", waiting: standing.Waiting | None, url: str | None = None) -> dict[str, Any]:
    """A study with its spec and what is known of its data, without its trials."""
    about = {"limits": asdict(study.limits), "limit_reached": study.limit_reached, "data_stored": bool(study.dataset)}
    why = {"cause": waiting.cause, "text": written(waiting.text, CommandLine(url))} if waiting else None
    about |= {"waiting": why}
    return {**summary_json(study), **about, "spec": study.spec, "facts": study.facts, "environment": study.environment}


def best_json(study: "Standing") -> dict[str, Any] | None:
    """The winner; None where no trial has all its replicates."""
    trial = standing.winner(study)
    if trial is None:
        return None
    return {
        "trial": trial.number,
        "loss": Facts.from_json(study.facts).loss_name,
        "value": trial.value,
        "standard_error": trial.standard_error,
        "params": trial.params,
        "network": trial.info,
        "replicates": [
            {
                "replicate": replicate.index,
                "score_loss": replicate.score_loss,
                "stop_loss": replicate.stop_loss,
                "best_epoch": replicate.best_epoch,
                "epochs": len(replicate.curve),
                "seconds": replicate.seconds,
            }
            for replicate in trial.replicates
        ],
    }


def trial_json(study: "StudyRecord", trial: "TrialRecord") -> dict[str, Any]:
    """One trial, without its curves."""
    return {
        "trial": trial.number,
        "slot": trial.slot,
        "attempt": trial.attempt,
        "state": standing.trial_state(study, trial),
        "raced_out": trial.state == TrialState.RACED_OUT,
        "value": trial.value,
        "standard_error": trial.standard_error,
        "replicates": len(trial.replicates),
        "seconds": trial.seconds,
        "started": trial.started,
        "finished": trial.finished,
        "reason": trial.reason,
        "network": trial.info,
        "params": trial.params,
    }


def list_json(study: "StudySummary") -> dict[str, Any]:
    """One line of the list of studies."""
    return {
        "study": study.name,
        "state": standing.study_state(study),
        "budget": study.budget,
        "finished": study.finished,
        "best_value": study.best_value,
        "created": study.created,
    }
