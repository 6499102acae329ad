"""What is no table: files whose first bytes say what they are, and what to do with them."""

import re

from hpo.errors import DataError, use

_QUERY = use("data", "sql:SELECT * FROM table_name")
_CONVERT = "save it as CSV or Parquet, or read it with pandas and hand over the frame: hpo.tune(frame, ...)"
_STARTS = {
    b"%PDF": ("a PDF document", "copy its table into a spreadsheet, and save that as CSV"),
    b"\x89PNG": ("an image", "give a table"),
    b"\xff\xd8\xff": ("an image", "give a table"),
    b"GIF8": ("an image", "give a table"),
    b"\x89HDF": ("an HDF5 file", _CONVERT),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": (
        "a spreadsheet in the old Excel format .xls, or another old Office document",
        "save it as .xlsx or CSV",
    ),
    b"$FL2": ("an SPSS file", _CONVERT),
    b"$FL3": ("an SPSS file", _CONVERT),
    b"<stata_dta>": ("a Stata file", _CONVERT),
    bytes(12) + b"\xc2\xea\x81\x60": ("a SAS file", _CONVERT),
    b"HEADER RECORD*******": ("a SAS file", _CONVERT),
    b"Obj\x01": ("an Avro file", _CONVERT),
    b"X\n\0\0\0": ("an R object", "write the table with write.csv in R"),
    b"MATLAB 5.0": ("a MATLAB file", _CONVERT),
    b"Rar!": ("a RAR archive", "unpack it first"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it first"),
    b"\x04\x22\x4d\x18": ("compressed with lz4", "unpack it first"),
    b"version https://git-lfs": ("not here but in Git LFS, and this is a pointer to it", "run git lfs pull"),
    b"SQLite format 3\0": (
        "an SQLite database",
        f"ask it for its rows: {_QUERY} {use('data_url', 'sqlite:///FILE')}",
    ),
}
_PATTERNS = {
    rb"RDX[23][AXB]?\n": ("an R workspace", "write the table with write.csv in R"),
    rb"ORC(?s:.*)ORC.\Z": ("an ORC file", _CONVERT),
    rb"\x80[\x02-\x05][\x95c\]}\x8c(]": (
        "a pickle, which can hold code that would be run, so that it is not read",
        "load it in Python, if you trust it, and hand over the frame: hpo.tune(frame, ...)",
    ),
    rb"[\x69-\x73][\x01\x02]\x01\x00": ("a Stata file", _CONVERT),
    rb".{257}ustar": ("a tar archive", "unpack it first"),
    rb"\s*<(!doctype html|html|head|body)\b": (
        "a web page",
        "was a log-in or an error page saved instead of the file? Download it again",
    ),
    rb"\s*(<\?xml|<!--)": ("an XML file", _CONVERT),
    rb"(\s*%[^\n]*\n|\s)*@relation\b": (
        "an ARFF file",
        "replace what stands before its rows by a header",
    ),
    rb"\{\\rtf": ("a text document", "save its table as CSV"),
}


def refuse_other(name: str, data: bytes) -> None:
    """DataError where the content is known not to be a table that can be read."""
    found = next((said for start, said in _STARTS.items() if data.startswith(start)), None)
    head = data[:65_536]
    found = found or next(
        (said for pattern, said in _PATTERNS.items() if re.match(pattern, head, re.IGNORECASE | re.DOTALL)), None
    )
    if found is not None:
        what, remedy = found
        raise DataError(f"data must be a table ({FORMATS}), {name} is {what}; {remedy}")


FORMATS = "CSV, Parquet, Feather, JSON, Excel or NumPy"
