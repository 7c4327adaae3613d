"use strict";
// What both pages show of one sequence. A page awaits `unpackMaps` once, then calls `show`.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const maps = {};
// The sequence shown: its arrays {shape: [T, ...], values, size}, with size numbers a
// step, and `steps`, `result`, `phases`, `used`, `input_names`; and, if it is a sequence
// in words, `words` of its inputs, targets and outputs. If it is `veiled`, what the machine
// does after the step shown is covered.
let now = null, step = 0, timer = null;

// --- from text to arrays -----------------------------------------------------------

async function bytesOf(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function unpackMaps() {
  for (const [name, packed] of Object.entries(data.maps)) maps[name] = new Uint8Array(await bytesOf(packed));
}

// The numbers [size] of one step, or of the part of it that has this place.
function at(array, t, part = 0, parts = 1) {
  const size = array.size / parts, first = t * array.size + part * size;
  return array.values.subarray(first, first + size);
}

// Numbers are shown in thousandths; one that is rounded to -0 is 0.
const text = (value) => (Math.round(1000 * value) / 1000 || 0).toFixed(3);
const largest = (array) => array.values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;

// --- pictures ----------------------------------------------------------------------

// rows x columns of `value(row, column)`, null for none; rows count from below.
function paint(canvas, rows, columns, map, low, high, value) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  const colours = maps[map];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const number = value(row, column);
      if (number === null) continue;
      const share = Math.min(Math.max((number - low) / (high - low), 0), 1);
      const colour = 3 * Math.round(255 * share), place = 4 * ((rows - 1 - row) * columns + column);
      image.data[place] = colours[colour];
      image.data[place + 1] = colours[colour + 1];
      image.data[place + 2] = colours[colour + 2];
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

// How many places to show the slots in, and the value of each. Slots that share a place
// show the largest of their weights, so that a sharp weighting stays visible.
function pooled(slots) {
  const together = Math.ceil(slots / 128);
  const value = (weights, place) => Math.max(...weights.subarray(place * together, (place + 1) * together));
  return [Math.ceil(slots / together), value];
}

function row(parent, label, height, description) {
  const line = document.createElement("div"), name = document.createElement("span");
  const frame = document.createElement("div"), canvas = document.createElement("canvas");
  line.className = "row";
  frame.className = "frame";
  name.textContent = label;
  canvas.style.height = height;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", description);
  frame.append(canvas);
  line.append(name, frame);
  parent.append(line);
  return {frame, canvas};
}

// A row over time, with a cursor at the step; a click goes there.
function timeRow(parent, label, height, description, veiled = false) {
  const made = row(parent, label, height, description), cursor = document.createElement("div");
  cursor.className = "cursor";
  made.frame.classList.add("jump");
  made.frame.append(cursor);
  if (veiled) made.frame.append(Object.assign(document.createElement("div"), {className: "veil"}));
  made.frame.addEventListener("click", (event) => {
    const box = made.frame.getBoundingClientRect();
    go(Math.floor((event.clientX - box.left) / box.width * now.steps));
  });
  return made.canvas;
}

function legend() {
  for (const scale of document.querySelectorAll(".scale")) {
    const {map, of} = scale.dataset;
    if (of && !now[of]) continue;
    const high = of ? largest(now[of]) : 1, low = of ? -high : 0;
    const canvas = document.createElement("canvas");
    paint(canvas, 1, 256, map, 0, 255, (_, column) => column);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `colours from ${text(low)} to ${text(high)}`);
    scale.replaceChildren(text(low), canvas, text(high));
  }
}

// --- tables ------------------------------------------------------------------------

function table(element, columns, rows) {
  const head = document.createElement("tr"), body = document.createElement("tbody");
  for (const name of columns) head.append(cell("th", name, {scope: "col"}));
  for (const [name, ...values] of rows) {
    const line = document.createElement("tr");
    line.append(cell("th", name, {scope: "row"}));
    for (const value of values) line.append(typeof value === "string" ? cell("td", value) : cell("td", value.text, value));
    body.append(line);
  }
  const top = document.createElement("thead");
  top.append(head);
  element.replaceChildren(top, body);
}

function cell(kind, words, {scope, name, wrong} = {}) {
  const made = document.createElement(kind);
  made.textContent = words;
  if (scope) made.scope = scope;
  if (name) made.dataset.name = name;
  if (wrong) made.className = "wrong";
  return made;
}

const numbers = (name, values) => Array.from(values, (value, i) => ({text: text(value), name: `${name}.${i}`}));
const indices = (count) => Array.from({length: count}, (_, i) => String(i));

// The words of every step, a row for each kind; a click on one goes to its step.
function wordTable(element, {inputs, targets, outputs}) {
  const body = document.createElement("tbody");
  for (const [name, words] of [["input", inputs], ["target", targets], ["output", outputs]]) {
    const line = document.createElement("tr");
    line.append(cell("th", name, {scope: "row"}));
    words.forEach((word, t) => {
      const made = cell("td", word, {wrong: name === "output" && word !== targets[t]});
      made.dataset.step = t;
      made.addEventListener("click", () => go(t));
      line.append(made);
    });
    body.append(line);
  }
  element.replaceChildren(body);
}

// --- what is shown -----------------------------------------------------------------

function headNames() {
  const writes = now.erase.shape[1], all = now.weights.shape[1];
  return Array.from({length: all}, (_, i) => i < writes ? `write ${i + 1}` : `read ${i - writes + 1}`);
}

// Shows a sequence from that step on.
function show(sequence, at) {
  now = sequence;
  const due = (t) => now.due.values[t] > 0;
  const low = now.inputs.values.reduce((a, b) => Math.min(a, b), 0), high = largest(now.inputs);
  const signed = low < 0 || high > 1;
  $("result").textContent = now.result;
  $("step").max = now.steps - 1;
  $("answers").replaceChildren();
  const answers = [["input", now.inputs, false], ["target", now.targets, true], ["output", now.outputs, true]];
  if (now.optimum) answers.push(["best", now.optimum, true]);
  for (const [name, array, masked] of answers) {
    const channels = array.size, height = `${Math.min(Math.max(channels * 0.45, 1.2), 5)}rem`;
    const canvas = timeRow($("answers"), name, height, `${name}: ${channels} channels over ${now.steps} steps`, now.veiled && name === "output");
    const colours = name === "input" && signed ? ["RdBu_r", -high, high] : ["gray_r", 0, 1];
    paint(canvas, channels, now.steps, ...colours, (r, t) => masked && !due(t) ? null : array.values[t * channels + r]);
  }
  $("signed").hidden = !signed;
  $("words").hidden = !now.words;
  if (now.words) wordTable($("in-words"), now.words);
  $("inside").hidden = !now.memory;
  legend();
  if (now.memory) showInside();
  go(at);
}

function showInside() {
  const slots = now.memory.shape[1];
  const [from, length] = now.used;
  $("used").textContent = `Slots ${(from + slots) % slots} (bottom) to ${(from + length - 1 + slots) % slots} (top) of ${slots}.`;
  now.reach = largest(now.memory);
  $("slot").max = slots - 1;
  $("slot").value = Math.min($("slot").valueAsNumber || 0, slots - 1);
  for (const id of ["memory", "foci", "paths"]) $(id).replaceChildren();
  const memory = row($("memory"), "memory", "9rem", `memory of ${slots} slots of ${now.memory.shape[2]} elements`);
  now.canvas = memory.canvas;
  memory.frame.addEventListener("pointermove", (event) => point(event, memory.frame, false));
  memory.frame.addEventListener("click", (event) => point(event, memory.frame, true));
  now.foci = headNames().map((name) => row($("foci"), name, "1rem", `where ${name} head looks now`).canvas);
  headNames().forEach((name, head) => {
    const canvas = timeRow($("paths"), name, "8rem", `slots that the ${name} head looks at, over ${now.steps} steps`, now.veiled);
    const [first, count] = now.used, together = Math.ceil(count / 128);
    paint(canvas, Math.ceil(count / together), now.steps, "viridis", 0, 1, (row, t) => {
      const weights = at(now.weights, t, head, now.foci.length), end = Math.min((row + 1) * together, count);
      let most = 0;
      for (let i = row * together; i < end; i++) most = Math.max(most, weights[(first + i + slots) % slots]);
      return most;
    });
  });
}

function point(event, frame, take) {
  const box = frame.getBoundingClientRect(), [, slots, elements] = now.memory.shape;
  const slot = Math.min(Math.max(Math.floor((event.clientX - box.left) / box.width * slots), 0), slots - 1);
  const up = Math.min(Math.max(Math.floor((box.bottom - event.clientY) / box.height * elements), 0), elements - 1);
  $("pointed").textContent = `slot ${slot}, element ${up}: ${text(at(now.memory, step)[slot * elements + up])}`;
  if (take) { $("slot").value = slot; showSlot(); }
}

function showSlot() {
  const [, slots, elements] = now.memory.shape, slot = Math.min(Math.max($("slot").valueAsNumber || 0, 0), slots - 1);
  table($("content"), ["element", ...indices(elements)], [[`slot ${slot}`, ...numbers("slot", at(now.memory, step, slot, slots))]]);
}

function showStep() {
  const phase = now.phases.find(([, first, end]) => first <= step && step < end);
  const words = `step ${step} of ${now.steps - 1}: ${phase ? phase[0] : ""}`;
  $("step").value = step;
  $("step").setAttribute("aria-valuetext", words);
  $("where").textContent = words;
  for (const cursor of document.querySelectorAll(".cursor")) {
    cursor.style.left = `${100 * step / now.steps}%`;
    cursor.style.width = `max(4px, ${100 / now.steps}%)`;
  }
  if (now.words) showWord();
  for (const veil of document.querySelectorAll(".veil")) veil.style.left = `${100 * (step + 1) / now.steps}%`;
  const due = now.due.values[step] > 0, outputs = at(now.outputs, step), targets = at(now.targets, step);
  const rows = [["input is", ...now.input_names], ["input", ...numbers("inputs", at(now.inputs, step))]];
  const wide = Math.max(now.inputs.size, now.outputs.size);
  rows.push(["target", ...Array.from(targets, (value, i) => due ? {text: text(value), name: `targets.${i}`} : "–")]);
  rows.push(["output", ...Array.from(outputs, (value, i) => ({text: text(value), name: `outputs.${i}`, wrong: due && Math.abs(value - targets[i]) >= 0.5}))]);
  if (now.optimum) rows.push(["best", ...numbers("optimum", at(now.optimum, step))]);
  for (const line of rows) while (line.length <= wide) line.push("");
  table($("channels"), ["channel", ...indices(wide)], rows);
  if (now.memory) showHeads();
}

// Marks the words of the step, amid the part of the table that is seen.
function showWord() {
  const words = $("in-words"), frame = words.parentElement;
  for (const word of words.querySelectorAll("td")) word.classList.toggle("now", Number(word.dataset.step) === step);
  frame.scrollLeft = words.querySelector(".now").offsetLeft - frame.clientWidth / 2;
}

function showHeads() {
  const [, slots, elements] = now.memory.shape, memory = at(now.memory, step), names = headNames();
  paint(now.canvas, elements, slots, "RdBu_r", -now.reach, now.reach, (element, slot) => memory[slot * elements + element]);
  const reach = (now.shift.shape[2] - 1) / 2;
  const shifts = Array.from({length: 2 * reach + 1}, (_, i) => `shift ${i > reach ? "+" : i < reach ? "−" : ""}${Math.abs(i - reach)}`);
  const foci = names.map((_, head) => at(now.weights, step, head, names.length));
  const most = foci.map((weights) => weights.indexOf(weights.reduce((a, b) => Math.max(a, b))));
  const [columns, largestOf] = pooled(slots);
  foci.forEach((weights, head) => paint(now.foci[head], 1, columns, "viridis", 0, 1, (_, column) => largestOf(weights, column)));
  const each = (name, value) => names.map((_, head) => ({text: value(head), name: `${name}.${head}`}));
  const emitted = (label, name) => [label, ...each(name, (head) => text(at(now[name], step)[head]))];
  table($("heads"), ["head", ...names], [
    emitted("gate g", "gate"),
    emitted("strength β", "strength"),
    ...shifts.map((label, i) => [label, ...each(`shift${i}`, (head) => text(at(now.shift, step, head, names.length)[i]))]),
    emitted("sharpening γ", "gamma"),
    ["looks most at slot", ...each("most", (head) => String(most[head]))],
    ["with weight", ...each("weight", (head) => text(foci[head][most[head]]))],
  ]);
  const writes = now.erase.shape[1], vectors = [];
  names.forEach((name, head) => {
    const kinds = head < writes ? [["adds", "add", head, writes], ["erases", "erase", head, writes]] : [["reads", "reads", head - writes, names.length - writes]];
    for (const [verb, array, own, count] of [...kinds, ["key", "key", head, names.length]]) {
      vectors.push([`${name} ${verb}`, ...numbers(`${array}.${own}`, at(now[array], step, own, count))]);
    }
  });
  table($("vectors"), ["element", ...indices(elements)], vectors);
  showSlot();
}

// --- time --------------------------------------------------------------------------

function go(to) {
  step = Math.min(Math.max(to, 0), now.steps - 1);
  showStep();
}

function play(on) {
  clearInterval(timer);
  timer = null;
  if (on) {
    if (step === now.steps - 1) go(0);
    timer = setInterval(() => { go(step + 1); if (step === now.steps - 1) play(false); }, 200);
  }
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
}

// Left to the browser: keys of fields, and arrows where they move a slider or a table.
const keys = {ArrowLeft: -1, ArrowRight: 1};
document.addEventListener("keydown", (event) => {
  const own = event.target.closest("select, input, .wide");
  if (!now || own || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key in keys) {
    event.preventDefault();
    go(step + keys[event.key]);
  } else if (event.key === " " && !event.target.matches("button")) {
    event.preventDefault();
    play(!timer);
  }
});
$("step").addEventListener("input", () => go($("step").valueAsNumber));
$("back").addEventListener("click", () => go(step - 1));
$("on").addEventListener("click", () => go(step + 1));
$("play").addEventListener("click", () => play(!timer));
$("slot").addEventListener("input", showSlot);

// Does that, and says so on the page if the browser cannot.
async function attempt(action) {
  try {
    await action();
  } catch (problem) {
    $("problem").textContent = `This browser cannot show the page: ${problem.message}`;
  }
}
