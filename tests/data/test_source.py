"""Files as users have them: separators, encodings, damage, Parquet, and frames handed over."""

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from hpo.data.fingerprint import BUILTIN_NAMES, file_sha256
from hpo.data.source import read_source
from hpo.data.spec import DataSpec
from hpo.data.table import build_table
from hpo.errors import DataError

GOOD = "size,color,label\n" + "".join(
    f"{i + 0.5},{('red', 'blue', 'green')[i % 3]},{('yes', 'no')[i % 2]}\n" for i in range(60)
)


@pytest.fixture
def read(tmp_path):
    """Writes a file of the given text or bytes and reads it."""

    def read(content, name="table.csv", **spec):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_source(DataSpec(kind="file", source=str(path), target="label", **spec))

    return read


def test_a_plain_file_needs_no_notes(read, tmp_path):
    source = read(GOOD)
    assert source.frame["size"].tolist()[:2] == [0.5, 1.5]
    assert source.frame["color"].tolist()[:2] == ["red", "blue"]
    assert source.frame.shape == (60, 3)
    assert source.notes == ()
    assert source.sha256 == file_sha256(tmp_path / "table.csv")


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_read_with_a_note(read, separator, name):
    source = read(GOOD.replace(",", separator))
    pd.testing.assert_frame_equal(source.frame, read(GOOD).frame)
    assert source.notes == (f"fields are separated by {name}",)


@pytest.mark.parametrize("header", ['"a;b;c;d",color,label', '"a,b;\t""c;""",color,label', "a;b,color,label"])
def test_the_separator_is_the_most_frequent_one_of_the_header_outside_quotes(read, header):
    source = read(GOOD.replace("size,color,label", "\n \n" + header))
    assert source.frame.shape == (60, 3)
    assert source.notes == ()


def test_decimal_commas_are_read_where_semicolons_separate(read):
    text = GOOD.replace(",", ";").replace(".5", ",5").replace("\n7,5", "\n-7,5e-1").replace("\n3,5", "\n")
    source = read(text)
    assert source.frame["size"].dtype == np.float64
    assert source.frame["size"].tolist()[:2] == [0.5, 1.5]
    assert source.frame["size"][7] == -0.75
    assert source.frame["size"].isna().sum() == 1
    assert source.frame["color"].tolist()[:2] == ["red", "blue"]
    assert source.notes[1:] == ("numbers are read with decimal commas: 'size'",)


def test_texts_with_commas_stay_texts(read):
    source = read(GOOD.replace(",", ";").replace("0.5", "1,5 or so"))
    assert source.frame["size"][0] == "1,5 or so"
    assert source.notes == ("fields are separated by semicolons",)


def test_a_table_of_one_column_is_read(read):
    assert read("label\nyes\nno\n").frame["label"].tolist() == ["yes", "no"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\n\n"),
        GOOD.replace(",", ", "),
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
        GOOD.replace("red", '"red"'),
    ],
    ids=["windows", "blank lines", "blanks", "no last newline", "byte order mark", "quotes"],
)
def test_harmless_differences_read_the_same(read, text):
    pd.testing.assert_frame_equal(read(text).frame, read(GOOD).frame)


def test_separators_quotes_and_newlines_in_quotes_are_text(read):
    frame = read(GOOD.replace("red", '"dark, ""red""\nor so"')).frame
    assert frame["color"][0] == 'dark, "red"\nor so'
    assert len(frame) == 60


def test_columns_without_names_are_taken_for_row_numbers(read):
    rows = GOOD.splitlines()
    text = "," + rows[0] + "\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows[1:]))
    table = build_table(read(text), "label")
    assert [column.name for column in table.columns] == ["size", "color"]
    assert table.notes == ("not used, no name, so taken for row numbers: '(unnamed column) 1'",)


@pytest.mark.parametrize("missing", ["None", "NA", "null", "NaN", "", "n/a"])
def test_words_for_missing_are_read_as_missing(read, missing):
    """Fault 28."""
    frame = read(GOOD.replace("red", missing).replace("\n1.5,", f"\n{missing},")).frame
    assert frame["color"].isna().tolist() == [True, False, False] * 20
    assert frame["size"].isna().sum() == 1
    assert frame["size"].dtype == np.float64


@pytest.mark.parametrize("encoding", ["cp1252", "iso8859-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp850"])
def test_files_of_other_encodings_are_read_where_these_are_named(read, encoding):
    """Fault 22."""
    text = GOOD.replace("green", "gr\u00fcn").replace("size", "gr\u00f6\u00dfe")
    pd.testing.assert_frame_equal(read(text.encode(encoding), encoding=encoding).frame, read(text).frame)
    if encoding == "utf-16-le":
        pd.testing.assert_frame_equal(read(text.encode("utf-16"), encoding=encoding).frame, read(text).frame)


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (GOOD.replace("green", "gr\u00fcn").encode(), "ascii", "line 4: byte 0xc3 is not ASCII"),
        ((GOOD + "\ud800").encode("utf-16", "surrogatepass"), "utf-16", "line 62: byte 0x00 is not UTF-16"),
        (GOOD.encode("utf-16"), "cp1252", "is UTF-16 and is read as CP1252; use encoding='utf-16'"),
        (("\ufeff" + GOOD).encode(), "cp1252", "is UTF-8 and is read as CP1252; use encoding='utf-8'"),
        (GOOD.replace("2.5,green", "2.5,gre\0n").encode("utf-16"), "utf-16", "line 4: a NUL byte"),
    ],
)
def test_files_of_another_encoding_than_the_named_one_are_refused(read, content, encoding, reason):
    """Fault 22."""
    with pytest.raises(DataError) as refusal:
        read(content, encoding=encoding)
    assert reason in str(refusal.value)


@pytest.mark.parametrize("word", ["None", "NA", "null", "NaN", "n/a"])
def test_words_for_missing_can_be_kept(read, word):
    """Fault 28."""
    text = GOOD.replace("red", word).replace("\n1.5,blue", "\n1.5,")
    frame = read(text, missing_words=False).frame
    assert frame["color"].tolist()[:4] == [word, np.nan, "green", word]
    assert frame["size"].dtype == np.float64
    assert read(text.replace("\n2.5,", "\n,"), missing_words=False).frame["size"].isna().sum() == 1
    numbers = read(text.replace("\n2.5,", f"\n{word},"), missing_words=False).frame["size"]
    assert numbers.tolist()[:3] == ["0.5", "1.5", word]


def test_settings_of_csv_files_are_refused_for_parquet(read, tmp_path):
    read(GOOD).frame.to_parquet(tmp_path / "written.parquet")
    for setting in ({"encoding": "cp1252"}, {"missing_words": False}):
        with pytest.raises(DataError, match=r"are for CSV files, .* is Parquet; leave them away"):
            read((tmp_path / "written.parquet").read_bytes(), "table.parquet", **setting)


def test_numbers_too_large_for_a_computer_are_missing_or_rounded(read):
    """Fault 27."""
    text = "huge,long,x,label\n" + "".join(
        f"{'1e999' if i == 0 else i},{10**20 + i},{3 * i},{('yes', 'no')[i % 2]}\n" for i in range(40)
    )
    table = build_table(read(text), "label")
    assert [column.name for column in table.columns] == ["huge", "x"]
    assert table.notes == (
        "column 'huge': 1 infinite or huge numbers are read as missing",
        "not used, the same value in all rows: 'long'",
    )


REFUSED = {
    "fault 21: open quote": (GOOD + '1.0,"red,yes\n2.0,blue,no\n', "line 62: a quote is opened and never closed"),
    "fault 21: text after a quote": (GOOD + '1.0,"red"ish,yes\n', "line 62: a quoted field goes on after"),
    "fault 21: NUL byte": (GOOD.replace("2.5,green", "2.5,gre\0n"), "line 4: a NUL byte"),
    "fault 21: cut off": (GOOD + "31.5,bl", "line 62: 2 fields where the header has 3; is the file cut off?"),
    "fault 22: latin-1": (
        GOOD.replace("green", "gr\u00fcn").encode("latin-1"),
        "line 4: byte 0xfc is not UTF-8; save the file as UTF-8, or name its encoding, for instance encoding='cp1252'",
    ),
    "fault 22: UTF-16": (
        GOOD.encode("utf-16"),
        "is UTF-16 and is read as UTF-8; use encoding='utf-16', or save it as UTF-8",
    ),
    "fault 22: UTF-32": (GOOD.encode("utf-32"), "is UTF-32 and is read as UTF-8; use encoding='utf-32'"),
    "fault 22: UTF-16 without its mark": (
        GOOD.encode("utf-16-le"),
        "line 1: a NUL byte, which text in UTF-8 has not; write it again as text, or name its encoding, for instance "
        "encoding='utf-16-le'",
    ),
    "fault 23": (GOOD.replace("color", "size"), "line 1: column names must differ, 'size' occurs more than once"),
    "fault 24": (
        GOOD + "1.0,red,yes,more\n",
        "line 62: 4 fields where the header has 3; is a comma not in quotes?",
    ),
    "fault 24: semicolons": (
        GOOD.replace(",", ";") + "1.0;red;yes;more\n",
        "line 62: 4 fields where the header has 3; is a semicolon not in quotes?",
    ),
    "fault 25: short row": (GOOD + "1.0,red\n", "line 62: 2 fields where the header has 3"),
    "fault 25: header only": ("size,color,label\n", "must hold rows, it has only a header"),
    "fault 25: empty": ("", "it is empty"),
    "fault 25: blank": (" \n\n", "it is empty"),
    "a blank row that may be a value": (
        'label\nyes\n""\nno\n',
        "is ambiguous: it has 2 or 3 rows, depending on how blank lines and quotes are read",
    ),
    "another separator": (GOOD.replace(",", "|"), "line 1: fields are separated by '|'"),
    "a zip archive": (b"PK\x03\x04" + bytes(40), "is a zip file that cannot be unpacked"),
    "a compressed file": (b"\x1f\x8b\x08" + bytes(40), "is a gzip file that cannot be unpacked"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_damaged_files_are_refused_with_the_line_and_the_reason(read, case):
    content, reason = REFUSED[case]
    with pytest.raises(DataError) as refusal:
        read(content)
    assert reason in str(refusal.value)
    assert "table.csv" in str(refusal.value)


def test_parquet_reads_as_the_frame_that_was_written(read, tmp_path):
    frame = read(GOOD).frame.assign(count=pd.array([None, *range(59)], dtype="Int64"))
    frame.set_index(np.arange(60) + 7).to_parquet(tmp_path / "written.parquet")
    source = read((tmp_path / "written.parquet").read_bytes(), "no-suffix")
    pd.testing.assert_frame_equal(source.frame, frame, check_dtype=False)
    assert source.sha256 == file_sha256(tmp_path / "written.parquet")


def test_parquet_that_is_damaged_or_has_no_rows_is_refused(read, tmp_path):
    path = tmp_path / "written.parquet"
    read(GOOD).frame.to_parquet(path)
    with pytest.raises(DataError, match=r"cut\.parquet is no readable Parquet file: .*; write the file again"):
        read(path.read_bytes()[:-20], "cut.parquet")
    read(GOOD).frame.head(0).to_parquet(path)
    with pytest.raises(DataError, match="must hold rows, it has none"):
        read(path.read_bytes())


def test_a_frame_is_read_from_the_parquet_file_it_was_handed_over_in(read, tmp_path):
    path = tmp_path / "frame.parquet"
    read(GOOD).frame.to_parquet(path)
    source = read_source(DataSpec(kind="frame", source="frame", target="label"), path)
    assert source.name == "the data frame"
    assert source.frame.shape == (60, 3)
    with pytest.raises(DataError, match=r"a frame handed over in Python, got none; call hpo\.tune"):
        read_source(DataSpec(kind="frame", source="frame", target="label"))


def test_data_that_changed_since_the_study_began_is_refused(read):
    sha256 = read(GOOD).sha256
    assert read(GOOD, sha256=sha256).sha256 == sha256
    with pytest.raises(DataError, match=r"must stay the same during a study, .*table\.csv was changed"):
        read(GOOD + "1.0,red,yes\n", sha256=sha256)


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_built_in_sets_are_those_of_scikit_learn(name):
    bunch = getattr(datasets, f"load_{name}")()
    source = read_source(DataSpec(kind="builtin", source=name, target="target"))
    assert source.frame.shape == (len(bunch.target), bunch.data.shape[1] + 1)
    assert set(source.frame["target"]) == {str(label) for label in bunch.target_names}
    assert source.sha256 == ""


def test_unknown_built_in_sets_are_refused():
    with pytest.raises(DataError, match=r"one of digits, .*, got 'mnist'; use one of these"):
        read_source(DataSpec(kind="builtin", source="mnist", target="target"))


def test_files_that_cannot_be_read_are_refused_with_the_reason(tmp_path):
    for function in (file_sha256, lambda p: read_source(DataSpec(kind="file", source=str(p), target="t"))):
        with pytest.raises(DataError, match=r"must be a file that exists, there is no .*none\.csv"):
            function(tmp_path / "none.csv")
        with pytest.raises(DataError, match="is a folder; name one file in it"):
            function(tmp_path)
        with pytest.raises(DataError, match=r"cannot .*File name too long"):
            function(tmp_path / ("x" * 300))


def test_the_fingerprint_is_the_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x")
    assert file_sha256(path) == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
