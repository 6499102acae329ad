"""Settings: which values they take, how others are refused, and that every face offers all of them."""

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

import hpo
from hpo.cli.errors import CommandLine
from hpo.cli.main import app
from hpo.declaration import Group, Pairs, Setting, settings_of, taken, to_json
from hpo.errors import StudyError
from hpo.settings import GROUPS, SETTINGS, EvaluationSpec, SearchSpec, Training, asked

LIMITS = [name for name, setting in SETTINGS.items() if setting.about.group is Group.LIMITS]


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("1.5m", 90), (" 2 H ", 7200), ("1d", 86400), ("none", math.inf), ("0.25", 0.25)),
        *((90, 90), (0.25, 0.25), (np.float64(1.5), 1.5)),
    ],
)
def test_times_have_units(time, seconds):
    assert asked(dict.fromkeys(LIMITS, time)) == dict.fromkeys(LIMITS, seconds)


@pytest.mark.parametrize(
    "time", ["", "0", "-1", "1h30m", "soon", "1e400", "nan", "inf", "9" * 400, "５m", 0, -1, True, math.nan, [90]]
)
def test_other_times_are_refused_naming_the_setting(time):
    with pytest.raises(StudyError, match="time_limit must be a time above 0, such as 90, 10m, 2h or 1d, or none, got"):
        asked({"time_limit": time})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"trials": "12"}, 12),
        ({"trials": 12.0}, 12),
        ({"seed": np.int64(3)}, 3),
        ({"stop_fraction": "0.25"}, 0.25),
        ({"stop_fraction": np.float32(0.25)}, 0.25),
        ({"racing": "no"}, False),
        ({"racing": np.bool_(True)}, True),
        ({"store_data": 0}, False),
        ({"data": Path("table.csv")}, "table.csv"),
        ({"target": 7}, "7"),
        ({"target": ["red", "tall, or so"]}, 'red,"tall, or so"'),
        ({"pruner": "none"}, "none"),
        ({"kind": {"zip": "category", "age": "number"}}, (("age", "number"), ("zip", "category"))),
        ({"kind": ["zip=category", "when=date:%d=%m"]}, (("when", "date:%d=%m"), ("zip", "category"))),
        ({"kind": [["zip", "text"]]}, (("zip", "text"),)),
        ({"drop": ["id", "row"]}, "id,row"),
        ({"missing": ["?", "unknown"]}, "?,unknown"),
    ],
)
def test_values_with_a_plain_meaning_are_converted(given, meant):
    assert list(asked(given).values()) == [meant]


@pytest.mark.parametrize(
    ("given", "python", "command_line"),
    [
        (
            {"trials": 0},
            "trials must be a whole number from 1 to 2147483647, got 0; use trials=1 or more",
            "--trials must be a whole number from 1 to 2147483647, got 0; use --trials 1 or more",
        ),
        (
            {"pruner": "halfing"},
            "pruner must be one of curve, halving, hyperband, none, got 'halfing'; did you mean pruner='halving'?",
            "--pruner must be one of curve, halving, hyperband, none, got 'halfing'; did you mean --pruner halving?",
        ),
        (
            {"max_epoch": 3},
            "a setting must be one that hpo has, got 'max_epoch'; did you mean max_epochs?",
            "a setting must be one that hpo has, got 'max_epoch'; did you mean --max-epochs?",
        ),
        (
            {"stop_fraction": 0.5},
            "stop_fraction must be a number above 0 and below 0.5, got 0.5; change stop_fraction",
            "--stop-fraction must be a number above 0 and below 0.5, got 0.5; change --stop-fraction",
        ),
        (
            {"kind": {"zip": "categry"}},
            "the kind of a column must be one of number, category, ordered, boolean, date, text, got 'categry' for "
            "'zip'; did you mean kind={'zip': 'category'}?",
            "the kind of a column must be one of number, category, ordered, boolean, date, text, got 'categry' for "
            "'zip'; did you mean --kind zip=category?",
        ),
        (
            {"kind": {"when": "date:dots"}},
            "what follows a kind must say more about it, got 'date:dots' for 'when'; "
            "use kind={'when': 'date:%d.%m.%Y'}",
            "what follows a kind must say more about it, got 'date:dots' for 'when'; use --kind when=date:%d.%m.%Y",
        ),
    ],
)
def test_each_face_says_the_remedy_in_its_own_words(given, python, command_line):
    with pytest.raises(StudyError) as raised:
        asked(given)
    assert str(raised.value) == python
    assert raised.value.text(CommandLine()) == command_line


@pytest.mark.parametrize(
    "given",
    [
        *({"trials": value} for value in (-1, 1.5, "many", True, "1e3", "", [1])),
        *({"sleep": value} for value in (-1, "nan", "inf", "long", math.inf, True)),
        *({"racing": value} for value in ("maybe", 2, 1.0)),
        *({"target": value} for value in ([], [["a"]], True, None.__class__)),
        *({"seed": value} for value in (-1, 2**32)),
        *({"replicates": value} for value in (0, 101)),
        {"method": "jackknife"},
        {"data": ["a.csv"]},
        *({"kind": value} for value in ("zip", "=text", "zip=", 3, ["zip"], ["a=text", "a=number"])),
        {"missing": []},
        {"": 1},
        {"study": "s"},
    ],
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(StudyError, match="must be"):
        asked(given)


def test_a_target_may_be_several_columns_but_not_none():
    with pytest.raises(StudyError, match=r"target must be the name of a column, or a list of several, got \[\]"):
        asked({"target": []})


def test_what_is_not_given_is_left_out():
    assert asked({"trials": None, "seed": 0, "time_limit": None}) == {"seed": 0}


def test_a_group_takes_what_is_given_and_keeps_the_rest():
    before = SearchSpec(seed=3, racing=False)
    assert taken(SearchSpec, {"pruner": "none", "trials": 3}, before) == SearchSpec(seed=3, racing=False, pruner="none")
    assert taken(SearchSpec, {}) == SearchSpec()
    assert SearchSpec(**to_json(before)) == before


def test_a_group_checks_its_values_when_it_is_made():
    assert EvaluationSpec(replicates="3").replicates == 3
    with pytest.raises(StudyError, match="replicates must be a whole number from 1 to 100, got 0"):
        EvaluationSpec(replicates=0)


def test_every_setting_has_one_group_and_a_default_that_it_accepts():
    declared = [setting for group in GROUPS for setting in settings_of(group)]
    assert len(declared) == len(SETTINGS)
    for setting in declared:
        assert setting.default is None or setting.checked(setting.default) == setting.default
        assert setting.about.help.endswith("."), setting.name


OPTIONS = typer.main.get_command(app).commands


def shown(parameter: Any) -> tuple[object, ...]:
    opts = (*parameter.opts, *parameter.secondary_opts)
    kind, panel = parameter.type_descriptor.annotation, parameter.rich_help_panel
    return parameter.name, opts, kind, parameter.hidden, parameter.default, parameter.required, parameter.help, panel


def expected(setting: Setting) -> tuple[object, ...]:
    option, about = f"--{setting.name.replace('_', '-')}", setting.about
    opts = (option, f"--no-{option.removeprefix('--')}") if setting.type is bool else (option,)
    kind = {bool: bool, Pairs: list[str]}.get(setting.type, str)  # the setting reads texts itself
    panel = None if about.group is Group.RUN else about.group
    return setting.name, opts, kind, not about.listed, None, False, setting.text, panel


@pytest.mark.parametrize(
    ("command", "settings", "own"),
    [
        ("run", SETTINGS, {"file", "config", "study", "storage", "report", "no_report", "as_json", "no_pruning"}),
        (
            "worker",
            [setting.name for setting in settings_of(Training)],
            {"storage", "study", "drain_seconds", "once", "max_trials"},
        ),
    ],
)
def test_the_command_line_has_an_option_for_each_setting(command, settings, own):
    there = [shown(parameter) for parameter in OPTIONS[command].params if parameter.name not in own]
    assert there == [expected(SETTINGS[name]) for name in settings]


@pytest.mark.parametrize("function", [hpo.tune, hpo.create_study])
def test_python_has_a_keyword_for_each_setting(function):
    parameters = inspect.signature(function).parameters
    own = [name for name in parameters if name not in SETTINGS]
    assert own == ["study", "storage", "config", "progress"]
    assert {*parameters} == {*own, *SETTINGS}
    for name, setting in SETTINGS.items():
        assert parameters[name].default is None
        if name not in ("data", "target"):  # which come first and may be frames
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[name].annotation == setting.accepted | None
