"""From exceptions to what a shell sees: an error line and an exit code; no traceback for bad input."""

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

import typer

from hpo.cli.options import with_storage
from hpo.cli.streams import OutputError, forget
from hpo.errors import Face, InputError, StorageError, TrainersError
from hpo.words import printable

NO_RESULT = 1
BAD_INPUT = 2
SICK_HOST = 3
INTERRUPTED = 130
_PASSWORD = re.compile(r"(:/+[^\s/:@]*:)\S*(?=@)|(\bpass\w*=)[^\s&]+", re.IGNORECASE)


@dataclass
class CommandLine:
    """Messages in the words of the command line: settings as options, actions as commands on the same database, which
    is known once the command is parsed."""

    url: str | None = None

    def setting(self, name: str, value: object) -> str:
        """`--trials 50`; of a switch `--racing` or `--no-racing`."""
        words = name.replace("_", "-")
        match value:
            case None | True:
                return f"--{words}"
            case False:
                return f"--no-{words}"
            case dict():
                return " ".join(f"--{words} {_quoted(f'{key}={text}')}" for key, text in value.items())
            case list():
                return " ".join(f"--{words} {_quoted(str(each))}" for each in value)
        return f"--{words} {_quoted(str(value))}"

    def action(self, name: str, study: str | None, **given: object) -> str:
        """`hpo status --study churn`, `hpo run --study churn --trials 50`."""
        command = f"hpo db {name}" if name in ("upgrade", "backup") else f"hpo {name}"
        command = f"{command} --study {_quoted(study)}" if study else command
        command = " ".join([command, *(self.setting(setting, value) for setting, value in given.items())])
        return command if self.url is None else self._on_database(command, self.url)

    def _on_database(self, command: str, url: str) -> str:
        try:
            return with_storage(command, url)
        except StorageError:  # which the message is about
            return command


def _quoted(text: str) -> str:
    """As a shell takes it, on one line."""
    return shlex.quote(printable(text))


def exit_code(command: Callable[[], int | None], face: Face | None = None) -> int:
    """Run `command` and return the exit code for how it ended; unexpected exceptions pass through. `face` writes the
    marks of an error."""
    try:
        code = command() or 0
        sys.stdout.flush()
    except InputError as error:
        complain(error.text(face or CommandLine()))
        return BAD_INPUT
    except TrainersError as error:
        complain(error.text(face or CommandLine()))
        return SICK_HOST
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
    """Write `error: message` to standard error, with control characters escaped, and without the password of a URL that
    was typed in a wrong place."""
    hidden = _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", message)
    tell("error: " + "\n".join(printable(line) for line in hidden.split("\n")))


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
