"""From what is asked for to specs: defaults, built-in studies, resuming."""

import json
from dataclasses import replace
from unittest.mock import ANY

import pandas as pd
import pytest
from hpo_spaces import load_space
from hypothesis import given
from hypothesis import strategies as st

from hpo.data.fingerprint import file_sha256
from hpo.data.frames import write_frame
from hpo.declaration import to_json
from hpo.errors import DataError, SpaceError, StudyError
from hpo.objectives.mlp import MlpPart
from hpo.search.rules import Rules
from hpo.settings import Corrections
from hpo.study.resolve import refuse_changes, request, resolve
from hpo.study.spec import STUDY_NAME, StudySpec, check_study_name, definition_names, differences


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,label\n1,a\n2,b\n")
    return path


@pytest.fixture
def frame(tmp_path):
    return write_frame(pd.DataFrame({"x": [1, 2], "y": ["a", "b"], "z": [3, 4]}), tmp_path / "frame.parquet")


def test_built_in_study_needs_no_settings():
    assert definition_names() == ["mlp"]
    study = resolve(request("mlp"))
    part = MlpPart.of(study.spec)
    assert study.spec.objective.name == "mlp"
    assert (part.data.kind, part.data.source, part.data.target) == ("builtin", "digits", "target")
    assert part.evaluation.replicates == 5
    assert study.spec.search.seed == 0
    assert study.space.name == "mlp"


def test_file_needs_a_target_and_is_fingerprinted(csv):
    with pytest.raises(StudyError, match="give target='COLUMN'"):
        resolve(request("s", data=str(csv)))
    spec = resolve(request("s", data=str(csv), target="label")).spec
    assert MlpPart.of(spec).data.sha256 == file_sha256(csv)


def test_own_data_may_use_the_name_of_a_built_in_study(csv):
    spec = resolve(request("mlp", data=str(csv), target="label")).spec
    assert MlpPart.of(spec).data.source == str(csv)


def test_a_time_divides_rows_forward_and_goes_with_no_other_division(csv):
    stored = resolve(request("s", data=str(csv), target="label", time="x")).spec
    judged = MlpPart.of(stored).evaluation
    assert (judged.time, judged.method) == ("x", "forward")
    assert resolve(request("s"), stored).spec == resolve(request("s", time="x"), stored).spec == stored
    assert describe_objective(stored).startswith("forward in time by 'x', 5 replicates")
    for asked, message in (
        ({"method": "forward"}, "by a column of times, got none; give time='COLUMN'"),
        ({"method": "kfold", "time": "x"}, "got method='kfold' with time='x'; leave one of them away"),
        ({"group": "g", "time": "x"}, "got time='x' and group='g': a group that goes on through time"),
    ):
        with pytest.raises(StudyError, match=message):
            resolve(request("t", data=str(csv), target="label", **asked))


def describe_objective(spec):
    return resolve(request(spec.name), spec).objective.describe(spec).summary


def test_new_study_without_data_says_what_to_give():
    with pytest.raises(
        StudyError, match=r"needs data: no study .* is named 'mine' \(built-in: mlp\); give data='FILE' target='COLUMN'"
    ):
        resolve(request("mine"))


def test_what_is_not_given_is_the_stored_studys(csv):
    stored = resolve(request("s", data=str(csv), target="label", patience=3, seed=9, racing=False)).spec
    assert resolve(request("s"), stored).spec == stored
    assert StudySpec.from_json(stored.to_json()) == stored


@pytest.mark.parametrize("pruner", ["curve", "none"])
def test_the_pruner_is_part_of_the_spec(csv, pruner):
    stored = resolve(request("s", data=str(csv), target="label", pruner=pruner)).spec
    assert resolve(request("s", pruner=pruner), stored).spec == stored
    with pytest.raises(StudyError, match=f"pruner: stored '{pruner}', now 'halving'"):
        resolve(request("s", pruner="halving"), stored)


def test_differences_are_named(csv, tmp_path):
    stored = resolve(request("s", data=str(csv), target="label")).spec
    with pytest.raises(
        StudyError, match=r"racing: stored True, now False; seed: stored 0, now 4; resume it without racing and seed"
    ) as error:
        resolve(request("s", seed=4, racing=False), stored)
    assert "choose another name with study" in str(error.value)
    csv.write_text("x,label\n1,b\n2,b\n")
    with pytest.raises(StudyError, match=r"data: '.*t?\.csv' has other content now; put back the data, or"):
        resolve(request("s"), stored)


def test_the_same_file_may_have_moved(csv, tmp_path):
    stored = resolve(request("s", data=str(csv), target="label")).spec
    moved = csv.rename(tmp_path / "elsewhere.csv")
    assert resolve(request("s", data=str(moved)), stored)
    with pytest.raises(DataError):
        resolve(request("s"), stored)


def test_without_work_only_what_is_named_is_looked_at(csv, tmp_path):
    stored = resolve(request("s", data=str(csv), target="label")).spec
    stored = replace(stored, space=replace(stored.space, reference="gone:SPACE"))
    moved = csv.rename(tmp_path / "elsewhere.csv")
    for options in ({}, {"target": "label", "seed": 0, "encoding": "utf8"}, {"data": str(moved)}):
        refuse_changes(request("s", **options), stored)
    moved.write_text("x,label\n1,b\n2,b\n")
    for options, named in (
        (
            {"data": str(moved)},
            r"data: stored '.*', now '.*elsewhere.csv' with other content; resume it without data, or",
        ),
        ({"target": "x"}, r"target: stored 'label', now 'x'"),
        ({"seed": 4}, r"seed: stored 0, now 4"),
        ({"missing_words": False}, r"missing_words: stored True"),
    ):
        with pytest.raises(StudyError, match=named):
            refuse_changes(request("s", **options), stored)
    with pytest.raises(DataError, match="file that exists"):
        refuse_changes(request("s", data=str(csv)), stored)
    with pytest.raises(SpaceError):
        refuse_changes(request("s", space="gone:SPACE"), stored)


def test_how_a_csv_file_is_read_is_part_of_the_spec(csv):
    data = {"data": str(csv), "target": "label", "missing_words": False}
    stored = resolve(request("s", **data, encoding="Latin-1")).spec
    assert (MlpPart.of(stored).data.encoding, MlpPart.of(stored).data.missing_words) == ("iso8859-1", False)
    for same in ({**data, "encoding": "Latin-1"}, {}, {"data": str(csv)}, {**data, "encoding": "L1"}):
        assert resolve(request("s", **same), stored).spec == stored
    with pytest.raises(StudyError, match=r"encoding: stored 'iso8859-1', now 'utf-8'"):
        resolve(request("s", **data, encoding="utf-8"), stored)
    with pytest.raises(StudyError, match=r"change: data: stored '.*', now 'wine'; resume it without data, or"):
        resolve(request("s", data="wine"), stored)


TASK = {"task": "regression", "loss": "gaussian", "weight": "w", "class_weights": "balanced"}


def test_the_task_its_loss_and_the_weights_are_part_of_the_spec(csv):
    data = {"data": str(csv), "target": "label"}
    plain, stored = resolve(request("s", **data)).spec, resolve(request("s", **data, **TASK)).spec
    assert TASK.items() <= to_json(MlpPart.of(stored).evaluation).items()
    assert resolve(request("s"), stored).spec == stored
    for name, value in (("task", "multilabel"), ("loss", "auto"), ("weight", "v"), ("class_weights", "none")):
        named = rf"{name}: stored '{TASK[name]}', now '{value}'"
        for check in (resolve, refuse_changes):
            with pytest.raises(StudyError, match=named):
                check(request("s", **{name: value}), stored)
        with pytest.raises(StudyError, match=rf"{name}: stored"):
            resolve(request("s", **{name: TASK[name]}), plain)


def test_the_scaling_is_part_of_the_spec_and_that_of_earlier_studies_was_standard(csv):
    data = {"data": str(csv), "target": "label"}
    stored = resolve(request("s", **data, scaling="quantile")).spec
    assert resolve(request("s", **data), stored).spec == stored
    with pytest.raises(StudyError, match="scaling: stored 'quantile', now 'robust'"):
        resolve(request("s", scaling="robust"), stored)
    values = stored.to_json()
    del values["objective"]["part"]["evaluation"]["scaling"], values["objective"]["part"]["data"]["preparation"]
    earlier = StudySpec.from_json(values)
    part = MlpPart.of(resolve(request("s", **data), earlier).spec)
    assert (part.evaluation.scaling, part.data.preparation) == ("standard", 1)
    with pytest.raises(StudyError, match="scaling: stored 'standard', now 'robust'"):
        resolve(request("s", scaling="robust"), earlier)


@pytest.mark.parametrize("name", ["klingon", "rot13", "base64", "", "a\0b", "\ud800"])
def test_unknown_encodings_are_refused(csv, name):
    with pytest.raises(StudyError, match="an encoding must be one that Python knows, such as") as error:
        resolve(request("s", data=str(csv), target="label", encoding=name))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("setting", [{"encoding": "cp1252"}, {"missing_words": False}])
def test_settings_of_csv_files_are_refused_for_other_data(frame, setting):
    with pytest.raises(StudyError, match=r"are for files, got them for wine; leave them away"):
        resolve(request("s", data="wine", **setting))
    with pytest.raises(StudyError, match=r"are for files, got them for frame"):
        resolve(request("s", target="y", frame=frame, **setting))


def test_the_target_of_a_frame_is_compared(frame):
    stored = resolve(request("s", target="y", frame=frame)).spec
    assert resolve(request("s"), stored).spec == stored
    with pytest.raises(StudyError, match=r"target: stored 'y', now 'z'"):
        resolve(request("s", target="z"), stored)


def test_bad_settings_are_refused_with_the_rule():
    with pytest.raises(StudyError, match=r"patience must be a whole number of at least 1, got 0; use patience=1 or"):
        resolve(request("mlp", patience=0))
    with pytest.raises(StudyError, match=r"method must be one of bootstrap, .*, got 'jackknife'"):
        resolve(request("mlp", method="jackknife"))
    with pytest.raises(StudyError, match=r"class_weights must be one of none, balanced, got 'heavy'; change"):
        resolve(request("mlp", class_weights="heavy"))
    with pytest.raises(SpaceError):
        resolve(request("mlp", space="no.such.module:SPACE"))


def test_differences_of_equal_specs_are_empty():
    spec = resolve(request("mlp")).spec
    assert differences(spec, spec) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "x" * 513,
        "\ud800",
        "..",
        "</script>",
        "-a",
        ".a",
        "a/b",
        "ä",
        "a\n",
    ],
)
def test_bad_study_names_are_refused(name):
    """Fault 31."""
    with pytest.raises(StudyError, match="a study name must be") as error:
        check_study_name(name)
    assert str(error.value).isprintable()


@given(st.from_regex(STUDY_NAME, fullmatch=True))
def test_good_study_names_are_accepted(name):
    assert check_study_name(name) == name
    assert len(name) <= 100


def test_corrections_are_part_of_the_study(csv):
    given = {"data": str(csv), "target": "label", "kind": {"x": "category"}, "missing": ["?"], "drop": None}
    stored = StudySpec.from_json(json.loads(json.dumps(resolve(request("s", **given)).spec.to_json())))
    data = MlpPart.of(stored).data
    assert (data.preparation, data.corrections) == (2, Corrections(kind=(("x", "category"),), missing="?"))
    assert resolve(request("s"), stored).spec.to_json() == stored.to_json() | {"objective": ANY}
    assert MlpPart.of(resolve(request("s", **given), stored).spec).data == data
    with pytest.raises(StudyError, match=r"kind: stored {'x': 'category'}, now {'x': 'number'}; resume it"):
        resolve(request("s", kind={"x": "number"}), stored)


def test_a_study_of_an_earlier_version_keeps_its_preparation(csv):
    new = resolve(request("s", data=str(csv), target="label")).spec
    part = dict(new.objective.part)
    part["data"] = {name: part["data"][name] for name in part["data"] if name not in ("preparation", "corrections")}
    space = replace(new.space, description=load_space("mlp").describe())  # which does not search the scaling
    stored = replace(new, objective=replace(new.objective, part=part), space=space)
    for again in ({}, {"data": str(csv), "target": "label"}):
        assert MlpPart.of(resolve(request("s", **again), stored).spec).data.preparation == 1
    with pytest.raises(StudyError, match="drop: stored None, now 'x'"):
        resolve(request("s", drop="x"), stored)


def test_a_space_that_scales_its_inputs_is_searched_as_it_is(csv, tmp_path, monkeypatch):
    (tmp_path / "own_scaling.py").write_text(
        "from hpo.spaces import Architecture, Float, MlpSpace\n"
        "def make(p):\n"
        "    return Architecture(widths=(9,), activation='elu', initializer='he_normal', dropout=p['dropout'],\n"
        "        learning_rate=1e-3, batch_size=32, scaling='robust')\n"
        "SPACE = MlpSpace(name='own', dimensions=(Float('dropout', 0, 0.5),), architecture=make)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = resolve(request("s", data=str(csv), target="label", space="own_scaling:SPACE"))
    assert [each.name for each in own.space.dimensions] == ["dropout"]
    order = own.objective.order(own.spec, own.space, 0, {"dropout": 0.1}, Rules())
    assert order["architecture"]["scaling"] == "robust"
    usual = resolve(request("t", data=str(csv), target="label"))
    assert usual.space.dimensions[-1].name == "scaling"
    assert resolve(request("u", data=str(csv), target="label", scaling="quantile")).space.size == usual.space.size - 3
