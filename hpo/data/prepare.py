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
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpo.errors import InputError, use
from hpo.processes import end_with_supervisor, unusable
from hpo.study.facts import Facts
from hpo.words import bytes_text, count_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hpo.data.resampling import IntArray, Resample
    from hpo.data.table import Table
    from hpo.data.target import RowWeights

    FloatArray = npt.NDArray[np.float32]

RARE_COLLECTIONS = 200_000
"""Imports make many objects and no garbage: looking for it is a fifth of the start-up."""
NO_MEMORY = (
    "a table must fit into the memory of this machine while it is prepared, there was not enough; "
    "use a machine with more, or fewer rows or columns"
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Known(Protocol):
    """What a child has found."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""


def prepare(request: Mapping[str, Any]) -> Facts:
    """Read, check and resample the data, write each replicate's arrays into a folder and return the facts.

    Args:
        request: `data` and `evaluation` (DataSpec and EvaluationSpec as JSON), `seed`, `folder` (exists),
            `copy` (a file with the content of the data, read instead of its source, or None).

    Raises DataError where the data cannot be used, and nothing is written then; ResourceError where the folder has no
    room for the arrays.
    """
    from hpo.data.resampling import resamples
    from hpo.data.source import read_source
    from hpo.data.spec import DataSpec
    from hpo.data.table import build_table
    from hpo.settings import EvaluationSpec

    spec = DataSpec(**request["data"])
    evaluation = EvaluationSpec(**request["evaluation"])
    copy = request.get("copy")
    source = read_source(spec, Path(copy) if copy else None)
    table = build_table(source, spec.target, evaluation)
    target = table.target
    parts = resamples(target.strata, evaluation, request["seed"], table.groups, names=target.classes)
    folder = Path(request["folder"])
    balanced = evaluation.class_weights == "balanced"
    features = _write_replicates(folder, table, parts, balanced)
    facts = _facts(table, parts, features, source.sha256)
    (folder / "prepared.json").write_text(json.dumps(facts.to_json()), "utf-8")
    return facts


def _facts(table: "Table", parts: "Sequence[Resample]", features: int, sha256: str) -> Facts:
    from hpo.data.warning_signs import warnings_about

    target = table.target
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
        notes=(*table.notes, *warnings_about(table)),
        replicates=len(parts),
        train_rows=len(parts[0].train),
        sha256=sha256,
    )


def _write_replicates(folder: Path, table: "Table", parts: "Sequence[Resample]", balanced: bool) -> int:
    """Write the arrays of one replicate after the other, pad them with zero columns to one width, and return it.

    Widths differ where few rows hold a category; only the narrower arrays are read again.
    """
    from hpo.data.features import encode
    from hpo.data.prepared import PARTS

    need, widths = "", list[int]()
    try:
        for number, part in enumerate(parts):
            encoded = encode(table.frame, table.columns, part.train)
            widths.append(encoded.shape[1])
            if not need:
                need = _check_room(folder, _bytes(table, parts, widths[0]), len(parts))
            _write_replicate(folder, table, number, part, encoded, balanced)
            del encoded  # before the next one is made
        width = max(1, *widths)
        for number in (number for number, narrow in enumerate(widths) if narrow < width):
            for name in PARTS:
                _pad(folder / f"{name}_x.{number}.npy", width)
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


def _write_replicate(
    folder: Path, table: "Table", number: int, part: "Resample", encoded: "FloatArray", balanced: bool
) -> None:
    """Write one replicate's arrays."""
    import numpy as np

    from hpo.data.prepared import PARTS

    for name in PARTS:
        rows = getattr(part, name)
        np.save(folder / f"{name}_x.{number}.npy", encoded[rows])
        np.save(folder / f"{name}_y.{number}.npy", table.target.values[rows])
        weights = _weights(table, rows, balanced and name == "train")
        if weights is not None:
            np.save(folder / f"{name}_w.{number}.npy", weights)


def _weights(table: "Table", rows: "IntArray", balanced: bool) -> "RowWeights":
    """(rows,) of a part; None where all count alike."""
    from hpo.data.weights import balanced_weights

    weights = None if table.weights is None else table.weights[rows]
    if not balanced:
        return weights
    by_class = balanced_weights(table.target.strata[rows], len(table.target.classes))
    return by_class if weights is None else weights * by_class


def _pad(path: Path, width: int) -> None:
    import numpy as np

    narrow = np.load(path)
    padded = np.zeros((len(narrow), width), np.float32)
    padded[:, : narrow.shape[1]] = narrow
    np.save(path, padded)


def _prepared(request: Mapping[str, Any]) -> Facts:
    try:
        return prepare(request)
    except OSError as error:  # what is read has errors of its own
        raise unusable(Path(request["folder"]), error) from None


def main(work: Callable[[Mapping[str, Any]], "Known"]) -> None:
    """Answer one request with what `work` finds, and be it with the traceback of something unexpected."""
    end_with_supervisor()
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
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
