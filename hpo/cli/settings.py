"""From the settings of hpo to options of the command line."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from hpo.declaration import Group, Pairs, Setting

Command = TypeVar("Command", bound=Callable[..., int])


def option_name(setting: str) -> str:
    """`--max-epochs`."""
    return f"--{setting.replace('_', '-')}"


def with_settings(settings: Iterable[Setting]) -> Callable[[Command], Command]:
    """Give a command, which takes them as keywords, an option for each setting; one that is not given is None."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        options = [_parameter(setting) for setting in settings]
        command.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        return command

    return decorate


def _parameter(setting: Setting) -> inspect.Parameter:
    name, about = option_name(setting.name), setting.about
    is_switch = setting.type is bool and setting.default is not False  # what is off by default needs no way to say so
    declared = f"{name}/--no-{name.removeprefix('--')}" if is_switch else name
    option = typer.Option(
        declared,
        metavar=about.example or _metavar(setting),
        autocompletion=_completed(setting.choices) if setting.choices else None,
        help=setting.text,
        rich_help_panel=None if about.group is Group.RUN else about.group,
        hidden=not about.listed,
    )
    # Values stay texts: the setting checks them, and says what is wrong as it does in Python.
    kind: Any = {bool: bool, Pairs: list[str]}.get(setting.type, str)
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(setting: Setting) -> str | None:
    """What stands for the value in the list of options."""
    if setting.choices:
        return f"[{'|'.join(setting.choices)}]"
    return {int: "INTEGER", float: "FLOAT"}.get(setting.type)


def _completed(choices: Sequence[str]) -> Callable[[str], list[str]]:
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]
