// Interactive figures. Their colours are CSS variables, which are read again when the theme changes.
const THEMED = new Set(["color", "bgcolor", "bordercolor", "gridcolor", "linecolor", "zerolinecolor", "fillcolor"]);
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const NARROW = 480;
const LETTER = 7; // width of one, on an axis
const AROUND = 60; // an axis
const drawn = new Map(); // element to what draws it

function themed(value, colours) {
  if (Array.isArray(value)) return value.map((each) => themed(each, colours));
  if (value === null || typeof value !== "object") return value;
  const result = {};
  for (const [key, inner] of Object.entries(value)) {
    const variable = THEMED.has(key) && typeof inner === "string" && /^var\((--[\w-]+)\)$/.exec(inner);
    result[key] = variable ? colours.getPropertyValue(variable[1]).trim() : themed(inner, colours);
  }
  return result;
}

function axis(given) {
  return {
    gridcolor: "var(--line)", linecolor: "var(--soft)", zeroline: false, automargin: true, ticks: "outside", ticklen: 4,
    tickcolor: "rgba(0,0,0,0)", nticks: 7, ...given,
    title: { standoff: 8, font: { size: 12.5 }, ...given?.title },
  };
}

function plot(element, figure) {
  const colours = getComputedStyle(document.documentElement);
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", dragmode: "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "var(--text)" },
    hoverlabel: {
      bgcolor: "var(--card)", bordercolor: "var(--soft)", align: "left", namelength: -1,
      font: { color: "var(--text)", size: 13 },
    },
    margin: { l: 48, r: 14, t: 14, b: 44 },
    ...figure.layout,
    xaxis: axis(figure.layout.xaxis),
    yaxis: axis(figure.layout.yaxis),
  };
  let data = figure.data;
  // Names beside points would lie over each other where there is little room; pointing shows them.
  if (element.clientWidth < NARROW) {
    data = data.map((trace) => ({ ...trace, mode: trace.mode.replace("+text", "") }));
    delete layout.annotations;
  }
  // Plotly leaves out a name that would end outside; upright ones never do.
  const names = layout.xaxis.ticktext?.join("").length ?? 0;
  if (names * LETTER > element.clientWidth - AROUND) layout.xaxis.tickangle = 90;
  return Plotly.react(element, themed(data, colours), themed(layout, colours), CONFIG);
}

function redraw(element) {
  return plot(element, drawn.get(element)());
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      drawn.set(target, target.id === "against-plot" ? against : () => page.figures[target.dataset.figure]);
      redraw(target).then(() => target.id === "against-plot" && target.on("plotly_click", openRun));
    }
  },
  { rootMargin: "300px" },
);

// Plotly reads a little HTML in texts, so names are escaped for it too.
const escaped = (name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const select = document.getElementById("strategy");

function against() {
  const pairs = page.pairs[select.selectedIndex];
  const data = [];
  const low = { x: Infinity, y: Infinity };
  const high = { x: -Infinity, y: -Infinity };
  for (const mark of page.datasets) {
    const own = [...pairs.proxy.keys()].filter(
      (at) => pairs.proxy[at] >= 0 && pairs.target[at] >= 0 && text("dataset", pairs.proxy[at]) === mark.dataset,
    );
    const x = own.map((at) => runs.objective[pairs.proxy[at]]);
    const y = own.map((at) => runs.objective[pairs.target[at]]);
    for (const [name, values] of [["x", x], ["y", y]]) {
      low[name] = Math.min(low[name], ...values);
      high[name] = Math.max(high[name], ...values);
    }
    for (const line of pairs.lines.filter((each) => each.dataset === mark.dataset)) {
      data.push({
        type: "scatter", mode: "lines", x: line.x, y: line.y, hoverinfo: "skip", line: { color: mark.color, width: 2 },
      });
    }
    data.push({
      type: "scatter", mode: "markers", x, y, name: escaped(mark.dataset), hoverinfo: "text",
      customdata: own.map((at) => linkOf(pairs.proxy[at])),
      hovertext: own.map((at, index) => {
        const row = pairs.proxy[at];
        return [
          `<b>${escaped(text("config", row))}</b>`,
          `${escaped(mark.dataset)}, seed ${runs.seed[row]}`,
          `proxy ${value(x[index])}, target ${value(y[index])}`,
        ].join("<br>");
      }),
      marker: { color: mark.color, symbol: mark.symbol, size: 9, opacity: 0.85, line: { color: "var(--back)", width: 1 } },
    });
  }
  const ends = [Math.max(low.x, low.y), Math.min(high.x, high.y)];
  if (ends[1] - ends[0] > (high.x - low.x) / 8) {
    data.unshift({
      type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "text", hovertext: escaped(`equal ${page.metric.label}`),
      line: { color: "var(--soft)", dash: "dash", width: 1.2 },
    });
  }
  const layout = { xaxis: { title: { text: escaped(page.metric.proxy) } }, yaxis: { title: { text: escaped(page.metric.target) } } };
  for (const name of ["x", "y"]) {
    const around = page.metric.share ? 0.05 : Math.abs(low[name]) / 20 || 1;
    if (low[name] === high[name]) layout[`${name}axis`].range = [low[name] - around, low[name] + around];
  }
  return { data, layout };
}

function openRun(event) {
  const url = event.points[0].customdata;
  if (url) window.open(url, "_blank", "noopener");
}

function choose(strategy) {
  const index = page.pairs.findIndex((each) => each.strategy === strategy);
  if (index < 0) return;
  select.selectedIndex = index;
  const element = document.getElementById("against-plot");
  if (drawn.has(element)) redraw(element);
}

if (select) {
  select.addEventListener("change", () => choose(page.pairs[select.selectedIndex].strategy));
  for (const row of document.querySelectorAll("tr[data-strategy]")) {
    row.addEventListener("click", (event) => {
      if (String(getSelection())) return; // somebody copies a number
      choose(row.dataset.strategy);
      if (!event.target.closest("a")) document.getElementById("against").scrollIntoView();
    });
  }
}

document.documentElement.classList.add("js");
for (const element of document.querySelectorAll(".plot")) observer.observe(element);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...drawn.keys()].forEach(redraw));
