"""From options to specs: defaults, built-in studies, resuming."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.data.fingerprint import file_sha256
from hpo.errors import DataError, SpaceError, StudyError
from hpo.study.spec import STUDY_NAME, StudySpec, check_study_name, differences
from hpo.study.study import StudyOptions, definition_names, resolve


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,label\n1,a\n2,b\n")
    return path


def test_built_in_study_needs_no_options():
    assert definition_names() == ["mlp"]
    study = resolve(StudyOptions(name="mlp"))
    assert (study.spec.data.kind, study.spec.data.source, study.spec.data.target) == (
        "builtin",
        "digits",
        "target",
    )
    assert study.spec.evaluation.replicates == 5
    assert study.spec.search.seed == 0
    assert study.space.name == "mlp"


def test_file_needs_a_target_and_is_fingerprinted(csv):
    with pytest.raises(StudyError, match="--target COLUMN"):
        resolve(StudyOptions(name="s", data=str(csv)))
    spec = resolve(StudyOptions(name="s", data=str(csv), target="label")).spec
    assert spec.data.sha256 == file_sha256(csv)


def test_own_data_may_use_the_name_of_a_built_in_study(csv):
    spec = resolve(StudyOptions(name="mlp", data=str(csv), target="label")).spec
    assert spec.data.source == str(csv)


def test_new_study_without_data_says_what_to_give():
    with pytest.raises(StudyError, match=r"needs data.*built-in: mlp.*--data FILE --target COLUMN"):
        resolve(StudyOptions(name="mine"))


def test_options_not_given_are_the_stored_ones(csv):
    options = StudyOptions(name="s", data=str(csv), target="label", patience=3, seed=9, racing=False)
    stored = resolve(options).spec
    assert resolve(StudyOptions(name="s"), stored).spec == stored
    assert StudySpec.model_validate(stored.model_dump(mode="json")) == stored


def test_differences_are_named(csv, tmp_path):
    stored = resolve(StudyOptions(name="s", data=str(csv), target="label")).spec
    with pytest.raises(StudyError, match=r"racing: stored True, now False; search\.seed: stored 0, now 4") as error:
        resolve(StudyOptions(name="s", seed=4, racing=False), stored)
    assert "choose another name with --study" in str(error.value)
    csv.write_text("x,label\n1,b\n2,b\n")
    with pytest.raises(StudyError, match=r"data\.sha256"):
        resolve(StudyOptions(name="s"), stored)


def test_the_same_file_may_have_moved(csv, tmp_path):
    stored = resolve(StudyOptions(name="s", data=str(csv), target="label")).spec
    moved = csv.rename(tmp_path / "elsewhere.csv")
    assert resolve(StudyOptions(name="s", data=str(moved)), stored)
    with pytest.raises(DataError):
        resolve(StudyOptions(name="s"), stored)


def test_bad_settings_are_refused_with_the_rule():
    with pytest.raises(StudyError, match=r"patience.*greater than or equal to 1.*got 0"):
        resolve(StudyOptions(name="mlp", patience=0))
    with pytest.raises(StudyError, match="method"):
        resolve(StudyOptions(name="mlp", method="jackknife"))
    with pytest.raises(SpaceError):
        resolve(StudyOptions(name="mlp", space="no.such.module:SPACE"))


def test_differences_of_equal_specs_are_empty():
    spec = resolve(StudyOptions(name="mlp")).spec
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
