"""`python -m hpo.data.prepare`: the child process that turns a study's data into arrays for its trainers.

One JSON request on standard input, one JSON answer on standard output. numpy, pandas and scikit-learn are
imported late: after the number of threads is set, and scikit-learn only once the data is known to be good.
"""

import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import InputError
from hpo.study.facts import Facts, InputColumn

if TYPE_CHECKING:
    from hpo.data.resampling import IntArray, Resample
    from hpo.data.table import Table
    from hpo.data.target import RowWeights

RARE_COLLECTIONS = 200_000
"""Imports make many objects and no garbage: looking for it is a fifth of the start-up."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def prepare(request: Mapping[str, Any]) -> Facts:
    """Read, check and resample the data, write each replicate's arrays into a folder and return the facts.

    Args:
        request: `data` and `evaluation` (DataSpec and EvaluationSpec as JSON), `seed`, `folder` (exists),
            `copy` (a file with the content of the data, read instead of its source, or None).

    Raises DataError where the data cannot be used; nothing is written then.
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
    target = table.target
    return Facts(
        rows=len(target.strata),
        features=features,
        columns=tuple(InputColumn(name=column.name, kind=column.kind) for column in table.columns),
        task=target.task,
        head=target.head.name,
        outputs=target.head.outputs,
        classes=target.classes,
        class_counts=target.counts,
        target_mean=target.mean,
        target_deviation=target.deviation,
        loss_name=target.loss.name,
        prior_loss=target.prior_loss,
        notes=tuple(table.notes),
        replicates=len(parts),
        train_rows=len(parts[0].train),
        sha256=sha256,
    )


def _write_replicates(folder: Path, table: "Table", parts: "Sequence[Resample]", balanced: bool) -> int:
    """Write the arrays of one replicate after the other, pad them with zero columns to one width, and return it.

    Widths differ where few rows hold a category; only the narrower arrays are read again.
    """
    from hpo.data.prepared import PARTS

    widths = [_write_replicate(folder, table, number, part, balanced) for number, part in enumerate(parts)]
    width = max(1, *widths)
    for number in (number for number, narrow in enumerate(widths) if narrow < width):
        for name in PARTS:
            _pad(folder / f"{name}_x.{number}.npy", width)
    return width


def _write_replicate(folder: Path, table: "Table", number: int, part: "Resample", balanced: bool) -> int:
    """Write one replicate's arrays, and return how many inputs it has."""
    import numpy as np

    from hpo.data.features import encode
    from hpo.data.prepared import PARTS

    encoded = encode(table.frame, table.columns, part.train)
    for name in PARTS:
        rows = getattr(part, name)
        np.save(folder / f"{name}_x.{number}.npy", encoded[rows])
        np.save(folder / f"{name}_y.{number}.npy", table.target.values[rows])
        weights = _weights(table, rows, balanced and name == "train")
        if weights is not None:
            np.save(folder / f"{name}_w.{number}.npy", weights)
    width: int = encoded.shape[1]
    return width


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


def main() -> None:
    """Answer one request; an unexpected exception leaves its traceback and exit code 1."""
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    gc.set_threshold(RARE_COLLECTIONS)
    try:
        answer: dict[str, Any] = {"ok": True, "facts": prepare(json.loads(sys.stdin.readline())).to_json()}
    except InputError as error:
        answer = {"ok": False, "kind": type(error).__name__, "message": error.marked, "setting": error.setting}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
