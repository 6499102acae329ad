"""The figures of a report by name, each a table drawn with plotly, as wide as its container.

Text from users reaches plotly only through `texts.label`, or `texts.shortened` where plotly reads no tags.
`layout.meta` of a figure may hold updates of its layout for a narrow screen (`narrow`) and the way back (`wide`).
"""

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from hpo_storage.records import StudyRecord, TrialState

from hpo.losses import loss_of
from hpo.objectives.registry import parts_of
from hpo.report.axes import axes
from hpo.report.data import curves_table, history_table, leader, timeline_table
from hpo.report.importances import FEWEST_TRIALS, importances_table
from hpo.report.parameter_figures import parallel_figure, slice_figure
from hpo.report.style import (
    BEST,
    COLOURS,
    GRID,
    HOVER,
    INK,
    STATES,
    by_state,
    canvas,
    empty,
    markers,
    plain,
    trial_texts,
)
from hpo.study.facts import Facts
from hpo.study.standing import winner
from hpo.words import duration_text, label

MOST_NAMED_TRIALS = 12
MOST_EDGED_BARS = 100
"""More bars in a timeline are so narrow that their edges would hide their colour."""
EDGE = "rgba(255,255,255,0.6)"
NOT_STARTED = "no trial has started yet"
_STRIP_STATES = (TrialState.RUNNING, TrialState.INTERRUPTED, TrialState.FAILED, TrialState.PRUNED)


def history_figure(study: StudyRecord) -> go.Figure:
    """Value by trial and the best so far; below them the trials that have no value."""
    table = history_table(study)
    if table.empty:
        return empty(NOT_STARTED)
    valued, rest = table[table["value"].notna()], table[table["value"].isna()]
    facts = Facts.from_json(study.facts)
    loss, prior = loss_of(facts), facts.prior_loss
    losses = [*valued["value"], *([prior] if prior else [])]
    figure = canvas(height=440, x_title="trial", y_title=loss.title, losses=losses)
    for state, rows in by_state(valued):
        figure.add_scatter(x=plain(rows["trial"]), y=plain(rows["value"]), text=trial_texts(rows), **markers(state))
    first, last = int(table["trial"].min()), int(table["trial"].max())
    begin, end = first - 0.5, last + 0.5
    best = table[table["best"].notna()]
    if not best.empty:
        steps = plain(best["best"])
        line = {"color": BEST, "width": 2.5, "shape": "hv"}
        _add_line(figure, [*plain(best["trial"]), end], [*steps, steps[-1]], "best so far", line)
    if prior and not valued.empty:
        line = {"color": INK, "width": 1.2, "dash": "dot"}
        _add_line(figure, [begin, end], [prior, prior], f"{loss.baseline} alone", line)
    room = 0.015 * (end - begin)
    whole = {"dtick": 1} if last - first < MOST_NAMED_TRIALS else {}
    figure.update_xaxes(range=[begin - room, end + room], **whole)
    if not rest.empty:
        _add_strip(figure, rest, alone=valued.empty)
    return figure


def curves_figure(study: StudyRecord) -> go.Figure:
    """Mean `stop` loss by epoch, one line per trial."""
    table = curves_table(study)
    if table.empty:
        has_curves = "curves" in parts_of(study.spec, study.trials)
        return empty(
            "no trial has been trained yet" if has_curves else "trials of this objective have no learning curves"
        )
    unit = loss_of(Facts.from_json(study.facts)).unit
    y_title = f"stop loss ({unit})" if unit else "loss"
    figure = canvas(height=440, x_title="epoch", y_title=y_title, losses=table["loss"])
    opacity = max(0.3, min(0.9, 20 / table["trial"].nunique()))
    for state, rows in by_state(table):
        line = {"color": COLOURS[state], "width": 1.2}
        group = {"name": state, "legendgroup": state}
        figure.add_scatter(**_broken_lines(rows), **group, line=line, opacity=opacity, showlegend=False)
        # The legend's line is not as faint as the curves.
        figure.add_scatter(x=[None], y=[None], mode="lines", **group, line={**line, "width": 2})
    if best := winner(study):
        rows = table[table["trial"] == best.number]
        figure.add_scatter(**_broken_lines(rows), line={"color": BEST, "width": 3}, name=leader(study))
    return figure


def importances_figure(study: StudyRecord) -> go.Figure:
    """One bar per parameter, the most important on top."""
    table = importances_table(study)
    if table.empty:
        return empty(f"importances need {FEWEST_TRIALS} complete trials")
    titles = {axis.name: axis.title for axis in axes(study)}
    figure = canvas(height=max(220, 90 + 36 * len(table)), x_title="share of the importance")
    places = list(range(len(table)))
    figure.add_bar(
        x=plain(table["importance"]),
        y=places,
        orientation="h",
        marker={"color": COLOURS[TrialState.COMPLETE]},
        text=[f"{share:.0%}" for share in table["importance"]],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        width=0.62,
    )
    ticks = [label(titles[name]) for name in table["parameter"]]
    figure.update_yaxes(tickvals=places, ticktext=ticks, autorange="reversed", showgrid=False)
    figure.update_xaxes(range=[0, max(0.01, float(table["importance"].max())) * 1.15], tickformat=".0%")
    figure.update_layout(showlegend=False)
    return figure


def timeline_figure(study: StudyRecord) -> go.Figure:
    """One bar per trial, one row per trainer."""
    table = timeline_table(study)
    if table.empty:
        return empty(NOT_STARTED)
    end = float((table["begin"] + table["seconds"]).max())
    unit, unit_name = _time_unit(end)
    lanes = sorted(set(table["lane"]), key=_lane_order)
    figure = canvas(height=min(1400, 130 + 36 * len(lanes)), x_title=f"time ({unit_name}), pauses left out")
    edge = 0.5 if len(table) <= MOST_EDGED_BARS else 0.0
    for state, rows in by_state(table):
        text = [
            f"trial {trial}, {state}<br>{duration_text(seconds)} from {started:%Y-%m-%d %H:%M:%S}"
            for trial, seconds, started in zip(rows["trial"], rows["seconds"], rows["started"], strict=True)
        ]
        figure.add_bar(
            # The shortest bars are still seen.
            x=plain(rows["seconds"].clip(lower=end / 500) / unit),
            base=plain(rows["begin"] / unit),
            y=[lanes.index(lane) for lane in rows["lane"]],
            orientation="h",
            name=state,
            marker={"color": COLOURS[state], "line": {"width": edge, "color": EDGE}},
            text=text,
            textposition="none",
            hovertemplate=HOVER,
            width=0.72,
        )
    figure.update_layout(barmode="overlay")
    ticks = [label(lane) for lane in lanes]
    figure.update_yaxes(tickvals=list(range(len(lanes))), ticktext=ticks, autorange="reversed", showgrid=False)
    figure.update_xaxes(rangemode="tozero")
    for begin in table[table["run"] > 0].groupby("run")["begin"].min():
        figure.add_vline(x=float(begin) / unit, line={"color": INK, "width": 1, "dash": "dot"})
    return figure


FIGURES: dict[str, Callable[[StudyRecord], go.Figure]] = {
    "history": history_figure,
    "curves": curves_figure,
    "importances": importances_figure,
    "slice": slice_figure,
    "parallel": parallel_figure,
    "timeline": timeline_figure,
}
"""Name -> a function from a study to its figure; without data the figure has no traces and says why."""


def _add_line(figure: go.Figure, x: list[Any], y: list[Any], name: str, line: dict[str, Any]) -> None:
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name=name, hoverinfo="skip")


def _broken_lines(rows: pd.DataFrame) -> dict[str, Any]:
    """Many lines as one trace, with gaps between them."""
    x: list[Any] = []
    y: list[Any] = []
    text: list[str] = []
    for trial, line in rows.groupby("trial"):
        x += [*plain(line["epoch"]), None]
        y += [*plain(line["loss"]), None]
        text += [f"trial {trial}, {state}" for state in line["state"]] + [""]
    return {"x": x, "y": y, "text": text, "mode": "lines", "hovertemplate": HOVER, "connectgaps": False}


def _add_strip(figure: go.Figure, rest: pd.DataFrame, *, alone: bool) -> None:
    """A strip below the history, or in its place: a row of marks for each state without a value."""
    present = set(rest["state"])
    states = [state for state in (*_STRIP_STATES, *STATES) if state in present]
    states = list(dict.fromkeys(states))
    for state, rows in by_state(rest):
        text = [f"trial {trial}, {state}" for trial in rows["trial"]]
        places = [states.index(state)] * len(rows)
        figure.add_scatter(x=plain(rows["trial"]), y=places, text=text, yaxis="y2", **markers(state, 7))
    top = 1.0 if alone else 0.03 + 0.05 * len(states)
    strip = {
        **GRID,
        "domain": [0.0, top],
        "range": [-0.6, len(states) - 0.4],
        "tickvals": list(range(len(states))),
        "ticktext": states,
        "showgrid": False,
        "fixedrange": True,
    }
    figure.update_layout(yaxis2=strip, xaxis={"anchor": "y2"}, height=220 if alone else 440)
    figure.update_yaxes(selector=0, domain=[min(0.999, top + 0.04), 1.0], visible=not alone)


def _time_unit(seconds: float) -> tuple[float, str]:
    """What to divide seconds by, and its name."""
    if seconds < 180:
        return 1.0, "s"
    return (60.0, "min") if seconds < 3 * 3600 else (3600.0, "h")


def _lane_order(lane: str) -> list[int]:
    """Order `trainer 10` behind `trainer 2`."""
    return [int(part) for part in lane.replace(",", "").split() if part.isdigit()]
