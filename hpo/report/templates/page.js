"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 720px)");
  const plots = Array.from(document.querySelectorAll(".plot"));
  const config = { responsive: true, displaylogo: false, displayModeBar: false };

  function look(layout) {
    const css = window.getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const updates = {
      "paper_bgcolor": colour("--card"),
      "font.color": colour("--plot-ink"),
      "hoverlabel.bgcolor": colour("--card"),
      "hoverlabel.bordercolor": colour("--soft"),
      "hoverlabel.font.color": colour("--ink"),
    };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))) {
      updates[key + ".gridcolor"] = colour("--plot-grid");
      updates[key + ".linecolor"] = colour("--plot-grid");
    }
    return Object.assign(updates, (layout.meta || {})[narrow.matches ? "narrow" : "wide"] || {});
  }

  function draw(plot) {
    const figure = JSON.parse(document.getElementById(plot.id + "-figure").textContent);
    Plotly.newPlot(plot, figure.data, figure.layout, config)
      .then(() => Plotly.relayout(plot, look(figure.layout)))
      .then(() => { plot.dataset.drawn = "yes"; });
    for (const query of [dark, narrow]) {
      query.addEventListener("change", () => Plotly.relayout(plot, look(figure.layout)));
    }
  }

  function sort(button) {
    const header = button.closest("th");
    const body = header.closest("table").tBodies[0];
    const column = header.cellIndex;
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = Number(x) - Number(y);
      return sign * (Number.isNaN(difference) ? x.localeCompare(y) : difference);
    };
    body.append(...Array.from(body.rows).sort(compare));
    header.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  }

  plots.forEach(draw);
  document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => sort(button)));
})();
