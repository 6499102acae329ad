"""CSV as texts, with or without a header, by Arrow or by the csv module."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.data.csv_file import read_csv
from hpo.data.header import looks_like_values
from hpo.errors import DataError

GOOD = "size,color,label\n" + "".join(
    f"{i + 0.5},{('red', 'blue', 'green')[i % 3]},{('yes', 'no')[i % 2]}\n" for i in range(60)
)
IRIS = "".join(f"{5 + i / 10:.1f},{3 + i % 7 / 10},0.{i % 9},{('setosa', 'virginica')[i % 2]}\n" for i in range(30))


LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


def read(text, encoding="utf-8", header=None):
    return read_csv("table.csv", text.encode() if isinstance(text, str) else text, encoding, header)


def rows_of(text, **options):
    return read(text, **options)[0].to_numpy().tolist()


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\n\n"),
        "\n \n" + GOOD,
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
        GOOD.replace("red", '"red"'),
        "\n".join(", ".join(f'"{field}"' for field in line.split(",")) for line in GOOD.splitlines()),
    ],
    ids=["plain", "windows", "old Mac", "blank lines", "blanks first", "no last newline", "mark", "quotes", "blanks"],
)
def test_all_columns_are_texts_as_they_are_written(text):
    frame, notes = read(text)
    assert list(frame.columns) == ["size", "color", "label"]
    assert all(isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes)
    assert [[value.strip() for value in row] for row in frame.to_numpy().tolist()] == [
        line.split(",") for line in GOOD.splitlines()[1:]
    ]
    assert notes == ()


@pytest.mark.parametrize("written", ["007", "1e999", "12%", "NA", "", " x", "1 234", "12345678901234567890"])
def test_nothing_is_converted(written):
    assert rows_of(GOOD.replace("red", written))[0][1] == written


@given(
    st.lists(
        st.lists(st.text(LETTERS, max_size=5), min_size=3, max_size=3),
        min_size=1,
        max_size=8,
    )
)
def test_what_the_csv_module_writes_is_read_back(rows):
    """Quotes, separators and newlines within fields; blanks around them may go."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\r\n").writerows([["a", "b", "c"], *rows])
    found = rows_of(stream.getvalue(), header=True)
    assert [[value.lstrip(" ") for value in row] for row in found] == [
        [value.lstrip(" ") for value in row] for row in rows
    ]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (GOOD.replace(",", "|"), "vertical bars"),
        ("sep=;\n" + GOOD.replace(",", ";"), "semicolons"),
        ('"sep=\t"\r\n' + GOOD.replace(",", "\t"), "tabs"),
        ("\ufeffSEP=;\n" + GOOD.replace(",", ";").replace("color", "a,b,c,d"), "semicolons"),
    ],
    ids=["bars", "told", "told in quotes", "told against the header"],
)
def test_fault_59_separators_are_told_by_the_header_or_a_first_line(text, note):
    frame, notes = read(text)
    assert frame.shape == (60, 3)
    assert notes == (f"fields are separated by {note}",)


def test_fault_59_lines_are_counted_from_the_one_that_tells_the_separator():
    with pytest.raises(DataError, match="line 63: 2 fields where the header has 3"):
        read("sep=;\n" + GOOD.replace(",", ";") + "1;red\n")


def test_fault_54_long_fields_are_read():
    long = "x" * 140_000
    for written in (long, f'"{long}"', f'"{long},{long}"'):
        assert rows_of(GOOD.replace("red", written, 1))[0][1] == written.strip('"')


def test_lines_longer_than_a_block_of_arrows_are_read():
    long = "y" * 9_000_000
    assert rows_of(GOOD.replace("red", long, 1))[0][1] == long


REFUSED = {
    "fault 21: open quote": (GOOD + '1.0,"red,yes\n2.0,blue,no\n', "line 62: a quote is opened and never closed"),
    "fault 21: text after a quote": (GOOD + '1.0,"red"ish,yes\n', "line 62: a quoted field goes on after"),
    "fault 21: NUL byte": (GOOD.replace("2.5,green", "2.5,gre\0n"), "line 4: a NUL byte"),
    "fault 21: cut off": (GOOD + "31.5,bl", "line 62: 2 fields where the header has 3; is the file cut off?"),
    "fault 22: latin-1": (GOOD.replace("green", "gr\u00fcn").encode("latin-1"), "line 4: byte 0xfc is not UTF-8"),
    "fault 22: UTF-16": (GOOD.encode("utf-16"), "is UTF-16 and is read as UTF-8; use encoding='utf-16'"),
    "fault 22: no mark": (GOOD.encode("utf-16-le"), "line 1: a NUL byte, which text in UTF-8 has not"),
    "fault 23": (GOOD.replace("color", "size"), "line 1: column names must differ, 'size' occurs more than once"),
    "fault 24": (GOOD + "1.0,red,yes,more\n", "line 62: 4 fields where the header has 3; is a comma not in quotes?"),
    "fault 24: after a quote": (GOOD + '"1.0",red,yes,more\n', "line 62: 4 fields where the header has 3"),
    "fault 25: short row": (GOOD + "1.0,red\n", "line 62: 2 fields where the header has 3"),
    "fault 25: header only": ("size,color,label\n", "must hold rows, it has only a header"),
    "fault 25: header without newline": ("size,color,label", "must hold rows, it has only a header"),
    "fault 25: empty": ("", "it is empty"),
    "fault 25: blank": (" \n\n", "it is empty"),
    "a blank row that may be a value": ('label\nyes\n""\nno\n', "line 3: it is ambiguous whether this is a blank"),
    "blanks": (GOOD.replace(",", "   "), "line 1: 3 fields are separated by blanks; separate them by commas"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_damaged_files_are_refused_with_the_line_and_the_reason(case):
    text, reason = REFUSED[case]
    with pytest.raises(DataError) as refusal:
        read(text)
    assert reason in str(refusal.value)
    assert "table.csv" in str(refusal.value)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_fault_22_named_encodings_are_read(encoding):
    text = GOOD.replace("green", "gr\u00fcn")
    assert rows_of(text.encode(encoding), encoding=encoding) == rows_of(text)


WITHOUT = {
    "numbers": IRIS,
    "a mark for missing": "?," + IRIS[4:],
    "doubled values": "".join(f"{i % 2}.0,{i % 2}.0,{('a', 'b')[i % 2]}\n" for i in range(30)),
    "letters": "".join(f"{'pe'[i % 2]},{'xbf'[i % 3]},{'sy'[i % 2]}\n" for i in range(60)),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_fault_60_a_file_without_a_header_is_asked_about(case):
    text = WITHOUT[case]
    with pytest.raises(DataError, match=r"line 1: the first row looks like values .* use header=False to have it read"):
        read(text)
    frame, _ = read(text, header=False)
    lines = text.splitlines()
    assert frame.to_numpy().tolist() == [line.split(",") for line in lines]
    assert list(frame.columns) == [f"column_{number}" for number in range(1, lines[0].count(",") + 2)]


def test_fault_60_a_first_row_of_numbers_can_be_a_header():
    assert list(read(IRIS, header=True)[0].columns) == ["5.0", "3.0", "0.0", "setosa"]


@pytest.mark.parametrize(
    "header", ["size,color,label", "0,1,2", "2019,2020,2021", ",color,label", "size,red,label", "a,b,c"]
)
def test_fault_60_headers_are_not_asked_about(header):
    rows = [line.split(",") for line in GOOD.splitlines()[1:]]
    assert not looks_like_values(header.split(","), rows)
    numbers = [[str(i), str(2 * i), str(i % 2)] for i in range(30)]
    assert not looks_like_values(header.split(",") if header != ",color,label" else ["", "0", "1"], numbers)


def test_fault_60_a_header_of_the_same_name_twice_is_still_named():
    with pytest.raises(DataError, match="column names must differ, 'size'"):
        read("size,size,label\n" + "".join(f"{i},{i},{'ab'[i % 2]}\n" for i in range(9)))
