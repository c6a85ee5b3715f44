"use strict";
// What of the report answers the hand: tables that sort, curves that tell their values (a solve is
// played by solve_player.js). All text is set as text, never as markup: a run may be called anything.

const page = document.documentElement;
page.classList.add("scripted");

function made(tag, attributes = {}, ...children) {
  const drawn = ["svg", "g", "path", "line", "text", "circle", "rect"].includes(tag);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Tables: a click on a heading sorts by it, the largest first, another the other way round.

function leading(text) { // the number a cell begins with
  const found = text.replaceAll(",", "").match(/^-?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return found && Number(found[0]);
}

function sortBy(table, heading) {
  const column = [...heading.parentNode.children].indexOf(heading);
  const text = row => row.cells[column].textContent.trim();
  const named = column === 0; // models: by name
  const before = heading.getAttribute("aria-sort");
  const falls = before ? before === "ascending" : !named;
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const order = (a, b) => {
    if (named) return text(a).localeCompare(text(b), "en", { numeric: true }) * (falls ? -1 : 1);
    const [x, y] = [leading(text(a)), leading(text(b))];
    if (x === null || y === null) return (x === null) - (y === null); // what has none stands last
    return falls ? y - x : x - y;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = made("button", { type: "button" }, heading.textContent);
    button.addEventListener("click", () => sortBy(table, heading));
    heading.replaceChildren(button);
  }
}

// Charts: lines of points {x, y, said}, drawn as wide as the page has room for.

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#aa3377", "#56b4e9", "#806000", "#000000"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3"]; // apart without hue, too
const look = i => ({
  stroke: COLOURS[i % COLOURS.length],
  "stroke-dasharray": DASHES[(i + Math.floor(i / COLOURS.length)) % DASHES.length],
  "stroke-width": 1.8,
  fill: "none",
});

function ticks(low, high) { // round numbers in a span, about five
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(m => m * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

const short = value => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

class Chart {
  // yLabel; span: of y, if it is given; dots: a mark at every point.
  constructor(place, { yLabel, span = null, dots = false }) {
    Object.assign(this, { place, yLabel, span, dots, lines: [], at: null });
    this.svg = made("svg", { tabindex: 0, role: "img", "aria-label": `${yLabel}: arrow keys tell the values` });
    this.tip = made("div", { class: "tip", role: "status" });
    this.tip.hidden = true;
    place.replaceChildren(this.svg, this.tip);
    this.svg.addEventListener("pointermove", event => this.near(event));
    this.svg.addEventListener("pointerdown", event => this.near(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
    this.svg.addEventListener("keydown", event => this.step(event));
    new ResizeObserver(() => this.draw()).observe(place);
  }

  show(lines, xLabel) { // lines: {look, points}
    this.lines = lines.map(line => ({ ...line, points: line.points.filter(p => p.x !== null) }));
    this.xLabel = xLabel;
    this.at = null;
    this.draw();
  }

  draw() {
    const width = Math.max(this.place.clientWidth, 240), height = 280;
    const [left, right, top, bottom] = [52, 12, 22, 42];
    const points = this.lines.flatMap(line => line.points);
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const put = (...element) => this.svg.appendChild(made(...element));
    put("text", { x: 0, y: 12 }, this.yLabel);
    if (!points.length) put("text", { x: left, y: height / 2 }, "nothing is shown");
    if (!points.length) return this.point(null);
    const xs = points.map(p => p.x), ys = this.span || points.map(p => p.y);
    const [x0, x1] = [Math.min(0, ...xs), Math.max(...xs)]; // what was spent begins with nothing
    let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
    if (y0 === y1) [y0, y1] = [y0 - 1, y1 + 1];
    this.x = value => left + (value - x0) / (x1 - x0 || 1) * (width - left - right);
    this.y = value => height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom);
    for (const value of ticks(y0, y1)) {
      const y = this.y(value);
      put("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y });
      put("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, short(value));
    }
    put("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom });
    for (const value of ticks(x0, x1)) {
      put("text", { x: this.x(value), y: height - bottom + 16, "text-anchor": "middle" }, short(value));
    }
    put("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, this.xLabel);
    for (const line of this.lines) {
      const path = line.points.map((p, i) => `${i ? "L" : "M"}${this.x(p.x).toFixed(1)},${this.y(p.y).toFixed(1)}`);
      put("path", { d: path.join(""), ...line.look });
      if (this.dots || line.points.length === 1) {
        for (const p of line.points) put("circle", { cx: this.x(p.x), cy: this.y(p.y), r: 2.5, fill: line.look.stroke });
      }
    }
    this.ring = put("circle", { r: 5, fill: "none", stroke: "#222", "stroke-width": 1.5, visibility: "hidden" });
    this.point(this.at);
  }

  near(event) {
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = Infinity;
    this.lines.forEach((line, l) => line.points.forEach((p, i) => {
      const far = Math.hypot(this.x(p.x) - x, this.y(p.y) - y);
      if (far < least) [best, least] = [[l, i], far];
    }));
    this.point(best);
  }

  step(event) {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const filled = this.lines.map((line, l) => l).filter(l => this.lines[l].points.length);
    if (!move || !filled.length) return;
    event.preventDefault();
    if (!this.at) return this.point([filled[0], 0]);
    const place = (filled.indexOf(this.at[0]) + move[0] + filled.length) % filled.length;
    const last = this.lines[filled[place]].points.length - 1;
    this.point([filled[place], Math.min(Math.max(this.at[1] + move[1], 0), last)]);
  }

  point(at) { // tell the values of a point
    this.at = at;
    this.tip.hidden = !at;
    this.ring?.setAttribute("visibility", at ? "visible" : "hidden");
    if (!at) return;
    const point = this.lines[at[0]].points[at[1]], [x, y] = [this.x(point.x), this.y(point.y)];
    this.ring.setAttribute("cx", x);
    this.ring.setAttribute("cy", y);
    this.tip.textContent = point.said;
    const room = this.place.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(x + 10, room))}px`;
    this.tip.style.top = `${y > 110 ? y - this.tip.offsetHeight - 10 : y + 12}px`;
  }
}

// Curves of training: models and seeds are shown or not, over steps, minutes or FLOPs.

function choices(title, names, decorate, change) {
  const boxes = names.map((name, i) => {
    const box = made("input", { type: "checkbox" });
    box.checked = true;
    box.addEventListener("change", change);
    return [box, made("label", {}, box, ...decorate(i), String(name))];
  });
  const set = made("fieldset", {}, made("legend", {}, title), ...boxes.map(([, label]) => label));
  return [set, i => boxes[i][0].checked];
}

function showCurves(place, data) {
  const seeds = [...new Set(data.runs.map(run => run.seed))].sort((a, b) => a - b);
  const over = { step: [0, "training steps"], minutes: [1, "training minutes"], TFLOP: [2, "training TFLOP, as executed"] };
  const measured = data.runs.some(run => run.exact.some(point => point[2] !== null));
  const names = Object.keys(over).filter(name => measured || name !== "TFLOP");
  const axis = made("select", {}, ...names.map(name => made("option", { value: name }, over[name][1])));
  axis.value = "minutes";
  const key = i => [made("svg", { width: 26, height: 8, "aria-hidden": "true" }, made("path", { d: "M0,4H26", ...look(i) }))];
  const [models, modelShown] = choices("models", data.models, key, draw);
  const [chosen, seedShown] = choices("seeds", seeds, () => [], draw);
  const along = made("fieldset", {}, made("label", {}, "over", axis));
  const charts = made("div", { class: "charts" }, made("div", { class: "chart" }), made("div", { class: "chart" }));
  place.append(models, ...(seeds.length > 1 ? [chosen] : []), along, charts);
  const loss = new Chart(charts.children[0], { yLabel: "cell loss (training)" });
  const exact = new Chart(charts.children[1], { yLabel: "held-out exact, %", span: [0, 100], dots: true });

  function said(run, point, value) {
    const spent = `${short(point[1])} min${point[2] === null ? "" : `, ${short(point[2])} TFLOP`}`;
    return `${data.models[run.model]}, seed ${run.seed}\nstep ${point[0].toLocaleString("en")}, ${spent}\n${value}`;
  }

  function draw() {
    const [column, label] = over[axis.value];
    const runs = data.runs.filter(run => modelShown(run.model) && seedShown(seeds.indexOf(run.seed)));
    const lines = (name, value) => runs.map(run => ({
      look: look(run.model),
      points: run[name].map(p => ({ x: p[column], y: p[3], said: said(run, p, value(p)) })),
    }));
    loss.show(lines("loss", p => `loss ${short(p[3])}`), label);
    exact.show(lines("exact", p => `exact ${p[3].toFixed(1)} % ± ${p[4].toFixed(1)}`), label);
  }

  axis.addEventListener("change", draw);
  draw();
}

for (const place of document.querySelectorAll("[data-numbers]")) {
  showCurves(place, JSON.parse(document.getElementById(place.dataset.numbers).textContent));
}

// On paper nothing can be unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => { for (const each of folded) each.open = false; });
