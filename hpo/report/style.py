"""What all figures share: colours, marks, an empty canvas and scales."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from hpo_storage.records import TrialState

from hpo.report.axes import log_ticks
from hpo.words import loss_text, significant

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
INK, FAINT, CLEAR = "#5c6670", "rgba(128,138,148,0.22)", "rgba(0,0,0,0)"
BEST = "#009e73"
COLOURS = {
    TrialState.COMPLETE: "#1f78b8",
    TrialState.RACED_OUT: "#4fa8dc",
    TrialState.PRUNED: "#e69f00",
    TrialState.FAILED: "#d55e00",
    TrialState.INTERRUPTED: "#9aa3ac",
    TrialState.RUNNING: "#9aa3ac",
}
"""After Okabe and Ito: told apart by the colour-blind; markers differ in shape too."""
SYMBOLS = {
    TrialState.COMPLETE: "circle",
    TrialState.RACED_OUT: "circle-open",
    TrialState.PRUNED: "triangle-down",
    TrialState.FAILED: "x",
    TrialState.INTERRUPTED: "square-open",
    TrialState.RUNNING: "square-open",
}
STATES = tuple(COLOURS)
"""In the order of legends."""
LOG_FROM_RATIO = 10.0
"""Losses whose greatest is more than this many times the least are drawn on a logarithmic axis."""
HOVER = "%{text}<extra></extra>"
GRID = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "automargin": True}


def canvas(*, height: int, x_title: str = "", y_title: str = "", losses: Iterable[float] = ()) -> go.Figure:
    """A figure without data; its y axis is logarithmic where the losses span a lot."""
    y_axis: dict[str, Any] = {**GRID, "title": title(y_title)}
    finite = pd.Series([loss for loss in losses if math.isfinite(loss)], dtype=float)
    if len(finite) and finite.min() >= 0:
        y_axis["rangemode"] = "nonnegative"
    if is_log(finite):
        ticks = log_ticks(float(finite.min()) / 1.15, float(finite.max()) * 1.15)
        y_axis |= {"type": "log", "tickvals": [p for p, _ in ticks], "ticktext": [text for _, text in ticks]}
    layout = go.Layout(
        template="none",
        height=height,
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        margin={"l": 12, "r": 14, "t": 34, "b": 12},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        hoverlabel={"font": {"family": FONT}},
        hovermode="closest",
        showlegend=True,
        xaxis={**GRID, "title": title(x_title)},
        yaxis=y_axis,
    )
    return go.Figure(layout=layout)


def title(text: str) -> dict[str, Any]:
    """An axis's title, close to its ticks."""
    return {"text": text, "standoff": 8, "font": {"size": 13}}


def empty(message: str) -> go.Figure:
    """A figure without data that says why."""
    figure = canvas(height=160)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(text=message, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return figure


def markers(state: TrialState, size: int = 8) -> dict[str, Any]:
    """How a trial in that state is marked in a scatter plot."""
    marker = {"color": COLOURS[state], "symbol": SYMBOLS[state], "size": size}
    return {"mode": "markers", "marker": marker, "name": state, "hovertemplate": HOVER, "legendgroup": state}


def by_state(table: pd.DataFrame) -> list[tuple[TrialState, pd.DataFrame]]:
    """The rows of each state that there is."""
    groups = [(state, table[table["state"] == state]) for state in STATES]
    return [(state, rows) for state, rows in groups if not rows.empty]


def trial_texts(rows: pd.DataFrame) -> list[str]:
    """What is shown on pointing at a trial; `rows` are of the history table."""
    return [
        f"trial {trial}, {state}<br>{loss_text(value, error)}"
        for trial, state, value, error in zip(
            rows["trial"], rows["state"], rows["value"], rows["standard_error"], strict=True
        )
    ]


def is_log(losses: "pd.Series[float]") -> bool:
    """Whether the losses span enough for a logarithmic axis."""
    return bool(len(losses) and losses.min() > 0 and losses.max() / losses.min() > LOG_FROM_RATIO)


def plain(values: "pd.Series[Any]") -> list[Any]:
    """Plain numbers, floats rounded and None where not finite: plotly would store arrays in base 64."""
    return [significant(value) if isinstance(value, float) else value for value in values.tolist()]
