"""hpo against what a user would write today, on the same data, replicates and stopping rule.

    python benchmarks/compare.py trials  --table T/vehicle.csv T/segment.csv --torch-python V/bin/python
    python benchmarks/compare.py quality --table T/vehicle.csv --torch-python V/bin/python --seeds 10 --torch-seeds 3

`trials` runs the same list of trials to their end on all sides, each with the whole machine to itself, without racing
and pruning, and prints trials per hour, mean log losses and their ratios: for all trials, for those of networks under
100,000 parameters alone, and for those that MLPClassifier can express, without their dropout on both sides. The peers
are plain Keras, a PyTorch loop in two processes of one thread each and in one process with two threads, and
MLPClassifier in two processes; see `torch_peer.py` for how PyTorch is installed. Start-up counts on no side.

`quality` takes the best log loss that plain Keras with Optuna had after so many trials, and measures how long hpo needs
from process start to reach it, with racing and pruning on, and how long the PyTorch loop needs with Optuna's TPE and
median pruner in two processes (without the preparation of the data, which counts for hpo).

The side of plain Keras takes ten minutes a table and more, so `--kept` takes the folder with the lines of earlier runs
of plain_keras.py on the same machine, TABLE.jsonl each. Its times are processor seconds where these are fewer than wall
seconds, so that other work on the machine cannot have slowed it. hpo's programs are compiled anew in each run.
"""

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hpo_spaces.mlp import MLP
from points import Point, Table, prepare, random_points
from sides import HERE, Side, TableRuns, kept_lines, keras_seconds, keras_side, torch_missing

CONVERGED_NATS = 3.0
"""Means are of trials below this loss: one trial that explodes, on either side, would drown all others."""
SMALL_PARAMETERS = 100_000
SKLEARN_ACTIVATIONS = ("relu", "tanh", "sigmoid")
PEERS = ("keras", "torch", "torch-threads", "sklearn")
KEPT = HERE / "data" / "plain_keras"
Run = Callable[[Sequence[Point]], Side]


@dataclass(frozen=True, slots=True)
class Group:
    """Some of a table's trials, and the peers that train them."""

    title: str
    points: Sequence[Point]
    peers: Mapping[str, Run]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["trials", "quality"])
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="CSV files")
    parser.add_argument("--target", default="target", help="column of each table")
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax"], help="hpo's")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder with TABLE.jsonl of plain_keras.py")
    parser.add_argument("--torch-python", type=Path, help="a Python that has PyTorch")
    parser.add_argument("--output", type=Path, help="append the results to this file, one JSON object each")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, help="(trials)")
    parser.add_argument(
        "--count", type=int, help="(trials) of the kept ones the first; random ones where none are kept"
    )
    parser.add_argument("--peer-trials", type=int, default=30, help="(quality) trials of plain Keras with Optuna")
    parser.add_argument("--seeds", type=int, default=10, help="(quality) of hpo")
    parser.add_argument("--torch-seeds", type=int, default=3, help="(quality) of the PyTorch loop")
    parser.add_argument("--most-trials", type=int, default=200, help="(quality) budget of a run")
    parser.add_argument("--torch-minutes", type=float, default=20.0, help="(quality) time limit of a run")
    parser.add_argument("--report", choices=["replicate", "epoch"], default="replicate", help="(quality) to the pruner")
    parser.add_argument("--no-starts", action="store_true", help="(quality) without the space's starting points")
    options = parser.parse_args()
    if reason := torch_missing(options.torch_python):
        print(f"PyTorch is left out: {reason}")
        options.torch_python, options.torch_seeds = None, 0
    if options.command == "trials":
        compare_trials(options)
    else:
        compare_quality(options)


@contextmanager
def prepared(options: argparse.Namespace, table: Path) -> Iterator[tuple[TableRuns, Table]]:
    """The table's replicates, in a folder that lasts as long as the `with` block."""
    with tempfile.TemporaryDirectory() as name:
        data = prepare(table, options.target, 0, Path(name))
        yield TableRuns(table, options.target, Path(name), options.backend, options.torch_python), data


def compare_trials(options: argparse.Namespace) -> None:
    """Print all sides' rates and losses on each table, and the geometric means of the ratios."""
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    for table in options.table:
        with prepared(options, table) as (runs, data):
            for group in groups(options, runs, data):
                for result in compare_group(runs, group):
                    keep(options, result)
                    ratios[result["group"], result["peer"]].append(result["ratio"])
    print(f"geometric means of the ratios, hpo on {options.backend}")
    for (group, peer), values in ratios.items():
        print(f"  {group:34} {peer:14} {np.exp(np.mean(np.log(values))):7.2f}  ({len(values)} tables)")


def groups(options: argparse.Namespace, runs: TableRuns, data: Table) -> list[Group]:
    """What is compared on one table; groups without trials or peers are left out."""
    lines, points = trial_list(options, runs)
    peers: dict[str, Run] = {}
    if "keras" in options.peers:
        peers["keras"] = lambda some: keras_side([lines[points.index(point)] for point in some])
    if options.torch_python and "torch" in options.peers:
        peers["torch"] = lambda some: runs.torch(some, processes=cores(), threads=1)
    if options.torch_python and "torch-threads" in options.peers:
        peers["torch-threads"] = lambda some: runs.torch(some, processes=1, threads=cores())
    sklearn: dict[str, Run] = {}
    if "sklearn" in options.peers:
        sklearn["sklearn"] = lambda some: runs.sklearn(some, processes=cores(), threads=1)
    inputs = data.replicates[0].train_x.shape[1]
    small = [p for p in points if MLP.architecture(p.params).parameter_count(inputs, data.outputs) < SMALL_PARAMETERS]
    found = [
        Group("all trials", points, peers),
        Group(f"under {SMALL_PARAMETERS:,} parameters", small, peers),
        Group("relu, tanh, sigmoid; no dropout", without_dropout(points), sklearn),
    ]
    return [group for group in found if group.points and group.peers]


def trial_list(options: argparse.Namespace, runs: TableRuns) -> tuple[list[dict[str, Any]], list[Point]]:
    """Lines of plain Keras and the points they belong to, or random points where it takes no part and none are kept.

    Trials that did not end in a finite loss with plain Keras are left out.
    """
    lines = kept_lines(options.kept, runs.table)
    if lines is None:
        drawn = random_points(MLP, options.count or 8, 0)
        if "keras" not in options.peers:
            return [], drawn
        lines = runs.keras_lines(drawn)
    lines = [line for line in lines[: options.count] if line["value"] is not None]
    return lines, [Point(seed=0, params=line["params"]) for line in lines]


def without_dropout(points: Sequence[Point]) -> list[Point]:
    """The points that MLPClassifier can express, without their dropout."""
    able = [p for p in points if p.params["activation"] in SKLEARN_ACTIVATIONS]
    return [replace(point, params={**point.params, "dropout": 0.0}) for point in able]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def compare_group(runs: TableRuns, group: Group) -> Iterator[dict[str, Any]]:
    """Print and yield hpo against each peer on one group of trials."""
    ours, count = runs.hpo(group.points), len(group.points)
    print(f"{runs.table.stem}: {group.title}: {count} trials to their end, hpo on {runs.backend}")
    print(f"  {'hpo':14} {rate(ours, count):7.0f} trials/hour  ({ours.seconds:.1f} s, after {ours.startup:.1f} s)")
    for peer, run in group.peers.items():
        theirs = run(group.points)
        result = {
            "table": runs.table.stem, "group": group.title, "backend": runs.backend, "peer": peer, "trials": count,
            "hpo_seconds": ours.seconds, "peer_seconds": theirs.seconds, "ratio": theirs.seconds / ours.seconds,
            "hpo_failed": ours.losses.count(None), "peer_failed": theirs.losses.count(None),
            **paired(theirs, ours), "peer_losses": theirs.losses, "hpo_losses": ours.losses,
        }  # fmt: skip
        print(
            f"  {peer:14} {rate(theirs, count):7.0f} trials/hour  ({theirs.seconds:.1f} s)  ratio {result['ratio']:.2f}"
        )
        print(
            f"    mean log loss of {result['pairs']} trials: {result['peer_loss']:.4f}, hpo {result['hpo_loss']:.4f};"
            f" difference {result['difference']:+.4f} ± {result['error']:.4f}, median {result['median']:+.4f};"
            f" failed {result['peer_failed']}, hpo {result['hpo_failed']}",
            flush=True,
        )
        yield result


def rate(side: Side, count: int) -> float:
    """Trials per hour."""
    return 3600 * count / side.seconds


def paired(theirs: Side, ours: Side) -> dict[str, float]:
    """Mean log losses (nats) over the trials that converge on both sides; the paired difference, hpo less peer."""
    means = [
        (np.mean(a), np.mean(b))
        for a, b in zip(theirs.losses, ours.losses, strict=True)
        if a is not None and b is not None and max(np.mean(a), np.mean(b)) < CONVERGED_NATS
    ]
    peer, own = np.array(means).reshape(-1, 2).T
    difference = own - peer
    several = len(difference) > 1
    return {
        "pairs": len(difference),
        "peer_loss": float(peer.mean()) if len(peer) else np.nan,
        "hpo_loss": float(own.mean()) if len(own) else np.nan,
        "difference": float(difference.mean()) if len(peer) else np.nan,
        "error": float(difference.std(ddof=1) / len(difference) ** 0.5) if several else np.nan,
        "median": float(np.median(difference)) if len(peer) else np.nan,
    }


def compare_quality(options: argparse.Namespace) -> None:
    """Print for each table the seconds until plain Keras' best loss, for each seed, and the ratios of the medians."""
    for table in options.table:
        lines = kept_lines(options.kept, table) or []
        if len(lines) < options.peer_trials:
            raise SystemExit(
                f"{options.kept}/{table.stem}.jsonl must hold {options.peer_trials} trials of plain_keras.py, has"
                f" {len(lines)}; run it with --trials {options.peer_trials}, or give --peer-trials {len(lines)}"
            )
        loss, keras, found = keras_times(lines[: options.peer_trials])
        print(f"{table.stem}: plain Keras with Optuna: {options.peer_trials} trials take {keras:.0f} s,")
        print(f"  the best of them, {loss:.4f}, is found after {found:.0f} s; hpo on {options.backend}")
        with prepared(options, table) as (runs, _):
            result = time_sides(options, runs, loss)
        hpo = result["hpo"]["median"]
        print(f"  plain Keras / hpo: {keras / hpo:.1f}, until found {found / hpo:.1f}")
        if torch := result.get("torch"):
            sign = "" if np.isfinite(torch["median"]) else "more than "
            print(f"  PyTorch / hpo: {sign}{torch['at_least'] / hpo:.1f}", flush=True)
        keep(options, {"table": table.stem, "loss": loss, "keras_seconds": keras, "keras_found": found, **result})


def keras_times(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """The best loss of plain Keras, and the seconds from process start until its end and until that was found."""
    loss = min(line["value"] for line in lines if line["value"] is not None)
    ends = lines[0]["since_start"] - lines[0]["seconds"] + np.cumsum([keras_seconds(line) for line in lines])
    return loss, float(ends[-1]), float(ends[[line["value"] for line in lines].index(loss)])


def time_sides(options: argparse.Namespace, runs: TableRuns, loss: float) -> dict[str, Any]:
    """Run hpo and the PyTorch loop until they reach the loss, seed by seed."""
    sides: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
        "hpo": (
            options.seeds,
            lambda seed: runs.hpo_until(loss, seed, options.most_trials, no_starts=options.no_starts),
        ),
        "torch": (
            options.torch_seeds,
            lambda seed: runs.torch_until(
                loss, seed, options.most_trials, options.torch_minutes, options.report
            ),
        ),
    }  # fmt: skip
    results: dict[str, Any] = {"backend": runs.backend, "report": options.report}
    for side, (seeds, run) in sides.items():
        ends = []
        for seed in range(seeds):
            end = run(seed)
            ends.append(end)
            pruned = f" ({end['pruned']} pruned)" if "pruned" in end else ""
            missed = "" if end["reached"] else ": not reached"
            trials = f"{end['trials']} trials{pruned}, best {end['best']:.4f}{missed}"
            print(f"  {side}, seed {seed}: {end['seconds']:6.1f} s, {trials}", flush=True)
        if ends:
            results[side] = medians(ends)
            print(f"  {side}: median {results[side]['median']:.1f} s")
    return results


def medians(ends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median seconds, infinite where half of the runs did not get there; `at_least` counts those as they ended."""
    reached = [end["seconds"] if end["reached"] else np.inf for end in ends]
    return {
        "median": float(np.median(reached)),
        "at_least": float(np.median([end["seconds"] for end in ends])),
        "seconds": [end["seconds"] for end in ends],
        "reached": [end["reached"] for end in ends],
        "trials": [end["trials"] for end in ends],
    }


def keep(options: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Append a result to the file of the option `--output`."""
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
