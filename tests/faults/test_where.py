"""README.md says where each fault is tested."""

import re
from pathlib import Path

HERE = Path(__file__).parent
FAULTS = (*range(1, 21), 27, 28, *range(30, 34), *range(43, 51), 52, 53, *range(55, 59), *range(61, 67), *range(68, 83))
ROWS = re.findall(r"^\| (\d+) \|.*$", (HERE / "README.md").read_text(), re.MULTILINE)
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", (HERE / "README.md").read_text())


def source(path: str) -> str:
    return ((HERE.parents[1] if "/" in path else HERE) / path).read_text()


def test_every_fault_is_tested_where_the_table_says():
    assert [int(number) for number in ROWS] == list(FAULTS)
    assert [f"{path}::{name}" for path, name in NAMED if f"def {name}(" not in source(path)] == []


def test_every_test_is_in_the_table():
    here = {
        (path.name, name)
        for path in HERE.glob("test_*.py")
        for name in re.findall(r"def (test_fault\w+)", path.read_text())
    }
    assert here == {(path, name) for path, name in NAMED if "/" not in path}
