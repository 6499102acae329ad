"""The command replay."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from hpo_storage.urls import database_url

from hpo.cli.errors import NO_RESULT, CommandLine
from hpo.cli.options import AsJson, Storage, StudyName
from hpo.cli.output import Column, to_terminal, write_json, write_lines, write_table, write_text
from hpo.cli.settings import with_settings
from hpo.settings import SETTINGS

if TYPE_CHECKING:
    from hpo.worker.replay import Replay


@with_settings([SETTINGS["backend"]])
def replay(
    study: StudyName,
    trial: Annotated[int, typer.Option("--trial", metavar="NUMBER", help="Its number, as in hpo trials.")],
    storage: Storage = None,
    as_json: AsJson = False,
    **settings: Any,  # noqa: ANN401 - options
) -> int:
    """Train a stored trial again, from its own seeds, and compare its losses.

    Exit code 0 where they are the same up to rounding (a relative difference below 0.0001), else 1.
    """
    from hpo.worker.replay import replay as train_again
    from hpo.worker.views import make_view

    url = database_url(storage)
    view = make_view(sys.stderr, CommandLine(url))
    result = train_again(study, trial, url=url, backend=settings["backend"], view=view)
    if as_json:
        write_json(_plain(result))
    else:
        _show(result)
    return 0 if result.same else NO_RESULT


def _plain(result: "Replay") -> dict[str, object]:
    rows = [
        {
            "replicate": one.replicate,
            "loss": one.loss,
            "stored": one.stored,
            "new": one.new,
            "difference": one.difference,
        }
        for one in result.losses
    ]
    return {
        "trial": result.trial.number,
        "backend": result.backend,
        "same": result.same,
        "difference": result.difference,
        "losses": rows,
    }


def _show(result: "Replay") -> None:
    if not to_terminal():
        rows = [[one.replicate, one.loss, one.stored, one.new, one.difference] for one in result.losses]
        write_lines([["replicate", "loss", "stored", "new", "difference"], *rows])
    else:
        write_table(
            [
                Column(title="replicate", cells=[str(one.replicate) for one in result.losses], right=True),
                Column(title="loss", cells=[one.loss for one in result.losses]),
                Column(title="stored", cells=[f"{one.stored:.6f}" for one in result.losses], right=True),
                Column(title="new", cells=[f"{one.new:.6f}" for one in result.losses], right=True),
                Column(title="difference", cells=[f"{one.difference:.1e}" for one in result.losses], right=True),
            ]
        )
    verdict = "the same up to rounding" if result.same else "not the same"
    write_text(f"trial {result.trial.number} is {verdict}: the largest relative difference is {result.difference:.1e}")
