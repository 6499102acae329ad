"""From exceptions to what a shell sees: an error line and an exit code; no traceback for bad input."""

import shlex
import sys
from collections.abc import Callable

import typer

from hpo.cli.streams import OutputError, forget
from hpo.errors import InputError
from hpo.words import printable

NO_RESULT = 1
BAD_INPUT = 2
INTERRUPTED = 130


class CommandLine:
    """Messages in the words of the command line: settings as options, actions as commands."""

    def setting(self, name: str, value: object) -> str:
        """`--trials 50`; of a switch `--racing` or `--no-racing`."""
        words = name.replace("_", "-")
        match value:
            case None | True:
                return f"--{words}"
            case False:
                return f"--no-{words}"
        return f"--{words} {_quoted(str(value))}"

    def action(self, name: str, study: str | None) -> str:
        """`hpo status --study churn`."""
        command = "hpo db upgrade" if name == "upgrade" else f"hpo {name}"
        return f"{command} --study {_quoted(study)}" if study else command


def _quoted(text: str) -> str:
    """As a shell takes it, on one line."""
    return shlex.quote(printable(text))


def exit_code(command: Callable[[], int | None]) -> int:
    """Run `command` and return the exit code for how it ended; unexpected exceptions pass through."""
    try:
        code = command() or 0
        sys.stdout.flush()
    except InputError as error:
        complain(error.text(CommandLine()))
        return BAD_INPUT
    except typer.TyperException as error:
        complain(f"{_usage(error)}; see {_help_of(error)}")
        return error.exit_code
    except typer.Abort:
        complain("nothing was answered, so nothing was done")
        return NO_RESULT
    except KeyboardInterrupt:
        tell("\ninterrupted")
        return INTERRUPTED
    except OutputError as error:
        forget(sys.stdout)
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, BrokenPipeError):
            # Of a pipe whoever read it has seen enough.
            complain(f"the output could not be written: {error.__cause__.strerror}; send it elsewhere")
        return NO_RESULT
    return code


def complain(message: str) -> None:
    """Write `error: message` to standard error, with control characters escaped."""
    lines = [printable(line) for line in message.split("\n")]
    tell("error: " + "\n".join(lines))


def tell(message: str) -> None:
    """Write a line to standard error, where it takes one."""
    try:
        typer.echo(message, err=True)
    except OSError:
        forget(sys.stderr)


def _usage(error: typer.TyperException) -> str:
    return " ".join(error.format_message().split()).replace("Value error, ", "").rstrip(".")


def _help_of(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'hpo'} --help"
