"""`python -m hpo.data.prepare`: the child process that turns a study's data into arrays for its trainers.

One JSON request on standard input, one JSON answer on standard output. numpy, pandas and scikit-learn are
imported late: after the number of threads is set, and scikit-learn only once the data is known to be good.
"""

import errno
import gc
import json
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpo.errors import InputError, use
from hpo.processes import end_with_supervisor, give_memory_back, unusable
from hpo.study.facts import Facts
from hpo.words import bytes_text, count_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hpo.data.resampling import Resample, RowNumbers
    from hpo.data.spec import DataSpec
    from hpo.data.table import Table
    from hpo.data.target import RowWeights
    from hpo.settings import EvaluationSpec

    FloatArray = npt.NDArray[np.float32]
    Inputs = tuple[int, Callable[[int, int], FloatArray]]

Tell = Callable[[str, float | None], None]
SILENT_SECONDS, TELL_SECONDS = 2.0, 0.5
"""How long nothing is told of what is done now, and how often it is told then."""
RARE_COLLECTIONS = 200_000
"""Imports make many objects and no garbage: looking for it is a fifth of the start-up."""
NO_MEMORY = (
    "a table must fit into the memory of this machine while it is prepared, there was not enough; "
    "use a machine with more, or fewer rows or columns"
)
POOL_VARIABLE = "ARROW_DEFAULT_MEMORY_POOL"
"""Arrow's own pools keep what a table took after it is gone."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Known(Protocol):
    """What a child has found."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""


class Teller:
    """Says on standard output what is done now, from a thread, as one step may take long; nothing where all is soon
    done."""

    def __init__(self) -> None:
        self._now: dict[str, Any] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Teller":
        self._thread.start()
        return self

    def __call__(self, step: str, share: float | None) -> None:
        """What is done now."""
        self._now = {"step": step, "share": share}

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        told, wait = None, SILENT_SECONDS
        while not self._over.wait(wait):
            if self._now is not told:
                told, wait = self._now, TELL_SECONDS
                sys.stdout.write(json.dumps(told) + "\n")
                sys.stdout.flush()


def prepare(request: Mapping[str, Any], tell: Tell = lambda step, share: None) -> Facts:
    """Read, check and resample the data, write each replicate's arrays into a folder and return the facts.

    Args:
        request: `data` and `evaluation` (DataSpec and EvaluationSpec as JSON), `seed`, `folder` (exists),
            `copy` (a file with the content of the data, read instead of its source, or None).
        tell: is called with what is done now and, where that is known, which share of it is done.

    Raises DataError where the data cannot be used, and nothing is written then; ResourceError where the folder has no
    room for the arrays.
    """
    from hpo.data.spec import DataSpec
    from hpo.settings import EvaluationSpec

    spec = DataSpec(**request["data"])
    evaluation = EvaluationSpec(**request["evaluation"])
    copy = request.get("copy")
    table, sha256 = read_table(spec, evaluation, Path(copy) if copy else None, tell)
    tell("dividing the rows", None)
    parts, notes = _divided(table, evaluation, request["seed"])
    give_memory_back()
    folder = Path(request["folder"])
    balanced = evaluation.class_weights == "balanced"
    inputs_of = _earlier_inputs if spec.preparation == 1 else partial(_inputs, folder)
    features = _write_replicates(folder, table, parts, inputs_of, balanced, tell)
    facts = _facts(table, parts, features, sha256, notes)
    (folder / "prepared.json").write_text(json.dumps(facts.to_json()), "utf-8")
    return facts


def read_table(
    spec: "DataSpec", evaluation: "EvaluationSpec", copy: Path | None, tell: Tell = lambda step, share: None
) -> "tuple[Table, str]":
    """The table that `spec` names, or that a copy of it holds, and the hash of its content; raises DataError."""
    from hpo.data.source import read_source
    from hpo.data.table import table_of

    tell("reading", None)
    source = read_source(spec, copy)
    give_memory_back()
    tell("looking at the columns", None)
    table, sha256 = table_of(source, spec, evaluation), source.sha256
    del source  # the table holds what is needed of it
    give_memory_back()
    return table, sha256


def _divided(table: "Table", evaluation: "EvaluationSpec", seed: int) -> tuple["Sequence[Resample]", list[str]]:
    """The rows of each replicate's parts, and what a person should know of them."""
    from hpo.data.forward import forward, forward_notes
    from hpo.data.resampling import resamples

    target = table.target
    if table.times is None:
        return resamples(target.strata, evaluation, seed, table.groups, names=target.classes), []
    parts = forward(table.times, evaluation)
    return parts, forward_notes(table.times, target, parts)


def _facts(table: "Table", parts: "Sequence[Resample]", features: int, sha256: str, notes: Sequence[str]) -> Facts:
    from hpo.data.warning_signs import warnings_about

    target = table.target
    train_rows, most = len(parts[0].train), max(len(part.train) for part in parts)
    return Facts(
        rows=len(target.strata),
        features=features,
        columns=table.columns,
        task=target.task,
        head=target.head.name,
        outputs=target.head.outputs,
        classes=target.classes,
        class_counts=target.counts,
        target_mean=target.mean,
        target_deviation=target.deviation,
        loss_name=target.loss.name,
        prior_loss=target.prior_loss,
        notes=(*table.notes, *notes, *warnings_about(table)),
        replicates=len(parts),
        train_rows=train_rows,
        most_train_rows=most if most > train_rows else None,
        sha256=sha256,
    )


def _inputs(folder: Path, table: "Table", number: int, train: "RowNumbers") -> "Inputs":
    """How many inputs a replicate's networks have, and the function from a range of rows to them; what they are fitted
    to is kept beside its arrays."""
    from hpo.data.features import fit
    from hpo.data.prepared import FEATURES, SCALES

    state = fit(table.frame, table.columns, train)
    state.save(folder / FEATURES.format(number))
    state.scales.save(folder / SCALES.format(number))
    return state.width, lambda first, end: state.transform(table.frame.iloc[first:end])


def _earlier_inputs(table: "Table", number: int, train: "RowNumbers") -> "Inputs":
    """The same in studies of earlier versions, which keep nothing."""
    from hpo.data.earlier import encode

    encoded = encode(table.frame, table.columns, train.astype("intp"))
    return encoded.shape[1], lambda first, end: encoded[first:end]


def _write_replicates(
    folder: Path,
    table: "Table",
    parts: "Sequence[Resample]",
    inputs_of: "Callable[[Table, int, RowNumbers], Inputs]",
    balanced: bool,
    tell: Tell = lambda step, share: None,
) -> int:
    """Write the arrays of one replicate after the other, pad them with zero columns to one width, and return it.

    Widths differ where few rows hold a category; only the narrower arrays are read again.
    """
    from hpo.data.arrays import widen, write_inputs
    from hpo.data.prepared import PARTS

    need, widths = "", list[int]()
    try:
        for number, part in enumerate(parts):
            tell("writing the replicates", number / len(parts))
            width, inputs = inputs_of(table, number, part.train)
            widths.append(width)
            if not need:
                need = _check_room(folder, _bytes(table, parts, widths[0]), len(parts))
            for done in write_inputs(folder, number, part, width, len(table.frame), inputs):
                tell("writing the replicates", (number + done) / len(parts))
            del inputs  # before the next ones are made
            _write_targets(folder, table, number, part, balanced)
        width = max(1, *widths)
        for number in (number for number, narrow in enumerate(widths) if narrow < width):
            for name in PARTS:
                widen(folder / f"{name}_x.{number}.npy", width)
    except OSError as error:
        raise unusable(folder, error, need) from None
    return width


def _bytes(table: "Table", parts: "Sequence[Resample]", width: int) -> int:
    """What the arrays of all replicates take."""
    from hpo.data.prepared import PARTS

    values = table.target.values
    row = 4 * width + values.nbytes // max(1, len(values)) + 4
    return row * sum(len(getattr(part, name)) for part in parts for name in PARTS)


def _check_room(folder: Path, needed: int, replicates: int) -> str:
    """What the arrays need, as a text; ResourceError where the folder has no room for that."""
    need = (
        f"the data of {count_text(replicates, 'replicate')} takes {bytes_text(needed)}, and fewer "
        f"{use('replicates')} take less"
    )
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < needed:
        raise unusable(folder, OSError(errno.ENOSPC, f"{bytes_text(disk.free)} are free"), need)
    return need


def _write_targets(folder: Path, table: "Table", number: int, part: "Resample", balanced: bool) -> None:
    """Write one replicate's targets and weights."""
    import numpy as np

    from hpo.data.prepared import PARTS

    for name in PARTS:
        rows = getattr(part, name)
        np.save(folder / f"{name}_y.{number}.npy", table.target.values[rows])
        weights = _weights(table, rows, balanced and name == "train")
        if weights is not None:
            np.save(folder / f"{name}_w.{number}.npy", weights)


def _weights(table: "Table", rows: "RowNumbers", balanced: bool) -> "RowWeights":
    """(rows,) of a part; None where all count alike."""
    from hpo.data.weights import balanced_weights

    weights = None if table.weights is None else table.weights[rows]
    if not balanced:
        return weights
    by_class = balanced_weights(table.target.strata[rows], len(table.target.classes))
    return by_class if weights is None else weights * by_class


def _prepared(request: Mapping[str, Any]) -> Facts:
    try:
        with Teller() as tell:
            return prepare(request, tell)
    except OSError as error:  # what is read has errors of its own
        raise unusable(Path(request["folder"]), error) from None


def main(work: Callable[[Mapping[str, Any]], "Known"]) -> None:
    """Answer one request with what `work` finds, and be it with the traceback of something unexpected."""
    end_with_supervisor()
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    os.environ.setdefault(POOL_VARIABLE, "system")
    gc.set_threshold(RARE_COLLECTIONS)
    try:
        answer: dict[str, Any] = {"ok": True, "facts": work(json.loads(sys.stdin.readline())).to_json()}
    except InputError as error:
        answer = {"ok": False, "kind": type(error).__name__, "message": error.marked, "setting": error.setting}
    except MemoryError:
        answer = {"ok": False, "kind": "ResourceError", "message": NO_MEMORY, "setting": None}
    except Exception:
        answer = {"ok": False, "kind": None, "message": traceback.format_exc(), "setting": None}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(_prepared)
