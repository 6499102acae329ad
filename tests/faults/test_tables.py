"""Tables that change while they are read, that are no files, or for which a machine has no room."""

import contextlib
import os
import socket
import subprocess
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hpo_storage.datasets import fetch_dataset

from hpo.data.prepare import prepare
from hpo.errors import ResourceError
from tests.helpers.databases import opened
from tests.helpers.disks import SmallDisk
from tests.helpers.fleet import CLI
from tests.helpers.invariants import invariants
from tests.helpers.processes import run_python

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)]
ONE = "size,color,label\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(90))
OTHER = ONE.replace("\n7,", "\n8,")
WORDS = ("--data", "table.csv", "--target", "label", "--replicates", 2, "--max-epochs", 1, "--trials", 1)
UNTRAINED, TRAINED = ("--workers", 0), ("--trainers", 1)
IN_THE_CHILD = "import sys\nif 'hpo.data.prepare' in sys.orig_argv:\n    "
AT_ITS_END = "import atexit, os\n    atexit.register(os.replace, 'other.csv', 'table.csv')\n"
AT_ITS_START = "import os\n    os.path.exists('other.csv') and os.replace('other.csv', 'table.csv')\n"

FRAME = """
import hpo, pandas, sys
frame = pandas.read_csv(sys.argv[1])
hpo.create_study(pandas.concat([frame] * 3), "label", storage=sys.argv[1] + ".db")
"""


@pytest.fixture
def disk(tmp_path):
    small = SmallDisk(tmp_path / "disk", 1500)
    yield small
    small.close()


def start(fleet, *words, by=UNTRAINED, **environment):
    """A run of the study `s`, as short as one can be."""
    return fleet.start("run", "--study", "s", *WORDS, "--no-report", *by, *words, **environment)


def assert_refused(fleet, run, *reasons):
    """Exit code 2, the reasons and no traceback; nothing was stored."""
    assert run.wait(120) == 2, run.output
    assert [reason for reason in reasons if reason not in run.output] == [], run.output
    assert "Traceback" not in run.output
    assert not fleet.exists("s")


@pytest.mark.parametrize("when", [AT_ITS_START, AT_ITS_END])
@pytest.mark.parametrize("more", [(), ("--no-store-data",)])
def test_fault_73_a_table_that_is_replaced_while_it_is_prepared(fleet, when, more):
    (fleet.folder / "table.csv").write_text(ONE)
    (fleet.folder / "other.csv").write_text(OTHER)
    environment = fleet.sabotage(IN_THE_CHILD + when)
    assert_refused(fleet, start(fleet, *more, **environment), "table.csv was changed")
    if when == AT_ITS_END and not more:  # and the same again, when nothing changes any more
        again = start(fleet, by=TRAINED)
        assert again.wait(120) == 0, again.output
        record = invariants(fleet.url, "s")
        with opened(fleet.url) as database:
            fetch_dataset(database, record.dataset, fleet.folder / "fetched.csv")
        assert (fleet.folder / "fetched.csv").read_text() == OTHER


def test_fault_73_a_table_that_something_still_writes_to(fleet):
    table = fleet.folder / "table.csv"
    table.write_text(ONE)
    stop = threading.Event()

    def write():
        with table.open("a") as file:
            while not stop.wait(0.02):
                file.write("1,1,1\n")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert_refused(fleet, start(fleet), "table.csv was changed", "a copy")
    finally:
        stop.set()
        writer.join()


def test_fault_81_data_that_is_no_file(fleet):
    folder = fleet.folder
    os.mkfifo(folder / "pipe.csv")
    (folder / "device.csv").symlink_to("/dev/zero")
    (folder / "loop.csv").symlink_to("loop.csv")
    with (folder / "sparse.csv").open("wb") as sparse:
        sparse.truncate(10**11)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(folder / "socket.csv"))
    rule = "data must be a file that can be read more than once"
    cases = {
        "pipe.csv": f"{rule}, pipe.csv is a pipe; write its content to a file first",
        "device.csv": f"{rule}, device.csv is a device",
        "socket.csv": f"{rule}, socket.csv is a socket",
        "/dev/stdin": f"{rule}, /dev/stdin",
        "/proc/kmsg": f"{rule}, /proc/kmsg",
        "loop.csv": "data must be a file that can be read, loop.csv cannot",
        "sparse.csv": "sparse.csv has 100 GB, and at most",
        ".": ". is a folder",
        "x" * 300: "File name too long",
    }
    runs = {path: start(fleet, "--data", path) for path in cases}
    for path, reason in cases.items():
        assert_refused(fleet, runs[path], reason)
    (folder / "table.csv").write_text(ONE)
    shell = " ".join(map(str, [*CLI, "run", "--study", "s", *WORDS, "--data", "<(cat table.csv)"]))
    with (folder / "output.txt").open("wb") as output:
        code = subprocess.run(["bash", "-c", shell], cwd=folder, stdout=output, stderr=output, check=False).returncode
    assert (code, "is a pipe; write its" in (folder / "output.txt").read_text()) == (2, True)


def test_fault_81_reports_that_are_no_files(fleet):
    os.mkfifo(fleet.folder / "pipe.html")
    for name, reason in (("pipe.html", "a pipe or a device"), ("x" * 300 + ".html", "File name too long")):
        assert_refused(fleet, fleet.start("run", "--study", "s", "--report", name), reason)


def wide_table(fleet) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((4000, 40)).astype("float32")).rename(columns=lambda number: f"x{number}")
    frame.assign(label=rng.integers(0, 2, 4000)).to_csv(fleet.folder / "table.csv", index=False)


def test_fault_75_no_room_in_the_temporary_folder(fleet, disk):
    wide_table(fleet)
    place = f"{disk.folder} does not ("
    need = "the data of 2 replicates takes 1.79 MB"
    assert_refused(fleet, start(fleet, TMPDIR=str(disk.folder)), place, need, "are free", "set the variable TMPDIR")
    assert list(disk.folder.iterdir()) == []
    done = run_python(FRAME, fleet.folder / "table.csv", env={**os.environ, "TMPDIR": str(disk.folder)})
    assert "ResourceError: the temporary folder must take" in done.stderr
    assert "a frame of 3.94 MB" in done.stderr
    assert list(disk.folder.iterdir()) == []
    disk.fill()
    assert_refused(fleet, start(fleet, TMPDIR=str(disk.folder)), place, "No space left on device")
    (disk.folder / "filler").unlink()
    disk.grow(20_000)
    again = start(fleet, by=TRAINED, TMPDIR=str(disk.folder))
    assert again.wait(120) == 0, again.output
    invariants(fleet.url, "s")
    assert list(disk.folder.iterdir()) == []


def test_fault_75_room_that_goes_while_arrays_are_written(fleet, disk, monkeypatch):
    wide_table(fleet)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(total=0))
    data = {"kind": "file", "source": str(fleet.folder / "table.csv"), "target": "label", "sha256": ""}
    with pytest.raises(ResourceError, match=r"disk does not \(.*\): the data of 5 replicates takes"):
        prepare({"data": data, "evaluation": {}, "seed": 0, "folder": str(disk.folder), "copy": None})


def test_fault_75_no_room_for_the_stored_copy(fleet, disk):
    wide_table(fleet)
    watcher = start(fleet)
    fleet.wait_for(lambda: fleet.exists("s"))
    worker = fleet.start("worker", "--study", "s", "--trainers", 1, TMPDIR=str(disk.folder))
    fleet.wait_for(lambda: "make room for" in worker.output)
    assert f"{disk.folder}" in worker.output
    worker.end()
    other = fleet.start("worker", "--trainers", 1, "--once")
    assert [other.wait(120), watcher.wait()] == [0, 0], fleet.outputs
    invariants(fleet.url, "s")


@pytest.mark.parametrize("place", ["nowhere", "file.txt", "/proc"])
def test_fault_75_a_temporary_folder_that_is_none(fleet, place):
    (fleet.folder / "table.csv").write_text(ONE)
    (fleet.folder / "file.txt").touch()
    assert_refused(fleet, start(fleet, TMPDIR=place), f"{fleet.folder / place} does not (", "TMPDIR")


def test_fault_75_no_memory(fleet):
    (fleet.folder / "table.csv").write_text(ONE)
    killed = IN_THE_CHILD + "import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    assert_refused(fleet, start(fleet, **fleet.sabotage(killed)), "killed by SIGKILL", "memory is short")
    refused = IN_THE_CHILD + "import hpo.data.prepare as child\n    import hpo.study.facts\n"
    refused += "    def prepare(*_): raise MemoryError\n    import json; json.loads = prepare\n"
    (fleet.folder / "sabotage" / "sitecustomize.py").write_text(refused)
    path = os.pathsep.join(filter(None, (str(fleet.folder / "sabotage"), os.environ.get("PYTHONPATH"))))
    assert_refused(fleet, start(fleet, PYTHONPATH=path), "must fit into the memory of this machine")
