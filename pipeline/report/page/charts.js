"use strict";
// Every chart is drawn at the width that it has on the page, again when that changes, and inside closed details when
// they are opened.
// Colours are the page's own, so that dark and light need no second drawing.
const COLOURS = ["#2f7ebc", "#e07b1a", "#d1495b", "#3a9d6e", "#8e6bbf", "#a8743f", "#d36ba6", "#7d8a99", "#a3a51c", "#29a9b8", "#5566c7", "#c2542d"];
const style = { background: "none", color: "var(--ink)", fontSize: "12px", fontFamily: "inherit", overflow: "visible" };
const digits = (value) => (Math.abs(value) < 0.1 && value !== 0 ? value.toPrecision(4) : value.toFixed(4));
const label = (data, anchor) => `${data.heads[anchor].label} · ${data.heads[anchor].head}`;

const draw = {
  labels(data, container, width) {
    const points = data.labels.filter((point) => data.heads[point.head].store === container.dataset.store);
    const at = { x: "n", stroke: (point) => data.heads[point.head].head };
    return Plot.plot({
      style, width, height: 280, marginLeft: 48, marginBottom: 38,
      x: { type: "log", label: "items in train →", tickFormat: (n) => n.toLocaleString("en"), ticks: [...new Set(points.map((point) => point.n))] },
      y: { label: data.score, grid: true, nice: true }, color: { legend: true, range: COLOURS, domain: [...new Set(Object.values(data.heads).map((head) => head.head))].sort() },
      marks: [
        Plot.link(points, { x: "n", y1: "low", y2: "high", stroke: at.stroke, strokeOpacity: 0.45, strokeWidth: 3 }),
        Plot.lineY(points, { ...at, y: "mean", strokeWidth: 1.8 }),
        Plot.dot(points, { ...at, y: "mean", fill: at.stroke, r: 3 }),
        Plot.tip(points, Plot.pointer({ x: "n", y: "mean", title: (point) => `${label(data, point.head)}\n${point.per_class === "all" ? "all" : point.per_class} labels a class, ${point.n.toLocaleString("en")} items\n${digits(point.mean)} (${digits(point.low)} to ${digits(point.high)}, ${point.draws} draws)`, fill: "var(--paper)", stroke: "var(--rule)" })),
      ],
    });
  },
  calibration(data, container, width) {
    const bins = data.calibration[container.dataset.head], most = Math.max(...bins.map((bin) => bin.n));
    return Plot.plot({
      style, width: Math.min(width, 340), height: 300, marginLeft: 44, marginBottom: 38,
      x: { domain: [0, 1], label: "confidence →" }, y: { domain: [0, 1], label: "share right", grid: true },
      marks: [
        Plot.rect(bins, { x1: (bin) => Math.floor(Math.min(bin.confidence, 0.9999) * 10) / 10 + 0.01, x2: (bin) => Math.floor(Math.min(bin.confidence, 0.9999) * 10) / 10 + 0.09, y1: 0, y2: (bin) => (bin.n / most) * 0.25, fill: "var(--rule)" }),
        Plot.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, stroke: "var(--soft)", strokeDasharray: "3,4" }),
        Plot.line(bins, { x: "confidence", y: "right", stroke: "var(--ice)", strokeWidth: 1.8 }),
        Plot.dot(bins, { x: "confidence", y: "right", fill: "var(--ice)", r: 3.5 }),
        Plot.tip(bins, Plot.pointer({ x: "confidence", y: "right", title: (bin) => `${bin.n.toLocaleString("en")} items\nconfidence ${bin.confidence.toFixed(3)}\nright ${bin.right.toFixed(3)}`, fill: "var(--paper)", stroke: "var(--rule)" })),
      ],
    });
  },
  scatter(data, container, width) {
    const { ids, actual, predicted } = data.errors[container.dataset.head];
    const points = ids.map((id, i) => ({ id, actual: actual[i], predicted: predicted[i], error: predicted[i] - actual[i] }));
    const both = [...actual, ...predicted], low = Math.min(...both), high = Math.max(...both);
    const residual = container.dataset.kind === "residual";
    const y = residual ? "error" : "predicted";
    return Plot.plot({
      style, width: Math.min(width, 460), height: 320, marginLeft: 48, marginBottom: 38,
      x: { label: residual ? "predicted →" : "actual →", nice: true }, y: { label: residual ? "predicted − actual" : "predicted", grid: true, nice: true },
      marks: [
        residual ? Plot.ruleY([0], { stroke: "var(--soft)", strokeDasharray: "3,4" }) : Plot.link([0], { x1: low, y1: low, x2: high, y2: high, stroke: "var(--soft)", strokeDasharray: "3,4" }),
        Plot.dot(points, { x: residual ? "predicted" : "actual", y, r: 2.5, fill: "var(--ice)", fillOpacity: 0.5 }),
        Plot.tip(points, Plot.pointer({ x: residual ? "predicted" : "actual", y, title: (point) => `${point.id}\nactual ${point.actual}\npredicted ${point.predicted}`, fill: "var(--paper)", stroke: "var(--rule)" })),
      ],
    });
  },
  curve(data, container, width) {
    const { kind, unit, points } = JSON.parse(container.querySelector("script").textContent);
    const names = new Set(points.map((point) => point.curve));
    return Plot.plot({
      style, width, height: 240, marginLeft: 48, marginBottom: 38,
      x: { label: `${unit} →` }, y: { label: names.size === 1 ? points[0].curve : kind, grid: true, nice: true },
      color: { legend: names.size > 1, range: COLOURS },
      marks: [
        Plot.lineY(points, { x: "step", y: "value", stroke: "curve", strokeWidth: 1.6 }),
        Plot.tip(points, Plot.pointerX({ x: "step", y: "value", title: (point) => `${unit} ${point.step}\n${point.curve} ${point.value}`, fill: "var(--paper)", stroke: "var(--rule)" })),
      ],
    });
  },
  map(data, container, width) {
    const figure = container.closest("figure"), store = container.dataset.store, map = data.maps[store];
    const method = figure.querySelector("input:checked").value, few = !data.regression && data.classes.length <= COLOURS.length;
    const points = map.ids.map((id, i) => ({ id, x: map.points[method][i][0], y: map.points[method][i][1], label: map.label[i], predicted: map.predicted[i] }));
    const isWrong = (point) => !data.regression && point.predicted != null && point.predicted !== point.label;
    const fill = few ? "label" : data.regression ? (point) => Number(point.label) : (point) => (isWrong(point) ? "wrong" : "right");
    const color = few ? { domain: data.classes, range: COLOURS, legend: true } : data.regression ? { scheme: "viridis", legend: true } : { domain: ["right", "wrong"], range: ["#2f7ebc", "#e07b1a"], legend: true };
    const high = Math.max(...points.map((point) => point.y), 1), side = Math.min(width, 760);
    const chart = Plot.plot({
      style, width: side, height: Math.max(220, Math.min(side, 560) * Math.max(0.5, high / 1000)), margin: 8, axis: null, color,
      x: { domain: [0, 1000] }, y: { domain: [0, high] },
      marks: [
        Plot.dot(points, { x: "x", y: "y", fill, r: 3.4, fillOpacity: 0.8 }),
        Plot.dot(points.filter(isWrong), { x: "x", y: "y", r: 5.6, stroke: "var(--ink)", strokeWidth: 1.3 }),
        Plot.dot(points, Plot.pointer({ x: "x", y: "y", r: 8, stroke: "var(--ice)", strokeWidth: 2.5 })),
      ],
    });
    // The item under the pointer, or reached by the arrow keys, is shown beside the map; a click or Enter opens it.
    const beside = figure.querySelector(".beside"), order = [...points].sort((a, b) => isWrong(b) - isWrong(a) || a.x - b.x);
    let at = -1, current = null;
    const show = (point) => {
      current = point;
      if (!point) return;
      const text = createElement("p", {}, createElement("b", {}, point.label), isWrong(point) ? createElement("span", { className: "wrong" }, ` said ${point.predicted}`) : "");
      beside.replaceChildren(thumbnail(data, point.id, 96), text);
    };
    const openCurrent = () => current && openItem(container.dataset.in, current.id, map.head, current.predicted);
    chart.addEventListener("input", () => show(chart.value));
    chart.addEventListener("click", openCurrent);
    container.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) { event.preventDefault(); at = (at + step + order.length) % order.length; show(order[at]); }
      if (event.key === "Enter") openCurrent();
    };
    for (const input of figure.querySelectorAll("input")) input.onchange = () => redraw(container);
    return chart;
  },
};

const redraw = (container) => {
  const width = Math.floor(container.clientWidth);
  if (!width) return;
  container.dataset.width = width;
  const chart = draw[container.dataset.chart](datasets[container.dataset.in], container, width);
  for (const old of container.querySelectorAll(":scope > :not(script)")) old.remove();
  container.append(chart);
};
let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    for (const container of document.querySelectorAll("[data-width]")) {
      if (container.clientWidth && Math.abs(container.clientWidth - container.dataset.width) > 1) redraw(container);
    }
  }, 150);
});
const drawWithin = (part) => {
  for (const container of part.querySelectorAll("[data-chart]:not([data-width])")) redraw(container);
};
document.addEventListener("toggle", (event) => drawWithin(event.target), true);
drawWithin(document);
