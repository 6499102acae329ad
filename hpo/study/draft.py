"""A study file to begin with: what is asked for, and every other setting commented out, from its declaration."""

import math
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any

from hpo.declaration import Duration, Group, Pairs, Setting
from hpo.settings import SETTINGS
from hpo.study.study_file import toml_value

WIDTH = 100
_HEAD = "A study file. Lines that begin with # are comments: remove the # of a setting, and change its value."


def draft(study: str, given: Mapping[str, Any], about: Iterable[str] = ()) -> str:
    """The text of a study file with the settings that are given; `about` are lines on the table."""
    blocks = [_comment(_HEAD), *([_comment(*about)] if about else []), f"study = {toml_value(study)}"]
    for group in Group:
        settings = [each for each in SETTINGS.values() if each.about.group is group and each.about.listed]
        if settings:
            blocks.append(f"# ---- {group.value} ----")
            blocks += [_block(setting, given.get(setting.name)) for setting in settings]
    return "\n\n".join(blocks) + "\n"


def _block(setting: Setting, value: object) -> str:
    """A setting with what is known of it."""
    allowed = f"{setting.allowed[0].upper()}{setting.allowed[1:]}."
    about = _comment(setting.text, *([] if setting.about.example == "COLUMN" else [allowed]))
    if value is not None:
        return f"{about}\n{setting.name} = {toml_value(_as_said(setting, value))}"
    return f"{about}\n# {setting.name} = {toml_value(_example(setting))}"


def _as_said(setting: Setting, value: object) -> object:
    """A value as a person gives it."""
    if setting.type == Pairs and isinstance(value, tuple):
        return dict(value)
    return "none" if value == math.inf else value


def _comment(*texts: str) -> str:
    return "\n".join(f"# {line}" for text in texts for line in wrap(text, WIDTH, break_on_hyphens=False))


def _example(setting: Setting) -> object:
    """The default, or a value that can be."""
    if setting.default is not None:
        return setting.default
    if setting.choices:
        return setting.choices[0]
    if setting.type is Duration:
        return "2h"
    if setting.type is bool:
        return True
    if setting.type in (int, float):
        return int(setting.about.otherwise) if setting.about.otherwise.isdecimal() else int(setting.about.least or 1)
    return setting.about.example or ""
