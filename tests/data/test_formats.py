"""Tables in other forms than CSV, packed or not, and what is refused with its true cause."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import sys
import tarfile
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pytest

from hpo.data.source import read_source
from hpo.data.spec import DataSpec
from hpo.errors import DataError, ResourceError

FRAME = pd.DataFrame(
    {
        "size": [i + 0.5 for i in range(20)],
        "color": [("red", None, "green")[i % 3] for i in range(20)],
        "label": [("yes", "no")[i % 2] for i in range(20)],
    }
)
CSV = FRAME.to_csv(index=False).encode()


@pytest.fixture
def read(tmp_path):
    """Writes a file of the given bytes and reads it."""

    def read(content, name="table.bin", **spec):
        path = tmp_path / name
        path.write_bytes(content)
        return read_source(DataSpec(kind="file", source=str(path), target="label", **spec))

    return read


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def written(write):
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def streamed(frame):
    table, sink = pa.table(frame), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


PACKED = {
    "gzip": gzip.compress(CSV),
    "bzip2": bz2.compress(CSV),
    "xz": lzma.compress(CSV),
    "zstd": pa.compress(CSV, "zstd", asbytes=True),
    "zip": zipped(**{"a.csv": CSV, "__MACOSX/a.csv": b"x"}),
}


@pytest.mark.parametrize("way", PACKED)
def test_fault_59_packed_files_are_recognized_by_their_content(read, way):
    source = read(PACKED[way])
    pd.testing.assert_frame_equal(source.frame, FRAME, check_dtype=False)
    assert source.notes == (f"the file is packed with {way}",)
    pd.testing.assert_frame_equal(read(gzip.compress(FRAME.to_parquet())).frame, FRAME, check_dtype=False)


@pytest.mark.parametrize("way", PACKED)
def test_fault_21_packed_files_that_are_cut_off_are_refused(read, way):
    with pytest.raises(DataError, match=f"is a {way} file that cannot be unpacked"):
        read(PACKED[way][: len(PACKED[way]) // 2])


def test_packed_files_that_would_not_fit_are_refused(read, monkeypatch):
    monkeypatch.setattr("hpo.data.packed.usable_memory", lambda: 400)
    with pytest.raises(ResourceError, match=r"table\.bin holds has over 200 bytes; use fewer rows"):
        read(PACKED["gzip"])


FORMS = {
    "Parquet": FRAME.to_parquet(),
    "Feather": written(lambda stream: pyarrow.feather.write_feather(FRAME, stream)),
    "Arrow stream": streamed(FRAME),
    "JSON lines": FRAME.to_json(orient="records", lines=True).encode(),
    "JSON array": b"\xef\xbb\xbf\n " + FRAME.to_json(orient="records", indent=1).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_fault_59_other_formats_are_recognized_by_their_content(read, form):
    pd.testing.assert_frame_equal(read(FORMS[form]).frame, FRAME, check_dtype=False)


def test_fault_59_arrays_are_read_with_numbers_or_names(read):
    x, y = np.arange(60.0).reshape(20, 3), np.array(["a", "b"] * 10)
    frame = read(written(lambda stream: np.save(stream, x))).frame
    assert list(frame.columns) == ["column_1", "column_2", "column_3"]
    assert frame.to_numpy().tolist() == x.tolist()
    both = read(written(lambda stream: np.savez_compressed(stream, X=x, y=y))).frame
    assert list(both.columns) == ["X_1", "X_2", "X_3", "y"]
    assert both["y"].tolist() == y.tolist()
    named = np.array([(1, 2.5)] * 9, dtype=[("a", "i4"), ("b", "f8")])
    assert list(read(written(lambda stream: np.save(stream, named))).frame.columns) == ["a", "b"]


def test_a_header_is_refused_where_names_stand_elsewhere(read):
    with pytest.raises(DataError, match=r"a header is for CSV and Excel files, .* is Feather"):
        read(FORMS["Feather"], header=False)


def test_fault_60_studies_of_the_second_preparation_read_texts(read):
    assert read(CSV, preparation=2).frame["size"].tolist()[0] == "0.5"
    assert read(CSV, preparation=2).as_written
    with pytest.raises(DataError, match="the first row looks like values"):
        read(CSV.partition(b"\n")[2], preparation=2)
    assert read(CSV).frame["size"].tolist()[0] == 0.5
    assert not read(CSV).as_written


def test_json_of_several_kinds_of_values_is_read(read):
    lines = [{"a": 1, "b": True, "c": 1}, {"a": 2.5, "c": "x"}, {"a": None, "b": False, "c": 2.0}]
    frame = read("\n".join(map(json.dumps, lines)).encode()).frame
    assert frame["a"].tolist()[:2] == [1.0, 2.5]
    assert frame["c"].tolist() == ["1", "x", "2"]
    assert frame["b"].isna().tolist() == [False, True, False]


def test_fault_59_the_first_sheet_of_an_excel_file_is_read(read):
    book = openpyxl.Workbook()
    book.create_sheet("second").append(["x"])
    for row in [list(FRAME.columns), *FRAME.astype(object).where(FRAME.notna(), None).to_numpy().tolist()]:
        book.worksheets[0].append(row)
    source = read(written(book.save))
    pd.testing.assert_frame_equal(source.frame, FRAME, check_dtype=False)
    assert source.notes == ("sheet 'Sheet' is read, the first of 2",)


def test_fault_59_excel_without_its_package_says_what_to_install(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ResourceError, match=r"openpyxl, which is not installed, .* pip install 'hpo\[excel\]'"):
        read(zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}))


def tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))
    return stream.getvalue()


def sqlite():
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (x)")
        return database.serialize()


REFUSED = {
    "a web page": (b"\n<!DOCTYPE html>\n<html><body>404", "is a web page; was a log-in or an error page saved"),
    "PDF": (b"%PDF-1.7\n", "is a PDF document"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "is an image"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file; save it as CSV or Parquet"),
    "pickle": (pickle.dumps(FRAME), "is a pickle, which can hold code that would be run, so that it is not read"),
    "pickled list": (pickle.dumps([1, 2], protocol=2), "is a pickle"),
    "SQLite": (sqlite(), "is an SQLite database; ask it for its rows: data='sql:SELECT * FROM table_name' data_url="),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "old Excel format .xls, or another old Office doc"),
    "OpenDocument": (zipped(mimetype="x", **{"content.xml": ""}), "is a document of an office program, but no .xlsx"),
    "SPSS": (b"$FL2@(#) SPSS DATA FILE", "is an SPSS file"),
    "Stata": (b"<stata_dta><header>", "is a Stata file"),
    "SAS": (bytes(12) + bytes.fromhex("c2ea8160b31411cfbd92080009c7318c"), "is a SAS file"),
    "tar": (gzip.compress(tar()), "is a tar archive"),
    "ARFF": (b"% a comment\n@RELATION iris\n", "is an ARFF file"),
    "several files": (zipped(a=b"x", b=b"y"), "must hold one table, "),
    "Python objects": (
        written(lambda stream: np.save(stream, np.array([{}]), allow_pickle=True)),
        "it holds Python objects, which can be code",
    ),
    "a cube": (written(lambda stream: np.save(stream, np.zeros((2, 2, 2)))), "must have 1 or 2 dimensions"),
    "unequal arrays": (
        written(lambda stream: np.savez(stream, a=np.zeros(3), b=np.zeros(4))),
        "must have as many rows",
    ),
    "JSON cut off": (FORMS["JSON array"][:-30], "no readable JSON"),
    "JSON of one object": (b'{\n "a": [1, 2],\n "b": [3, 4]\n}', "line 1: no readable JSON"),
    "JSON of lists": (b"[[1, 2], [3, 4]]", "JSON must hold an object for each row"),
    "no rows": (FRAME.head(0).to_parquet(), "must hold rows, it has none"),
    "cut off": (FORMS["Feather"][:-40], "is no readable Feather file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_fault_59_what_is_not_read_is_refused_with_the_true_cause(read, case):
    content, reason = REFUSED[case]
    with pytest.raises(DataError) as refusal:
        read(content, preparation=2)
    assert reason in str(refusal.value)
    assert "table.bin" in str(refusal.value)


@pytest.mark.parametrize("header", ["ORCID,x,label", "RDX2,x,label", "RDX,ORC,label"])
def test_fault_59_names_of_columns_are_no_formats(read, header):
    text = (header + "\n" + "0001,2.5,a\n0002,3.5,b\n" * 10).encode()
    assert list(read(text, preparation=2).frame.columns) == header.split(",")
    assert list(read(text).frame.columns) == header.split(",")


def test_fault_22_a_header_in_another_encoding_is_refused(read):
    text = "größe,x,label\n" + "1,2.5,a\n2,3.5,b\n" * 10
    with pytest.raises(DataError, match="line 1: byte 0xf6 is not UTF-8"):
        read(text.encode("cp1252"), preparation=2)
    assert "größe" in read(text.encode("cp1252"), encoding="cp1252", preparation=2).frame
    assert "gr\ufffd" in read(text.replace("größe", "gr\ufffd").encode(), preparation=2).frame
