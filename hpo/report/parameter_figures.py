"""Figures of the search space: value by each parameter, and all parameters side by side."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hpo.report.axes import Axis, axes, log_ticks
from hpo.report.data import history_table, parameters_table
from hpo.report.style import (
    BEST,
    GRID,
    HOVER,
    LOSS_TITLE,
    by_state,
    canvas,
    empty,
    is_log,
    markers,
    plain,
    trial_texts,
)
from hpo.report.texts import label, significant
from storage.records import StudyRecord, TrialRecord

NO_VALUE = "no trial has a value yet"
PANEL_HEIGHT = 250
MARGINS = 70
GOLDEN_RATIO = 0.618034
RANK_COLOURS = [[0.0, "#d55e00"], [0.15, "#e69f00"], [0.4, "#6db3e0"], [1.0, "#aab7c2"]]
"""From the best trial to the worst."""


def slice_figure(study: StudyRecord) -> go.Figure:
    """Value by each parameter, one panel per dimension."""
    values = history_table(study)
    values = values[values["value"].notna()]
    shown = axes(study)
    if values.empty:
        return empty(NO_VALUE)
    columns = min(3, len(shown))
    figure = canvas(height=PANEL_HEIGHT, losses=values["value"])
    y_axis = figure.layout.yaxis.to_plotly_json()
    positions = parameters_table(study)
    for number, axis in enumerate(shown, start=1):
        title = {"text": LOSS_TITLE if (number - 1) % columns == 0 else ""}
        matches = {"matches": "y"} if number > 1 else {}
        figure.update_layout(
            {f"xaxis{number}": _panel_axis(axis), f"yaxis{number}": {**y_axis, **matches, "title": title}}
        )
        for state, rows in by_state(values):
            places = positions.loc[rows["trial"], axis.name]
            figure.add_trace(_panel_points(axis, number, state, rows, places))
        if study.best is not None:
            figure.add_trace(_panel_star(number, study.best, positions.loc[[study.best.number], axis.name]))
    _reflow(figure, columns, len(shown))
    return figure


def parallel_figure(study: StudyRecord) -> go.Figure:
    """One line per trial with a value across all parameters, the better the stronger its colour."""
    values = history_table(study).set_index("trial")["value"].dropna()
    positions = parameters_table(study).loc[values.index].dropna()
    # Drawn in this order: the best lie on top.
    values = values.loc[positions.index].sort_values(ascending=False)
    if values.empty:
        return empty(NO_VALUE)
    dimensions = [_parallel_dimension(axis, positions.loc[values.index, axis.name]) for axis in axes(study)]
    dimensions.append(_parallel_dimension(_loss_axis(values), values))
    ranks = (values.rank(method="first") - 1) / max(1, len(values) - 1)
    line = {"color": plain(ranks), "colorscale": RANK_COLOURS, "cmin": 0.0, "cmax": 1.0}
    figure = canvas(height=430)
    figure.add_parcoords(dimensions=dimensions, line=line, labelfont={"size": 12}, tickfont={"size": 11})
    figure.update_layout(margin={"l": 60, "r": 60, "t": 56, "b": 24})
    return figure


def _panel_axis(axis: Axis) -> dict[str, Any]:
    """The x axis of one panel."""
    settings: dict[str, Any] = {
        **GRID,
        "title": {"text": label(axis.title)},
        "type": "log" if axis.scale == "log" else "linear",
    }
    if axis.ticks:
        settings |= {
            "tickvals": [p for p, _ in axis.ticks],
            "ticktext": [label(text) for _, text in axis.ticks],
        }
    if axis.scale == "categories":
        settings |= {"range": [-0.6, axis.high + 0.6]}
    return settings


def _panel_points(
    axis: Axis, number: int, state: str, rows: pd.DataFrame, places: "pd.Series[float]"
) -> go.Scatter:
    if axis.scale == "categories":
        # Spread within the category, so that points do not hide one another.
        places = places + (places.index * GOLDEN_RATIO % 1 - 0.5) * 0.5
    return go.Scatter(
        x=plain(places),
        y=plain(rows["value"]),
        text=trial_texts(rows),
        xaxis=f"x{number}",
        yaxis=f"y{number}",
        showlegend=number == 1,
        **markers(state, 6),
    )


def _panel_star(number: int, winner: TrialRecord, place: "pd.Series[float]") -> go.Scatter:
    return go.Scatter(
        x=plain(place),
        y=[significant(winner.value or 0.0)],
        text=[f"winner, trial {winner.number}"],
        xaxis=f"x{number}",
        yaxis=f"y{number}",
        mode="markers",
        marker={"color": BEST, "symbol": "star", "size": 14},
        name="winner",
        legendgroup="winner",
        showlegend=number == 1,
        hovertemplate=HOVER,
    )


def _reflow(figure: go.Figure, columns: int, panels: int) -> None:
    """Lay the panels out in a grid, and in one column on a narrow screen."""
    rows = -(-panels // columns)
    grid = {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.14, "ygap": 0.3}
    wide, narrow = MARGINS + PANEL_HEIGHT * rows, MARGINS + PANEL_HEIGHT * panels
    meta = {
        "wide": {"grid.rows": rows, "grid.columns": columns, "height": wide},
        "narrow": {"grid.rows": panels, "grid.columns": 1, "height": narrow},
    }
    figure.update_layout(grid=grid, height=wide, meta=meta)


def _loss_axis(values: "pd.Series[float]") -> Axis:
    low, high = float(values.min()), float(values.max())
    if is_log(values):
        return Axis(name="", title=LOSS_TITLE, scale="log", low=low, high=high, ticks=log_ticks(low, high))
    return Axis(name="", title=LOSS_TITLE, scale="linear", low=low, high=high)


def _parallel_dimension(axis: Axis, positions: "pd.Series[float]") -> dict[str, Any]:
    """One axis of the parallel coordinates, which are linear: a logarithmic one is given in powers of ten."""

    def placed(position: float) -> float:
        return round(math.log10(position), 5) if axis.scale == "log" else float(f"{position:.6g}")

    low, high = placed(axis.low), placed(axis.high)
    dimension: dict[str, Any] = {
        "label": label(axis.title),
        "values": [placed(position) for position in positions],
        "range": [low, high] if high > low else [low - 0.5, low + 0.5],
    }
    ticks: Sequence[tuple[float, str]] = axis.ticks
    if ticks:
        dimension |= {
            "tickvals": [placed(p) for p, _ in ticks],
            "ticktext": [label(text) for _, text in ticks],
        }
    return dimension
