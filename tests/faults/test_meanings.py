"""What columns mean, through the command line: corrections, and studies that were made before there were kinds."""

import sqlite3

import pytest

from hpo.data.earlier_columns import NOTE
from hpo.study.facts import Facts
from tests.helpers.databases import read

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)]
CARS = "power,fuel,zip,when,owner,price\n" + "".join(
    f'{700 + i} CC,{("gas", "diesel", "?")[i % 3]},{10 + i % 4},{1 + i % 28:02}.01.24,"Mr. {i}","${900 + i * 7:,}"\n'
    for i in range(90)
)
WORDS = ("--data", "cars.csv", "--target", "price", "--replicates", 2, "--max-epochs", 1, "--trainers", 1)


def run(fleet, *words):
    started = fleet.start("run", "--study", "s", "--no-report", *words)
    return started.wait(120), started.output


def test_faults_52_and_62_columns_are_understood_and_corrected(fleet):
    (fleet.folder / "cars.csv").write_text(CARS)
    code, output = run(fleet, *WORDS, "--trials", 1, "--kind", "zpi=category")
    assert (code, "got 'zpi'; did you mean 'zip'? Use --kind zip=category" in output) == (2, True), output
    corrected = ("--kind", "zip=category", "--kind", "when=date:%d.%m.%y", "--drop", "owner", "--missing", "?")
    code, output = run(fleet, *WORDS, *corrected, "--trials", 1)
    assert code == 0, output
    assert "note: the target 'price': numbers with '$'" in output
    assert "note: column 'power': numbers with 'CC'" in output
    facts = Facts.from_json(read(fleet.url, "s").facts)
    kinds = {"power": "number", "fuel": "category", "zip": "category", "when": "date"}
    assert {column.name: column.kind for column in facts.columns} == kinds
    assert facts.task == "regression"
    code, output = run(fleet, "--kind", "zip=number")
    assert (code, "stored with other settings" in output) == (2, True), output


def test_a_study_of_an_earlier_version_says_how_it_is_prepared(fleet):
    table = "x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(60))
    (fleet.folder / "cars.csv").write_text(table)
    code, output = run(fleet, "--data", "cars.csv", "--target", "y", *WORDS[4:], "--trials", 1, "--scaling", "standard")
    assert (code, NOTE in output) == (0, False), output
    with sqlite3.connect(fleet.folder / "hpo.db") as database:
        newer = ("data.preparation", "data.corrections", "evaluation.scaling")
        old = f"json_remove(spec, {', '.join(repr(f'$.objective.part.{place}') for place in newer)})"
        database.execute(f"update hpo_studies set spec = {old}")
    database.close()
    code, output = run(fleet, "--trials", 2, "--trainers", 1)
    assert (code, output.count(f"note: {NOTE}")) == (0, 1), output
