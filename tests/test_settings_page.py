"""docs/settings.md lists every setting, as it is declared."""

import re
from pathlib import Path

from hpo.declaration import Group
from hpo.settings import SETTINGS

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (.*?) \| (?:`(.*?)`)? ?\| (.*?) \|$", PAGE, re.MULTILINE)
KINDS = {int: "whole number", float: "number", bool: "yes or no"}


def default(setting):
    if setting.about.otherwise:
        return setting.about.otherwise if re.fullmatch(r"\w+", setting.about.otherwise) else ""
    if isinstance(setting.default, bool):
        return "yes" if setting.default else "no"
    return (
        ""
        if setting.default in (None, ())
        else format(setting.default, "" if isinstance(setting.default, str) else "g")
    )


def kind(setting):
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    return "time" if setting.about.group is Group.LIMITS else KINDS.get(setting.type)


def test_every_setting_has_its_row_in_the_order_of_declaration():
    assert [name for name, *_ in ROWS] == list(SETTINGS)


def test_values_and_defaults_are_those_declared():
    for name, values, shown, meaning in ROWS:
        setting = SETTINGS[name]
        assert shown == default(setting), name
        assert values == (kind(setting) or values), name
        assert len(meaning) > 5, name
