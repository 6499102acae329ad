"""`python -m hpo.data.prepare`: the child process that turns a study's data into arrays for its trainers.

One JSON request on standard input, one JSON answer on standard output. numpy, pandas and scikit-learn are
imported late: after the number of threads is set, and scikit-learn only once the data is known to be good.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hpo.data.resampling import Resample
    from hpo.data.table import Table

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def prepare(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read, check and resample the data, write each replicate's arrays into a folder and return the facts.

    Args:
        request: `data` and `evaluation` (DataSpec and EvaluationSpec as JSON), `seed`, `folder` (exists),
            `frame_path` (a Parquet file where the data is a frame, else None).

    Returns:
        rows, features (inputs of the network), columns, classes, class_counts, prior_loss (nats: log loss of
        predicting the classes' frequencies), notes, replicates, train_rows (of replicate 0), sha256.

    Raises DataError where the data cannot be used; nothing is written then.
    """
    from hpo.data.resampling import resamples
    from hpo.data.source import read_source
    from hpo.data.table import build_table
    from hpo.study.spec import DataSpec, EvaluationSpec

    spec = DataSpec.model_validate(request["data"])
    evaluation = EvaluationSpec.model_validate(request["evaluation"])
    frame_path = request.get("frame_path")
    source = read_source(spec, Path(frame_path) if frame_path else None)
    table = build_table(source, spec.target, evaluation.group)
    parts = resamples(table.labels, evaluation, request["seed"], table.groups, names=table.classes)
    folder = Path(request["folder"])
    features = _write_replicates(folder, table, parts)
    facts = _facts(table, parts, features) | {"sha256": source.sha256}
    (folder / "prepared.json").write_text(json.dumps(facts), "utf-8")
    return facts


def _facts(table: "Table", parts: "Sequence[Resample]", features: int) -> dict[str, Any]:
    import numpy as np

    counts = np.bincount(table.labels)
    shares = counts / counts.sum()
    return {
        "rows": len(table.labels),
        "features": features,
        "columns": [asdict(column) for column in table.columns],
        "classes": list(table.classes),
        "class_counts": counts.tolist(),
        "prior_loss": float(-(shares * np.log(shares)).sum()),
        "notes": list(table.notes),
        "replicates": len(parts),
        "train_rows": len(parts[0].train),
    }


def _write_replicates(folder: Path, table: "Table", parts: "Sequence[Resample]") -> int:
    """Write the arrays of all replicates, padded with zero columns to one width, and return it."""
    import numpy as np

    from hpo.data.features import encode

    encoded = [encode(table.frame, table.columns, part.train) for part in parts]
    width: int = max(1, *(array.shape[1] for array in encoded))
    for number, (array, part) in enumerate(zip(encoded, parts, strict=True)):
        for name, rows in (("train", part.train), ("stop", part.stop), ("score", part.score)):
            np.save(folder / f"{name}_x.{number}.npy", _padded(array[rows], width))
            np.save(folder / f"{name}_y.{number}.npy", table.labels[rows])
    return width


def _padded(array: "npt.NDArray[np.float32]", width: int) -> "npt.NDArray[np.float32]":
    import numpy as np

    padded = np.zeros((len(array), width), np.float32)
    padded[:, : array.shape[1]] = array
    return padded


def main() -> None:
    """Answer one request; an unexpected exception leaves its traceback and exit code 1."""
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    try:
        answer: dict[str, Any] = {"ok": True, "facts": prepare(json.loads(sys.stdin.readline()))}
    except InputError as error:
        answer = {"ok": False, "kind": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
