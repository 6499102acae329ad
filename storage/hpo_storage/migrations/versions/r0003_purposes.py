"""Slots have a purpose, a trial has one of six states, and a spec names its objective.

Revision 0003, after 0002.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

EVALUATION_DEFAULTS = {"replicates": 5, "max_epochs": 200}
"""Of the version before, for specs that leave them out."""


def upgrade() -> None:
    _widen_states()
    _convert_states()
    with op.batch_alter_table("hpo_trials") as table:
        table.drop_column("raced_out")
    _purposes()
    _comments_of_replicates()
    _convert_specs()


def downgrade() -> None:
    raise NotImplementedError("slots that are no trials would be lost; restore a copy of the database instead")


def _widen_states() -> None:
    narrow, wide = sa.String(10), sa.String(20)
    with op.batch_alter_table("hpo_trials") as table:
        table.alter_column("state", existing_type=narrow, existing_nullable=False, type_=wide)
        table.alter_column("value", existing_type=sa.Double, existing_comment="nats", comment="the study's loss")
        table.alter_column(
            "standard_error",
            existing_type=sa.Double,
            existing_comment="nats, over replicates",
            comment="the study's loss, over replicates",
        )
    with op.batch_alter_table("hpo_slots") as table:
        table.alter_column(
            "state",
            existing_type=narrow,
            existing_nullable=False,
            type_=wide,
            comment="open, claimed, or as its trial has ended",
        )


def _convert_states() -> None:
    """`raced out` was complete with a flag, `interrupted` was failed with a reason of that name."""
    trials = sa.table("hpo_trials", *map(sa.column, ("id", "state", "raced_out", "reason")))
    slots = sa.table("hpo_slots", *map(sa.column, ("state", "trial_id")))
    complete = trials.c.state == "complete"
    op.execute(trials.update().where(complete, trials.c.raced_out == sa.true()).values(state="raced out"))
    interrupted = sa.and_(trials.c.state == "failed", trials.c.reason == "interrupted")
    op.execute(trials.update().where(interrupted).values(state="interrupted", reason=None))
    raced_out = sa.select(trials.c.id).where(trials.c.state == "raced out")
    of_them = sa.and_(slots.c.state == "complete", slots.c.trial_id.in_(raced_out))
    op.execute(slots.update().where(of_them).values(state="raced out"))


def _purposes() -> None:
    # MySQL needs an index that begins with the study for its reference: the new ones come before the old ones go.
    with op.batch_alter_table("hpo_slots") as table:
        table.add_column(sa.Column("purpose", sa.String(20), nullable=False, server_default="trial"))
        table.alter_column(
            "number",
            existing_type=sa.Integer,
            existing_nullable=False,
            existing_comment="0 to budget - 1",
            comment="from 0, to budget - 1 where its purpose is trial",
        )
        table.create_unique_constraint(op.f("uq_hpo_slots_study_id_purpose_number"), ["study_id", "purpose", "number"])
    op.create_index(
        op.f("ix_hpo_slots_study_id_purpose_state_number"), "hpo_slots", ["study_id", "purpose", "state", "number"]
    )
    with op.batch_alter_table("hpo_slots") as table:
        table.drop_index(op.f("ix_hpo_slots_study_id_state_number"))
        table.drop_constraint(op.f("uq_hpo_slots_study_id_number"), type_="unique")


def _comments_of_replicates() -> None:
    with op.batch_alter_table("hpo_replicates") as table:
        table.alter_column(
            "stop_loss",
            existing_type=sa.Double,
            existing_nullable=False,
            existing_comment="nats",
            comment="the study's loss",
        )
        table.alter_column(
            "score_loss",
            existing_type=sa.Double,
            existing_comment="nats; null where training was cut short",
            comment="the study's loss; null where training was cut short",
        )


def _convert_specs() -> None:
    studies = sa.table("hpo_studies", sa.column("id"), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    for study_id, spec in connection.execute(sa.select(studies)).all():
        connection.execute(studies.update().where(studies.c.id == study_id).values(spec=converted(spec)))


def converted(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with its data and evaluation as the part of its objective; one that has no data stays as it is."""
    if "data" not in spec:
        return spec
    rest = {name: value for name, value in spec.items() if name not in ("data", "evaluation", "search")}
    objective = _objective(spec["data"], spec.get("evaluation", {}))
    search = {"search": _search(spec["search"])} if "search" in spec else {}
    return {**rest, "objective": objective, **search}


def _objective(data: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    if data["kind"] != "synthetic":
        return {"name": "mlp", "part": {"data": data, "evaluation": evaluation}}
    _, _, seconds = data["source"].partition(":")
    settings = {name: evaluation.get(name, default) for name, default in EVALUATION_DEFAULTS.items()}
    return {"name": "synthetic", "part": {"sleep": float(seconds or 0), **settings}}


def _search(search: dict[str, Any]) -> dict[str, Any]:
    """The first version had `pruning`, true or false, in place of `pruner`."""
    if "pruning" not in search:
        return search
    rest = {name: value for name, value in search.items() if name != "pruning"}
    return {"pruner": "curve" if search["pruning"] else "none", **rest}
