"""The command `hpo`."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hpo.cli.data import app as data
from hpo.cli.database import app as database
from hpo.cli.delete import delete
from hpo.cli.errors import CommandLine, exit_code
from hpo.cli.init import init
from hpo.cli.read import best, list_, status, trials
from hpo.cli.replay import replay
from hpo.cli.retry import retry
from hpo.cli.run import run
from hpo.cli.show import plot, report
from hpo.cli.streams import open_streams
from hpo.cli.worker import worker, workers
from hpo.usercode import end_despite_threads
from hpo.worker.signals import stop_on_signals

app = typer.Typer(
    name="hpo",
    help="Tune Keras MLPs on tables: Bayesian search, judged on bootstrap replicates.",
    epilog="Begin with: hpo run --study mlp. "
    "Exit codes: 0 done, 1 no result, 2 unusable input, 3 this machine cannot train, 130 interrupted.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run)
app.command("init")(init)
app.command("status")(status)
app.command("list")(list_)
app.command("best")(best)
app.command("trials")(trials)
app.command("report")(report)
app.command("plot")(plot)
app.command("replay")(replay)
app.command("worker")(worker)
app.command("workers")(workers)
app.command("retry")(retry)
app.command("delete")(delete)
app.add_typer(data, name="data")
app.add_typer(database, name="db")


def _show_version(wanted: bool) -> None:
    if wanted:
        import hpo

        typer.echo(hpo.__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `arguments` default to those of the process."""
    open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    face = CommandLine()
    with stop_on_signals(interrupts=True):
        code = exit_code(lambda: app(given, prog_name="hpo", standalone_mode=False, obj=face), face)
    if arguments is None:
        end_despite_threads(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
