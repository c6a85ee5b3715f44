// <loopbench-solve data-recordings="[...]">: recorded solves (scripts/runs/recording.py), a segment
// at a time, side by side. <loopbench-grid>: a puzzle to draw. No network, nothing kept.
//
// Confidence is lightness, a change is a corner, a broken rule is a hatch: none needs a hue.
"use strict";
(() => {
const MAZE = { wall: "#", path: "o", ends: "SG", names: { "#": "wall", o: "path", " ": "no path", S: "start", G: "goal" } };
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const place = (cell, size) => `row ${Math.floor(cell / size) + 1} column ${(cell % size) + 1}`;
const number = (v) => (v !== 0 && (v < 1e-3 || v >= 1e4) ? v.toExponential(1) : v.toPrecision(3));
const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const shade = (share) => {  // white to blue, dark enough to tell and light enough to read on
  const at = Math.max(0, Math.min(1, share));
  const [r, g, b] = [[255, 116], [255, 176], [255, 226]].map(([from, to]) => Math.round(from + at * (to - from)));
  return `rgb(${r},${g},${b})`;
};

const STYLE = `
  :host { display: block; background: #fff !important; color: #22303c !important; border-radius: 8px; padding: 12px;
    font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; color-scheme: light; }
  * { box-sizing: border-box; }
  .controls { display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; margin-bottom: 10px; }
  .controls input { flex: 1 1 140px; min-width: 120px; accent-color: #1f5f99; height: 28px; }
  button, select { font: inherit; color: #22303c; background: #f1f3f5; border: 1px solid #8494a1; border-radius: 6px;
    min-height: 36px; min-width: 36px; padding: 2px 10px; cursor: pointer; }
  button[aria-pressed="true"] { background: #22303c; color: #fff; }
  button:focus-visible, select:focus-visible, input:focus-visible, svg:focus-visible { outline: 3px solid #1f5f99; outline-offset: 2px; }
  output { font-variant-numeric: tabular-nums; white-space: nowrap; }
  .panels { display: flex; flex-wrap: wrap; gap: 28px; align-items: flex-start; }
  .panel { flex: 1 1 320px; min-width: 0; display: flex; flex-wrap: wrap; gap: 10px 22px; align-items: flex-start; }
  .panel > header { flex: 1 1 100%; } .panel > .board { flex: 1 1 280px; max-width: 440px; min-width: 0; }
  .panel > .numbers { flex: 1 1 240px; max-width: 440px; min-width: 0; }
  h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; } p { margin: .35rem 0; overflow-wrap: anywhere; }
  .small { color: #4a5864; font-size: .85rem; }
  svg { display: block; width: 100%; height: auto; touch-action: manipulation; }
  .verdict { font-weight: 600; } ul { margin: .2rem 0 .4rem; padding-left: 1.2rem; font-size: .9rem; }
  figure { margin: 0 0 6px; } figcaption { font-size: .85rem; color: #4a5864; }
  .legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-top: 10px; font-size: .85rem; color: #4a5864; }
  .legend span { display: inline-flex; align-items: center; gap: 5px; } .legend svg { width: 20px; height: 20px; }
  .where { min-height: 1.4em; }
  @media print { .controls { display: none; } }`;

const HATCH = (id) => `<pattern id="${id}" width="0.25" height="0.25" patternUnits="userSpaceOnUse"
  patternTransform="rotate(45)"><rect width="0.08" height="0.25" fill="#c8321f"/></pattern>`;

// One grid as SVG. marks: {shade(cell), changed: Set, broken: Set, fixed(cell)}.
function draw(look, text, marks, cursor) {
  const { kind, size, box } = look, parts = [];
  const maze = kind === "maze";
  for (let cell = 0; cell < size * size; cell++) {
    const x = cell % size, y = Math.floor(cell / size), c = text[cell];
    const sure = marks.sure(cell), fixed = marks.fixed(cell);
    let field = "#fff";
    if (maze && c === MAZE.wall) field = "#4b5661";
    else if (maze) field = c === MAZE.path ? shade(0.25 + 0.75 * sure) : shade(fixed ? 0 : 0.9 * (1 - sure));
    else field = fixed ? "#e6e9ec" : c === "." ? "#fff" : shade(sure);
    parts.push(`<rect x="${x}" y="${y}" width="1.01" height="1.01" fill="${field}"/>`);
    if (marks.broken.has(cell)) parts.push(`<rect x="${x}" y="${y}" width="1" height="1" fill="url(#hatch)"/>`);
    if (maze && c === MAZE.path)
      parts.push(`<circle cx="${x + .5}" cy="${y + .5}" r="${0.12 + 0.2 * sure}" fill="#123c63"/>`);
    else if (maze ? MAZE.ends.includes(c) : c !== ".") {
      const ink = marks.broken.has(cell) ? ' stroke="#fff" stroke-width=".16" paint-order="stroke"' : "";
      parts.push(`<text x="${x + .5}" y="${y + .53}" font-size="${maze ? .95 : .62}" font-weight="${fixed ? 700 : 400}"
        text-anchor="middle" dominant-baseline="central" fill="#16212b"${ink}>${escape(c)}</text>`);
    }
    if (marks.changed.has(cell))
      parts.push(`<path d="M${x} ${y}h${maze ? .5 : .34}l-${maze ? .5 : .34} ${maze ? .5 : .34}z" fill="#16212b"/>`);
  }
  for (let line = 0; line <= size; line++) {
    for (const [apart, d] of [[box[0], `M0 ${line}H${size}`], [box[1], `M${line} 0V${size}`]]) {
      const strong = line % apart === 0;
      if (strong || !maze) parts.push(`<path d="${d}" stroke="${strong ? "#22303c" : "#a9b4bd"}" stroke-width="${strong ? size / 180 : size / 600}"/>`);
    }
  }
  if (cursor !== null)
    parts.push(`<rect x="${cursor % size + .05}" y="${Math.floor(cursor / size) + .05}" width=".9" height=".9" fill="none"
      stroke="#16212b" stroke-width="${size / 90}"/>`);
  const edge = size / 90;
  return `<svg class="grid" viewBox="${-edge} ${-edge} ${size + 2 * edge} ${size + 2 * edge}" tabindex="0" role="group"
    aria-label="${escape(`${kind} ${size} by ${size}; arrow keys move over the cells`)}"><defs>${HATCH("hatch")}</defs>${parts.join("")}</svg>`;
}

// A line on a log axis for each candidate, the one shown last and dark; values[k][s] > 0 or null.
function chart(title, values, shown, now, rule) {
  const all = values.flat().filter((v) => v !== null && v > 0).map(Math.log10);
  if (!all.length) return "";
  let low = Math.floor(Math.min(...all, rule ? 0 : Infinity)), high = Math.ceil(Math.max(...all, rule ? 0 : -Infinity));
  if (low === high) high = low + 1;
  const W = 320, H = 130, L = 46, R = 8, T = 6, B = 20, n = values[0].length;
  const X = (s) => L + (n === 1 ? 0.5 : s / (n - 1)) * (W - L - R);
  const Y = (v) => T + (1 - (Math.log10(v) - low) / (high - low)) * (H - T - B);
  const parts = [], step = Math.ceil((high - low) / 4);
  for (let e = low; e <= high; e += step)
    parts.push(`<path d="M${L} ${Y(10 ** e)}H${W - R}" stroke="#dfe4e8"/><text x="${L - 5}" y="${Y(10 ** e) + 4}" text-anchor="end">${
      e >= -2 && e <= 3 ? 10 ** e : `1e${e}`}</text>`);
  if (rule) parts.push(`<path d="M${L} ${Y(1)}H${W - R}" stroke="#22303c" stroke-dasharray="5 4"/>`);
  parts.push(`<path d="M${X(now)} ${T}V${H - B}" stroke="#22303c" stroke-width="1.5"/>`);
  const order = values.map((_, k) => k).filter((k) => k !== shown).concat(shown);
  for (const k of order) {
    const own = k === shown;
    let d = "", pen = "M";
    values[k].forEach((v, s) => { if (v > 0) { d += `${pen}${X(s).toFixed(1)} ${Y(v).toFixed(1)}`; pen = "L"; } else pen = "M"; });
    parts.push(`<path d="${d}" fill="none" stroke="${own ? "#1f5f99" : "#b9c3cb"}" stroke-width="${own ? 2 : 1}"/>`);
    if (own) values[k].forEach((v, s) => { if (v > 0) parts.push(
      `<circle cx="${X(s)}" cy="${Y(v)}" r="${s === now ? 5 : 3}" fill="#1f5f99"><title>segment ${s + 1}: ${number(v)}</title></circle>`); });
  }
  for (const s of new Set([0, n - 1])) parts.push(`<text x="${X(s)}" y="${H - 5}" text-anchor="middle">${s + 1}</text>`);
  const here = values[shown][now];
  return `<figure><figcaption>${title}: ${here === null ? "overflow" : number(here)}${rule && `; ${rule}`}</figcaption>
    <svg viewBox="0 0 ${W} ${H}" font-size="11" fill="#4a5864" role="img" aria-label="${title} by segment, log axis">${parts.join("")}</svg></figure>`;
}

const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
function moved(cell, key, size) {
  const [dy, dx] = moves[key], clamp = (v) => Math.max(0, Math.min(size - 1, v));
  return clamp(Math.floor(cell / size) + dy) * size + clamp(cell % size + dx);
}
function cellAt(svg, event, size) {  // null outside the cells
  const box = svg.getBoundingClientRect(), edge = size / 90, unit = (size + 2 * edge) / box.width;
  const x = Math.floor((event.clientX - box.left) * unit - edge), y = Math.floor((event.clientY - box.top) * unit - edge);
  return x >= 0 && y >= 0 && x < size && y < size ? y * size + x : null;
}

class Solve extends HTMLElement {
  static observedAttributes = ["data-recordings"];
  attributeChangedCallback() { if (this.shadowRoot) { this.stop(); this.connectedCallback(); } }
  connectedCallback() {
    this.solves = JSON.parse(this.dataset.recordings);
    this.shown = this.solves.map((r) => r.chosen);
    this.cursor = this.solves.map(() => null);
    this.count = Math.max(...this.solves.map((r) => r.candidates[0].segments.length));
    this.now = this.count - 1;
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style><div class="controls">
      <button class="play" type="button">Play</button><button class="back" type="button" aria-label="one segment back">‹</button>
      <button class="on" type="button" aria-label="one segment on">›</button>
      <input type="range" min="1" max="${this.count}" value="${this.count}" step="1" aria-label="segment">
      <output aria-live="off"></output></div><div class="panels"></div>${this.legend()}`;
    this.panels = this.solves.map((_, i) => this.panel(i));
    root.querySelector(".panels").append(...this.panels);
    root.querySelector("input").addEventListener("input", (e) => this.go(Number(e.target.value) - 1));
    root.querySelector(".back").addEventListener("click", () => this.go(this.now - 1));
    root.querySelector(".on").addEventListener("click", () => this.go(this.now + 1));
    root.querySelector(".play").addEventListener("click", () => (this.timer ? this.stop() : this.play()));
    this.show();
  }
  disconnectedCallback() { this.stop(); }
  play() {
    if (this.now === this.count - 1) this.now = -1;
    const step = () => { this.now = Math.min(this.now + 1, this.count - 1); this.show(); if (this.now === this.count - 1) this.stop(); };
    this.timer = setInterval(step, 450);
    this.shadowRoot.querySelector(".play").textContent = "Pause";
    step();
  }
  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.shadowRoot.querySelector(".play").textContent = "Play";
  }
  go(segment) { this.stop(); this.now = Math.max(0, Math.min(this.count - 1, segment)); this.show(); }
  legend() {
    const maze = this.solves[0].kind === "maze", [kind, blank] = maze ? ["maze", " "] : ["key", "."];
    const look = { kind, size: 1, box: [1, 1] }, none = new Set(), one = new Set([0]);
    const cell = (sure, changed, broken, fixed, text) => draw(look, text, { sure: () => sure, changed, broken, fixed: () => fixed }, null)
      .replace('tabindex="0" role="group"', 'aria-hidden="true"').replace(/hatch/g, "hatch-key");
    const shades = (text) => [.2, .6, 1].map((s) => cell(s, none, none, false, text)).join("");
    const own = maze
      ? `<span>${cell(1, none, none, true, "#")}wall</span><span>${shades("o")}path, unsure to sure</span><span>${shades(" ")}no path, unsure to sure</span><span>S start, G goal</span>`
      : `<span>${cell(1, none, none, true, "5")}given</span><span>${shades(" ")}unsure to sure</span>`;
    return `<div class="legend">${own}<span>${cell(1, one, none, maze, blank)}changed in this segment</span>
      <span>${cell(1, none, one, maze, blank)}breaks a rule</span></div>`;
  }
  panel(i) {
    const r = this.solves[i], panel = document.createElement("section");
    panel.className = "panel";
    panel.setAttribute("aria-label", r.model);
    const options = r.candidates.map((c, k) => `<option value="${k}"${k === r.chosen ? " selected" : ""}>${
      `start ${c.start + 1}, ${c.image ? `image ${c.image}` : "the question itself"}`}${k === r.chosen ? " (answers)" : ""}</option>`);
    const pick = r.candidates.length > 1 ? `<p><label>Candidate <select>${options.join("")}</select></label></p>` : "";
    panel.innerHTML = `<header><h3>${escape(r.model)}</h3><p class="small">${escape(r.recipe)}, ${r.parameters.toLocaleString("en")} parameters${
      r.candidates.length > 1 ? `; of ${r.candidates.length} candidates one answers, by ${escape(r.rule)}` : ""}</p>${pick}</header>
      <div class="board"></div><div class="numbers"></div>`;
    panel.querySelector("select")?.addEventListener("change", (e) => { this.shown[i] = Number(e.target.value); this.show(); });
    const board = panel.querySelector(".board");
    board.innerHTML = `<div class="drawn"></div><p class="where small" aria-live="polite"></p>`;
    board.addEventListener("keydown", (e) => {
      if (!(e.key in moves)) return;
      e.preventDefault();
      this.cursor[i] = this.cursor[i] === null ? 0 : moved(this.cursor[i], e.key, r.size);
      this.show();
    });
    board.addEventListener("pointerdown", (e) => {
      const svg = e.target.closest("svg");
      if (svg) { this.cursor[i] = cellAt(svg, e, r.size); this.show(); }
    });
    return panel;
  }
  show() {
    const root = this.shadowRoot, slider = root.querySelector("input");
    slider.value = this.now + 1;
    slider.setAttribute("aria-valuetext", `segment ${this.now + 1} of ${this.count}`);
    root.querySelector("output").textContent = `segment ${this.now + 1} of ${this.count}`;
    this.solves.forEach((r, i) => this.showOne(r, i));
  }
  showOne(r, i) {
    const candidate = r.candidates[this.shown[i]], segments = candidate.segments;
    const now = Math.min(this.now, segments.length - 1), said = segments[now];
    const before = now ? segments[now - 1].answer : r.question, free = new Set(r.free);
    const changed = new Set([...said.answer].flatMap((c, cell) => (c === before[cell] ? [] : [cell])));
    if (!now) changed.clear();  // after the first segment every cell is new
    const broken = new Set(said.broken.flatMap((b) => b.cells));
    const marks = { sure: (cell) => said.confidence[cell] / 100, changed, broken, fixed: (cell) => !free.has(cell) && said.answer[cell] === r.question[cell] };
    const panel = this.panels[i], drawn = panel.querySelector(".drawn");
    const focused = drawn.contains(this.shadowRoot.activeElement);
    drawn.innerHTML = draw(r, said.answer, marks, this.cursor[i]);
    if (focused) drawn.querySelector("svg").focus();
    const at = this.cursor[i];
    const named = (cell) => (r.kind === "maze" && MAZE.names[said.answer[cell]]) || said.answer[cell];
    panel.querySelector(".where").textContent = at === null ? "" : `${place(at, r.size)}: ${named(at)}, ${
      marks.fixed(at) ? "given" : `${said.confidence[at]} % sure`}${changed.has(at) ? ", changed" : ""}${broken.has(at) ? ", breaks a rule" : ""}`;
    const sum = (name, upTo) => segments.slice(0, upTo + 1).reduce((total, s) => total + s[name], 0);
    const total = r.candidates.reduce((n, c) => n + c.segments.slice(0, now + 1).reduce((m, s) => m + s.net_calls, 0), 0);
    const rules = said.broken.slice(0, 4).map((b) => `<li>${escape(b.rule)}</li>`).join("");
    const more = said.broken.length > 4 ? `<li>and ${said.broken.length - 4} more</li>` : "";
    const verdict = said.broken.length ? `<p class="verdict">✗ ${said.broken.length === 1 ? "one rule is" : `${said.broken.length} rules are`} broken</p><ul>${rules}${more}</ul>`
      : `<p class="verdict">✓ every rule holds</p>`;
    const made = sum("evaluations", now);
    panel.querySelector(".numbers").innerHTML = `${verdict}<p class="small">${now ? `${counted(changed.size, "cell")} changed` : "the first answer"}; ${
      r.solved ? `${counted(made, "solver evaluation")} so far (${said.evaluations} in this segment), ` : ""}${counted(sum("net_calls", now), "net call")}${
      r.candidates.length > 1 ? `, ${total} of all candidates` : ""}</p>
      ${chart(r.solved ? "relative residual" : "change of the state", r.candidates.map((c) => c.segments.map((s) => s.residual)), this.shown[i], now, "")}
      ${chart("halting odds, e^score", r.candidates.map((c) => c.segments.map((s) => Math.exp(s.halt))), this.shown[i], now, "halts above the dashed line")}`;
  }
}

// A puzzle to draw: a palette for fingers and mice, characters and arrows for keys. Tells "edited".
class Grid extends HTMLElement {
  static observedAttributes = ["data-puzzle"];
  attributeChangedCallback() { if (this.isConnected) this.connectedCallback(); }
  connectedCallback() {
    const { kind, size, box, cells, palette } = JSON.parse(this.dataset.puzzle || '{"size":0,"cells":"","palette":[]}');
    Object.assign(this, { look: { kind, size, box: box || [1, 1] }, cells: [...cells], palette });
    this.cursor ??= null;
    if (this.cursor >= size * size) this.cursor = null;
    if (!palette.some(([c]) => c === this.pen)) this.pen = null;  // a touch selects, and draws nothing
    if (!this.shadowRoot) {
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${STYLE} .grid { max-width: 440px; touch-action: none; cursor: crosshair; }</style><div class="controls" role="group" aria-label="draws"></div><div class="drawn"></div>
        <p class="small">Choose what a touch draws; or select a cell, move by arrow keys and type.</p>`;
      const drawn = root.querySelector(".drawn");
      const paint = (e) => { const svg = drawn.querySelector("svg"), cell = cellAt(svg, e, this.look.size); if (cell === null) return; if (this.pen !== null) this.put(cell, this.pen); else { this.cursor = cell; this.show(); } };
      drawn.addEventListener("pointerdown", (e) => { this.painting = true; drawn.setPointerCapture(e.pointerId); paint(e); drawn.querySelector("svg").focus(); e.preventDefault(); });
      drawn.addEventListener("pointermove", (e) => { if (this.painting) paint(e); });
      for (const name of ["pointerup", "pointercancel"]) drawn.addEventListener(name, () => { if (this.painting) { this.painting = false; if (this.pen !== null) this.tell(); } });
      drawn.addEventListener("keydown", (e) => {
        const key = { Backspace: 1, Delete: 1, 0: 1 }[e.key] ? this.palette[0][0] : this.palette.map(([c]) => c).find((c) => c.toLowerCase() === e.key.toLowerCase());
        if (e.key in moves) { this.cursor = this.cursor === null ? 0 : moved(this.cursor, e.key, this.look.size); this.show(); }
        else if (key !== undefined && this.cursor !== null && !e.ctrlKey && !e.metaKey) { this.put(this.cursor, key); this.tell(); }
        else return;
        e.preventDefault();
      });
    }
    this.show();
  }
  put(cell, character) {
    if (this.look.kind === "maze" && MAZE.ends.includes(character))  // there is one of each
      this.cells = this.cells.map((c) => (c === character ? " " : c));
    this.cells[cell] = character;
    this.cursor = cell;
    this.show();
  }
  tell() { this.dispatchEvent(new CustomEvent("edited", { detail: this.cells.join("") })); }
  show() {
    const root = this.shadowRoot, drawn = root.querySelector(".drawn"), focused = drawn.contains(root.activeElement);
    root.querySelector(".controls").replaceChildren(...this.palette.map(([character, name]) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: name, onclick: () => { this.pen = character === this.pen ? null : character; this.show(); } });
      button.setAttribute("aria-pressed", String(character === this.pen));
      return button;
    }));
    if (!this.look.size) { drawn.replaceChildren(); return; }
    const none = new Set();
    drawn.innerHTML = draw(this.look, this.cells, { sure: () => 1, changed: none, broken: none, fixed: (cell) => this.cells[cell] !== "." }, this.cursor);
    if (focused) drawn.querySelector("svg").focus();
  }
}
if (!customElements.get("loopbench-solve")) {
  customElements.define("loopbench-solve", Solve);
  customElements.define("loopbench-grid", Grid);
}
})();
