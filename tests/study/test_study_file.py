"""Study files: what they say, where they say it wrong, and what wins over them."""

import math
from pathlib import Path

import pytest

from hpo.errors import DataError, StudyError
from hpo.settings import SETTINGS
from hpo.study.study_file import filled, read_study_file, toml_value


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "study.toml") -> Path:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return written


def test_a_file_says_settings_name_and_database(write):
    file = read_study_file(
        write(
            '\ufeffstudy = "churn"\nstorage = "team.db"\ndata = "customers.csv"\ntarget = ["a", "b"]\n'
            'racing = false\ntime_limit = "2h"\ntrainer_seconds = "none"\nseed = 7\n'
        )
    )
    assert file.values == {
        "study": "churn",
        "storage": "team.db",
        "data": "customers.csv",
        "target": "a,b",
        "racing": False,
        "time_limit": 7200,
        "trainer_seconds": math.inf,
        "seed": 7,
    }
    assert file.lines["racing"] == 5


def test_paths_are_relative_to_the_file(write):
    write("x,y\n", "sub/plain")
    for data, found in {
        "customers.csv": "sub/customers.csv",
        "plain": "sub/plain",
        "../up.csv": "sub/../up.csv",
        "/data/all.csv": "/data/all.csv",
        "wine": "wine",
        "name:rows=5.5": "name:rows=5.5",
    }.items():
        assert read_study_file(write(f'data = "{data}"', "sub/s.toml")).values["data"] == found
    for storage, found in {"team.db": "sub/team.db", "postgresql://h/d": "postgresql://h/d"}.items():
        assert read_study_file(write(f'storage = "{storage}"', "sub/s.toml")).values["storage"] == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "trials = 5\n\nmax-epochs = 3",
            "study.toml, line 3: a key must be a setting of hpo, got 'max-epochs'; did",
        ),
        ("trails = 5", "line 1: a key must be a setting of hpo, got 'trails'; did you mean 'trials'?"),
        ("qqqqq = 5", "got 'qqqqq'; there are study, storage, "),
        ("seed = 1\n# trials = 3\ntrials = 0", "line 3: trials must be a whole number from 1 to 2147483647, got 0"),
        ('pruner = "curves"', "one of curve, halving, hyperband, none, got 'curves'; did you mean pruner = \"curve\"?"),
        ("[search]\nseed = 3", "line 1: settings stand by themselves, got 'seed' in a table; remove [search]"),
        ('study = "a b"', "line 1: a study name must be 1 to 100 letters"),
        ("storage = 5", "line 1: a database is given as a URL or an SQLite file, got 5"),
        ("seed = 1\ntarget = churned", "study.toml, line 2: a study file must be TOML, here it is not: Invalid value"),
        ('target = "x', "a study file must be TOML"),
        ("seed = 1\nseed = 2", "study.toml, line 2: "),
        ("seed = 2020-01-01", "seed must be a whole number"),
    ],
)
def test_what_cannot_be_is_told_with_file_line_and_key(write, text, said):
    with pytest.raises(StudyError) as caught:
        read_study_file(write(text))
    assert said in str(caught.value)


def test_files_that_cannot_be_read(write, tmp_path):
    with pytest.raises(StudyError, match=r"'none.toml' is not \(No such file"):
        read_study_file(Path("none.toml"))
    with pytest.raises(StudyError, match=r"ends in .toml, got 'study.yaml'"):
        read_study_file(write("", "study.yaml"))
    Path("latin.toml").write_bytes('target = "größe"'.encode("latin-1"))
    with pytest.raises(StudyError, match="must be UTF-8"):
        read_study_file(Path("latin.toml"))
    with pytest.raises(StudyError, match="given by its path, got 5"), filled(5, {}):
        pass


def test_what_is_given_wins_over_the_file(write):
    path = write("seed = 3\nreplicates = 4")
    with filled(path, {"seed": 5, "replicates": None, "trials": None}) as found:
        assert found == {"seed": 5, "replicates": 4}
    with filled(None, {"seed": 5, "trials": None}) as found:
        assert found == {"seed": 5, "trials": None}


def test_a_later_error_says_where_its_setting_stands_unless_that_was_given(write):
    path = write('data = "x.csv"\ntarget = "lable"')
    with pytest.raises(DataError, match=r"not there \(study.toml, line 2\)$"), filled(path, {}):
        raise DataError("not there", setting="target")
    with pytest.raises(DataError, match=r"not there$"), filled(path, {"target": "y"}):
        raise DataError("not there", setting="target")
    with pytest.raises(DataError, match=r"not there$"), filled(path, {}):
        raise DataError("not there", setting="weight")


def test_every_default_survives_a_file(write):
    known = {name: setting.default for name, setting in SETTINGS.items() if setting.default is not None}
    text = "\n".join(f"{name} = {toml_value(value)}" for name, value in known.items())
    assert read_study_file(write(text)).values == known


@pytest.mark.parametrize("value", ["", 'quo"te', "back\\slash", "line\nend\ttab", "größe", "\x00\x1b\ufeff", [1, "a"]])
def test_values_are_written_as_toml_reads_them(value):
    import tomllib

    assert tomllib.loads(f"x = {toml_value(value)}") == {"x": value}
    assert tomllib.loads(f"x = {toml_value({'a b': value})}") == {"x": {"a b": value}}
