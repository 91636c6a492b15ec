// The chart of the last ten minutes: SVG, drawn anew with each answer, with axes and a cursor.

import { atMinute, at as clock, lasting, rate, short } from "./format.js";
import { make, say } from "./dom.js";

const SERIES = [["accepted", "Accepted"], ["stored", "Stored"], ["refused", "Refused"]];
const LONGEST = 600;
const SHORTEST = 120;
const MARGIN = { top: 8, right: 8, bottom: 22, left: 46 };
// Objects come in bursts: each point is a mean over so many seconds.
const MEAN = 10;
const GAP = 20;

function node(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Each sum is made anew: one that is carried along would keep the rounding errors of busier moments.
export function means(at, values) {
  let first = 0;
  return values.map((_, n) => {
    while (at[n] - at[first] >= MEAN) first += 1;
    let sum = 0;
    for (let m = first; m <= n; m += 1) sum += values[m];
    return sum / (n - first + 1);
  });
}

function step(most) {
  const rough = Math.max(most, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough);
}

export class Chart {
  constructor(parent, legend) {
    this.parent = parent;
    this.cursor = null;
    this.legend = new Map();
    const moment = make("span", { text: "" });
    legend.append(moment);
    this.moment = moment;
    for (const [name, label] of SERIES) {
      const item = make("span");
      const value = make("b", { text: "–" });
      item.append(make("i", { className: `swatch ${name}` }), `${label} `, value, " /s");
      legend.append(item);
      this.legend.set(name, value);
    }
    new ResizeObserver(() => this.draw()).observe(parent);
    parent.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    parent.addEventListener("pointerleave", () => this.#point(null));
  }

  update(data) {
    this.end = data.at;
    this.at = data.chart.at;
    this.values = Object.fromEntries(SERIES.map(([name]) => [name, means(this.at, data.chart[name])]));
    // A service that has just started has a short history: it fills the width all the same.
    const known = this.end - (this.at[0] ?? this.end);
    this.span = Math.min(LONGEST, Math.max(SHORTEST, known));
    say("chart-title", `The last ${this.span < LONGEST ? lasting(this.span) : "ten minutes"}`);
    this.draw();
  }

  draw() {
    if (!this.at) return;
    const { width, height } = this.parent.getBoundingClientRect();
    if (!width) return;
    this.width = width;
    const most = Math.max(0, ...SERIES.flatMap(([name]) => this.values[name]));
    const tick = step(most);
    const top = Math.max(tick * Math.ceil(most / tick), tick);
    const x = (moment) => MARGIN.left + (1 - (this.end - moment) / this.span) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => height - MARGIN.bottom - (value / top) * (height - MARGIN.top - MARGIN.bottom);
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.#inWords() });
    for (let value = 0; value <= top * 1.001; value += tick) {
      svg.append(node("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
      svg.append(node("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, short(value)));
    }
    const every = [30, 60, 120, 240].find((seconds) => this.span / seconds <= (width < 500 ? 3 : 5)) ?? 240;
    const label = every < 60 ? (moment) => clock(moment, this.end) : atMinute;
    for (let moment = Math.ceil((this.end - this.span) / every) * every; moment <= this.end; moment += every) {
      const place = x(moment);
      if (place < MARGIN.left + 16 || place > width - 20) continue;
      svg.append(node("text", { x: place, y: height - 5, "text-anchor": "middle" }, label(moment)));
      svg.append(node("line", { class: "grid", x1: place, x2: place, y1: height - MARGIN.bottom, y2: height - MARGIN.bottom + 4 }));
    }
    for (const [name] of SERIES) {
      for (const points of this.#runs(name, x, y)) {
        const line = points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L");
        const base = y(0).toFixed(1);
        svg.append(node("path", { class: `area ${name}`, d: `M${points[0][0].toFixed(1)},${base}L${line}L${points.at(-1)[0].toFixed(1)},${base}Z` }));
        svg.append(node("path", { class: `line ${name}`, d: `M${line}` }));
      }
    }
    this.line = node("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
    svg.append(this.line);
    this.x = x;
    this.parent.replaceChildren(svg);
    this.#read();
  }

  // Where a process did not write there is a gap, and no line across it.
  * #runs(name, x, y) {
    let run = [];
    for (let n = 0; n < this.at.length; n += 1) {
      if (this.at[n] < this.end - this.span) continue;
      if (run.length && this.at[n] - this.at[n - 1] > GAP) {
        yield run;
        run = [];
      }
      run.push([x(this.at[n]), y(this.values[name][n])]);
    }
    if (run.length > 1) yield run;
  }

  #point(offset) {
    this.cursor = offset;
    this.#read();
  }

  // The legend has the values at the cursor, or the last ones.
  #read() {
    if (!this.at?.length) return;
    let n = this.at.length - 1;
    if (this.cursor !== null) {
      const distance = (m) => Math.abs(this.x(this.at[m]) - this.cursor);
      for (let m = 0; m < this.at.length; m += 1) if (distance(m) < distance(n)) n = m;
      this.line.setAttribute("x1", this.x(this.at[n]));
      this.line.setAttribute("x2", this.x(this.at[n]));
    }
    this.line.setAttribute("visibility", this.cursor === null ? "hidden" : "visible");
    say(this.moment, this.cursor === null ? "" : clock(this.at[n], this.end));
    for (const [name] of SERIES) say(this.legend.get(name), rate(this.values[name][n]));
  }

  #inWords() {
    const last = (name) => rate(this.values[name].at(-1) ?? 0);
    return `Per second: ${last("accepted")} accepted, ${last("stored")} stored, ${last("refused")} refused.`;
  }
}
