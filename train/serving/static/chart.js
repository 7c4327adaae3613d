// Curves on a canvas: axes, a logarithmic scale, zoom, and values under a cursor.

import {short, whole} from "./fields.js";

const EDGE = {left: 56, right: 10, top: 8, bottom: 26};
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const colour = (i) => { const all = style("--series").split(/\s+/); return all[i % all.length]; };

function sized(canvas) {
  const scale = window.devicePixelRatio || 1, {clientWidth: width, clientHeight: height} = canvas;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return {context, width, height};
}

// Round numbers from low to high, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((i) => i * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) found.push(i * step);
  return found;
}

// Powers of ten, with 2 and 5 times of each where there are few.
function logTicks(low, high) {
  const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
  const times = to - from <= 2 ? [1, 2, 5] : [1], every = Math.ceil((to - from) / 6), found = [];
  for (let power = from; power <= to; power += every) for (const i of times) found.push(i * 10 ** power);
  return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

export class Chart {
  // `changed(view)` is called when a person zooms; `view` is [first, last] or null.
  constructor(canvas, readout, title, changed) {
    Object.assign(this, {canvas, readout, title, changed, series: [], view: null, log: true, cursor: null});
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => { this.from = null; this.draw(); });
    canvas.addEventListener("pointerleave", () => { if (this.from == null) this.point(null); });
    canvas.addEventListener("dblclick", () => this.changed(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // Each series: {name, colour, dashed, points: [[step, value], ...]}.
  set(series) {
    this.series = series;
    this.draw();
  }

  steps() {
    return [...new Set(this.series.flatMap(({points}) => points.map(([step]) => step)))].sort((a, b) => a - b);
  }

  range() {
    const all = this.series.flatMap(({points}) => points.length ? [points[0][0], points.at(-1)[0]] : []);
    return all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  }

  draw() {
    const {context, width, height} = sized(this.canvas);
    if (!width || !height) return;
    let [first, last] = this.view ?? this.range();
    if (first === last) last = first + 1;
    // A point beyond each end, so that curves run to the edge.
    const shown = this.series.map(({points}) => points.filter(([step], i) =>
      (points[i + 1]?.[0] ?? step) >= first && (points[i - 1]?.[0] ?? step) <= last));
    const values = shown.flat().map(([, value]) => value).filter((value) => value !== null);
    const positive = values.filter((value) => value > 0), log = this.log && positive.length > 0;
    let low = log ? Math.min(...positive) : Math.min(0, ...values), high = Math.max(...values, low);
    if (log && values.length > positive.length) low /= 2; // zeros are drawn at the bottom
    if (low === high) { high = log ? high * 2 : high + 1; low = log ? low / 2 : low; }
    const size = (value) => log ? Math.log(Math.max(value, low)) : value;
    const inner = {width: width - EDGE.left - EDGE.right, height: height - EDGE.top - EDGE.bottom};
    const x = (step) => EDGE.left + inner.width * (step - first) / (last - first);
    const y = (value) => EDGE.top + inner.height * (1 - (size(value) - size(low)) / (size(high) - size(low)));
    Object.assign(this, {first, last, inner, x, y});
    context.font = "12px system-ui, sans-serif";
    context.strokeStyle = style("--grid");
    context.fillStyle = style("--soft");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const value of log ? logTicks(low, high) : ticks(low, high, 5)) {
      this.line(context, EDGE.left, y(value), width - EDGE.right, y(value));
      context.fillText(short(value), EDGE.left - 6, y(value));
    }
    context.textAlign = "center";
    for (const step of ticks(first, last, Math.max(2, Math.floor(inner.width / 90)))) {
      this.line(context, x(step), EDGE.top, x(step), height - EDGE.bottom);
      context.fillText(whole(step), Math.min(x(step), width - 20), height - EDGE.bottom / 2);
    }
    context.save();
    context.beginPath();
    context.rect(EDGE.left, EDGE.top - 2, inner.width + 2, inner.height + 4);
    context.clip();
    this.series.forEach(({colour, dashed}, i) => this.curve(context, shown[i], colour, dashed));
    if (this.from != null) {
      context.fillStyle = style("--accent");
      context.globalAlpha = 0.2;
      context.fillRect(this.from, EDGE.top, this.to - this.from, inner.height);
      context.globalAlpha = 1;
    }
    if (this.cursor !== null) {
      context.strokeStyle = style("--ink");
      this.line(context, x(this.cursor), EDGE.top, x(this.cursor), height - EDGE.bottom);
    }
    context.restore();
    this.tell();
  }

  line(context, ...[fromX, fromY, toX, toY]) {
    context.beginPath();
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
    context.stroke();
  }

  curve(context, points, strokeStyle, dashed) {
    Object.assign(context, {strokeStyle, fillStyle: strokeStyle, lineWidth: 2});
    context.setLineDash(dashed ? [6, 4] : []);
    context.beginPath();
    let pen = false;
    for (const [step, value] of points) {
      if (value === null) { pen = false; continue; }
      pen ? context.lineTo(this.x(step), this.y(value)) : context.moveTo(this.x(step), this.y(value));
      pen = true;
    }
    context.stroke();
    context.setLineDash([]);
    if (points.length < 40) {
      for (const [step, value] of points) if (value !== null) context.fillRect(this.x(step) - 2, this.y(value) - 2, 4, 4);
    }
  }

  // In words: the values at the cursor, or the newest.
  tell() {
    const parts = [];
    let at = null;
    for (const {name, colour, points} of this.series) {
      const up = this.cursor === null ? points : points.filter(([step]) => step <= this.cursor);
      if (!up.length) continue;
      const [step, value] = up.at(-1), part = document.createElement("span");
      at = Math.max(at ?? step, step);
      part.className = "key";
      part.style.color = colour;
      part.textContent = `${name} ${short(value)}`;
      parts.push(part, " ");
    }
    const where = at === null ? "Nothing yet." : `${this.cursor === null ? "Newest, update" : "Update"} ${whole(this.cursor ?? at)}: `;
    this.readout.replaceChildren(where, ...parts);
    this.canvas.setAttribute("aria-label", `${this.title} by update. ${this.readout.textContent}`);
  }

  point(step) {
    this.cursor = step;
    this.draw();
  }

  stepAt(place) {
    const step = this.first + (place - EDGE.left) / this.inner.width * (this.last - this.first);
    return Math.min(Math.max(step, this.first), this.last);
  }

  nearest(step) {
    const steps = this.steps();
    return steps.length ? steps.reduce((a, b) => Math.abs(b - step) < Math.abs(a - step) ? b : a) : null;
  }

  press(event) {
    if (!this.inner) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.from = this.to = event.offsetX;
  }

  move(event) {
    if (!this.inner) return;
    if (this.from != null) this.to = event.offsetX;
    this.point(this.nearest(this.stepAt(event.offsetX)));
  }

  release(event) {
    if (this.from == null) return;
    const ends = [this.stepAt(this.from), this.stepAt(event.offsetX)].sort((a, b) => a - b);
    const far = Math.abs(event.offsetX - this.from) > 8;
    this.from = null;
    if (far) this.changed(ends);
    else this.draw();
  }

  // By a factor, around the cursor or else the end; the whole from one end to the other.
  zoom(factor) {
    const [low, high] = this.range(), [first, last] = this.view ?? [low, high];
    const at = this.cursor ?? last, length = (last - first) * factor;
    const from = Math.max(low, at - (at - first) * factor), to = Math.min(high, from + length);
    this.changed(from <= low && to >= high ? null : [from, to]);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = this.steps(), at = steps.indexOf(this.cursor);
    const does = {
      ArrowLeft: () => this.point(steps[at < 0 ? steps.length - 1 : Math.max(at - 1, 0)] ?? null),
      ArrowRight: () => this.point(steps[at < 0 ? 0 : Math.min(at + 1, steps.length - 1)] ?? null),
      Home: () => this.point(steps[0] ?? null),
      End: () => this.point(steps.at(-1) ?? null),
      Escape: () => this.point(null),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.changed(null),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}

// A small curve without axes.
export function spark(canvas, points, {log = false} = {}) {
  const {context, width, height} = sized(canvas);
  const drawn = points.filter(([, value]) => value !== null && (!log || value > 0));
  if (!drawn.length || !width) return;
  const size = (value) => log ? Math.log(value) : value, values = drawn.map(([, value]) => size(value));
  const low = Math.min(...values), high = Math.max(...values), first = drawn[0][0], last = drawn.at(-1)[0];
  Object.assign(context, {strokeStyle: colour(0), fillStyle: colour(0), lineWidth: 1.5});
  context.beginPath();
  const place = ([step], i) => [2 + (width - 4) * (step - first) / (last - first || 1),
    2 + (height - 4) * (1 - (values[i] - low) / (high - low || 1))];
  drawn.forEach((point, i) => context.lineTo(...place(point, i)));
  context.stroke();
  context.fillRect(...place(drawn.at(-1), drawn.length - 1).map((at) => at - 2), 4, 4);
}
