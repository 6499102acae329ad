"""Figures of the search space: value by each parameter, and all parameters side by side."""

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from hpo_storage.records import StudyRecord

from hpo.losses import loss_of
from hpo.report.axes import Axis, axes, log_ticks
from hpo.report.data import history_table, leader, parameters_table
from hpo.report.style import (
    BEST,
    CLEAR,
    GRID,
    HOVER,
    by_state,
    canvas,
    empty,
    is_log,
    markers,
    plain,
    title,
    trial_texts,
)
from hpo.study.facts import Facts
from hpo.study.standing import winner
from hpo.words import label, shortened

NO_VALUE = "no trial has a value yet"
PANEL_HEIGHT = 260
MARGINS = 70
GOLDEN_RATIO = 0.618034
RANK_COLOURS = [[0.0, "#d55e00"], [0.15, "#e69f00"], [0.4, "#6db3e0"], [1.0, "#9aa6b1"]]
"""From the best trial to the worst."""
_STAR = {
    "mode": "markers",
    "marker": {"color": BEST, "symbol": "star", "size": 14},
    "hovertemplate": HOVER,
    "legendgroup": "best",
}
MOST_LEVEL_LABELS, LABEL_ANGLE = 9, -30
"""Names of more axes of the parallel coordinates would run into one another, so they slant."""


def slice_figure(study: StudyRecord) -> go.Figure:
    """Value by each parameter, one panel per dimension."""
    table = history_table(study)
    table = table[table["value"].notna()]
    shown = axes(study)
    best = winner(study)
    best_number = best.number if best else None
    if table.empty:
        return empty(NO_VALUE)
    columns, loss = min(3, len(shown)), loss_of(Facts.from_json(study.facts))
    figure = canvas(height=PANEL_HEIGHT, losses=table["value"])
    y_axis = figure.layout.yaxis.to_plotly_json()
    groups = [(rows, markers(state, 6)) for state, rows in by_state(table[table["trial"] != best_number])]
    groups.append((table[table["trial"] == best_number], {**_STAR, "name": leader(study)}))
    positions = parameters_table(study)
    for number, axis in enumerate(shown, start=1):
        y_title = title(loss.title if (number - 1) % columns == 0 else "")
        matches = {"matches": "y"} if number > 1 else {}
        panel = {f"xaxis{number}": _panel_axis(axis), f"yaxis{number}": {**y_axis, **matches, "title": y_title}}
        figure.update_layout(panel)
        for rows, style in groups:
            places = positions.loc[rows["trial"], axis.name]
            points = {"x": _spread(axis, places), "y": plain(rows["value"]), "text": trial_texts(rows), **style}
            figure.add_scatter(**points, xaxis=f"x{number}", yaxis=f"y{number}", showlegend=number == 1)
    _reflow(figure, columns, len(shown))
    return figure


def parallel_figure(study: StudyRecord) -> go.Figure:
    """One line per trial with a value across the parameters that all have, the better the stronger its colour."""
    values = history_table(study).set_index("trial")["value"].dropna()
    positions = parameters_table(study).loc[values.index].dropna(axis="columns")
    # Drawn in this order: the best lie on top.
    values = values.loc[positions.index].sort_values(ascending=False)
    if values.empty:
        return empty(NO_VALUE)
    shown = [axis for axis in axes(study) if axis.name in positions]
    dimensions = [_parallel_dimension(axis, positions.loc[values.index, axis.name]) for axis in shown]
    loss = loss_of(Facts.from_json(study.facts))
    dimensions.append(_parallel_dimension(_loss_axis(loss.name, values), values))
    ranks = (values.rank(method="first") - 1) / max(1, len(values) - 1)
    line = {"color": plain(ranks), "colorscale": RANK_COLOURS, "cmin": 0.0, "cmax": 1.0}
    figure = canvas(height=430)
    figure.add_parcoords(dimensions=dimensions, line=line, labelfont={"size": 12}, tickfont={"size": 11})
    # The ends of a range would be shown beside the ticks that are there.
    figure.update_traces(rangefont={"color": CLEAR})
    crowded = len(dimensions) > MOST_LEVEL_LABELS
    figure.update_traces(labelangle=LABEL_ANGLE if crowded else 0)
    figure.update_layout(margin={"l": 60, "r": 110 if crowded else 60, "t": 110 if crowded else 56, "b": 24})
    return figure


def _panel_axis(axis: Axis) -> dict[str, Any]:
    """The x axis of one panel: the whole range that is searched, with room for the marks at its ends."""
    low, high = (math.log10(axis.low), math.log10(axis.high)) if axis.scale == "log" else (axis.low, axis.high)
    room = 0.6 if axis.scale == "categories" else 0.05 * (high - low) or 0.5
    settings: dict[str, Any] = {
        **GRID,
        "tickfont": {"size": 11},
        "title": title(label(axis.title)),
        "type": "log" if axis.scale == "log" else "linear",
        "range": [low - room, high + room],
    }
    if axis.ticks:
        settings["tickvals"] = [position for position, _ in axis.ticks]
        settings["ticktext"] = [label(text) for _, text in axis.ticks]
    return settings


def _spread(axis: Axis, places: "pd.Series[float]") -> list[Any]:
    """Positions; those in one category side by side, so that marks do not hide one another."""
    if axis.scale == "categories":
        places = places + (places.index * GOLDEN_RATIO % 1 - 0.5) * 0.5
    return plain(places)


def _reflow(figure: go.Figure, columns: int, panels: int) -> None:
    """Lay the panels out in a grid, and in one column on a narrow screen."""
    rows = -(-panels // columns)
    grid = {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.14, "ygap": 0.36}
    wide, narrow = MARGINS + PANEL_HEIGHT * rows, MARGINS + PANEL_HEIGHT * panels
    meta = {
        "wide": {"grid.rows": rows, "grid.columns": columns, "height": wide},
        "narrow": {"grid.rows": panels, "grid.columns": 1, "height": narrow},
    }
    figure.update_layout(grid=grid, height=wide, meta=meta)


def _loss_axis(title: str, values: "pd.Series[float]") -> Axis:
    low, high = float(values.min()), float(values.max())
    if is_log(values):
        return Axis(name="", title=title, scale="log", low=low, high=high, ticks=log_ticks(low, high))
    return Axis(name="", title=title, scale="linear", low=low, high=high)


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
    if axis.ticks:
        dimension["tickvals"] = [placed(position) for position, _ in axis.ticks]
        # Shown as they are, unlike all other labels: escaped, `<` would be shown as `&lt;`.
        dimension["ticktext"] = [shortened(text) for _, text in axis.ticks]
    return dimension
