"use strict";
// The page: the reader draws, the machine answers.

let machine = null, kind = null, drawing = null;
const opened = new Map();
const random = generator(data.seed);

// --- the machines ------------------------------------------------------------------

// A machine with its numbers unpacked, and what was last drawn for it.
async function unpackedMachine(packed) {
  const params = {}, floats = async (text) => Float64Array.from(new Float32Array(await bytesOf(text)));
  for (const [path, text] of Object.entries(packed.params)) params[path] = await floats(text);
  const start = await floats(packed.memory), slots = start.length / packed.config.slot_size;
  const numbers = kinds[packed.task].numbers.map(({name, start: first}) => [name, packed.sizes[name] ?? first]);
  return [{...packed, params, start, slots}, {vectors: [], priorities: [], slots, ...Object.fromEntries(numbers)}];
}

function opening(index) {
  if (!opened.has(index)) opened.set(index, unpackedMachine(data.machines[index]));
  return opened.get(index);
}

async function choose(index) {
  const [chosen, drawn] = await opening(index);
  if (Number($("choice").value) !== index) return; // another was chosen meanwhile
  play(false);
  [machine, drawing] = [chosen, drawn];
  kind = kinds[machine.task];
  $("about").textContent = `${kind.about} ${machine.trained}`;
  showNumbers();
  now = null;
  changed();
}

// --- what the reader draws ---------------------------------------------------------

function made(tag, words, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.textContent = words;
  return element;
}

// A field for each number, with buttons beside it that a finger can hit.
function showNumbers() {
  $("numbers").replaceChildren(...kind.numbers.map(({name, label}) => {
    const group = made("span", "", {className: "number"}), field = made("input", "", {id: `number-${name}`, type: "number", inputMode: "numeric"});
    const set = (value) => { drawing[name] = value; changed(); };
    const button = (sign, words, by) => {
      const pressed = made("button", sign, {type: "button"});
      pressed.setAttribute("aria-label", `${label}: ${words}`);
      pressed.addEventListener("click", () => set(drawing[name] + by));
      return pressed;
    };
    field.addEventListener("change", () => set(Number.isFinite(field.valueAsNumber) ? field.valueAsNumber : drawing[name]));
    group.append(made("label", label, {htmlFor: field.id}), button("−", "one fewer", -1), field, button("+", "one more", 1));
    return group;
  }));
  $("typing").hidden = kind.bits(machine.fields) > 1;
}

// What was drawn is fitted to the numbers, shown again, and run.
function changed() {
  fit(kind, drawing, machine.fields, random);
  for (const {name, low, high} of kind.numbers) {
    Object.assign($(`number-${name}`), {value: drawing[name], min: low(drawing, machine.fields), max: high(drawing, machine.fields)});
  }
  showCells();
  run();
}

// The cells that the reader flips, bit 1 at the bottom, and sliders for the priorities.
function showCells() {
  const bits = kind.bits(machine.fields), group = kind.group?.(machine.fields) ?? Infinity, all = [];
  const place = (element, column, row) => {
    element.style.gridColumn = column + Math.floor(column / group) + 1; // a gap after each group
    element.style.gridRow = row;
    all.push(element);
  };
  drawing.vectors.forEach((vector, column) => {
    vector.forEach((_, bit) => {
      const cell = made("button", "", {type: "button", className: "cell", tabIndex: all.length ? -1 : 0});
      cell.dataset.column = column;
      cell.dataset.bit = bit;
      place(cell, column, bits - bit);
      showCell(cell);
    });
    if (kind.priorities) place(slider(column), column, bits + 1);
    const number = group < Infinity ? (column % group ? "" : `item ${column / group + 1}`) : ((column + 1) % 5 && column ? "" : column + 1);
    const label = made("span", number, {className: "count"});
    label.setAttribute("aria-hidden", "true");
    place(label, column, bits + 2);
  });
  $("cells").style.gridTemplateColumns = group < Infinity ? `repeat(${drawing.vectors.length / group}, ${"1.7rem ".repeat(group)}.4rem)` : "";
  $("cells").replaceChildren(...all);
}

function slider(column) {
  const made = document.createElement("input");
  Object.assign(made, {type: "range", min: -1, max: 1, step: 0.01, value: drawing.priorities[column], className: "priority"});
  made.setAttribute("aria-label", `Priority of vector ${column + 1}`);
  made.addEventListener("input", () => { drawing.priorities[column] = made.valueAsNumber; run(); });
  return made;
}

const bitOf = (cell) => drawing.vectors[cell.dataset.column][cell.dataset.bit];

function showCell(cell) {
  const {column, bit} = cell.dataset, name = `${kind.label} ${Number(column) + 1}`;
  cell.setAttribute("aria-label", kind.bits(machine.fields) > 1 ? `${name}, bit ${Number(bit) + 1}` : name);
  cell.setAttribute("aria-pressed", String(bitOf(cell) === 1));
}

function setBit(cell, value) {
  const {column, bit} = cell.dataset;
  drawing.vectors[column] = drawing.vectors[column].map((old, i) => i === Number(bit) ? value : old);
  showCell(cell);
  run();
}

// A mouse or a pen paints: all cells on its way become what the first became.
let painting = null;
$("cells").addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "touch" && event.button === 0 && event.target.matches(".cell")) painting = {from: event.target, value: 1 - bitOf(event.target), moved: false};
});
$("cells").addEventListener("pointerover", (event) => {
  if (painting && event.buttons & 1 && event.target.matches(".cell") && event.target !== painting.from) {
    if (!painting.moved) setBit(painting.from, painting.value);
    painting.moved = true;
    setBit(event.target, painting.value);
  }
});
// Only after the click that follows: it flips nothing if the pointer came back to the first.
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(() => { painting = null; }));
$("cells").addEventListener("click", (event) => {
  if (event.target.matches(".cell") && !painting?.moved) setBit(event.target, 1 - bitOf(event.target));
});

// One cell is in the order of tabs; the arrow keys lead to the others.
$("cells").addEventListener("focusin", ({target}) => {
  if (!target.matches(".cell")) return;
  for (const cell of $("cells").querySelectorAll('.cell[tabindex="0"]')) cell.tabIndex = -1;
  target.tabIndex = 0;
});
const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [-Infinity, 0], End: [Infinity, 0]};
$("cells").addEventListener("keydown", (event) => {
  if (!event.target.matches(".cell") || !(event.key in ways)) return;
  const [right, up] = ways[event.key], within = (value, size) => Math.min(Math.max(value, 0), size - 1);
  const column = within(Number(event.target.dataset.column) + right, drawing.vectors.length);
  const bit = within(Number(event.target.dataset.bit) + up, kind.bits(machine.fields));
  event.preventDefault();
  $("cells").querySelector(`[data-column="${column}"][data-bit="${bit}"]`).focus();
});

$("typed").addEventListener("input", () => {
  const bits = [...$("typed").value].filter((letter) => letter === "0" || letter === "1").map((letter) => [Number(letter)]);
  if (!bits.length) return;
  drawing.vectors = bits;
  drawing.length = bits.length;
  changed();
});

$("random").addEventListener("click", () => {
  Object.assign(drawing, {vectors: [], priorities: [], table: null});
  changed();
});

// --- what the machine answers ------------------------------------------------------

const asArray = (rows) => ({shape: [rows.length, rows[0].length], size: rows[0].length, values: Float64Array.from(rows.flat())});

// [name, first step, last step + 1], as in the figures.
function phasesOf(steps, names) {
  const delimiters = names.flatMap((name, i) => name.includes("delimiter") ? [i] : []), phases = [];
  steps.forEach(({input, target}, t) => {
    const name = target ? "answer" : delimiters.some((i) => input[i]) ? "delimiter" : "input";
    if (phases.at(-1)?.[0] === name) phases.at(-1)[2] = t + 1;
    else phases.push([name, t, t + 1]);
  });
  return phases;
}

// The shortest stretch of the ring of slots with the most weighted ones, and one around:
// its first slot, and how many they are.
function visited({values, size}, slots) {
  const seen = new Set();
  for (let first = 0; first < values.length; first += slots) {
    const weights = values.subarray(first, first + slots);
    seen.add(weights.indexOf(most(weights)));
  }
  const places = [...seen].sort((a, b) => a - b), gaps = places.map((place, i) => (places[i + 1] ?? places[0] + slots) - place);
  const widest = gaps.indexOf(Math.max(...gaps)), length = slots - gaps[widest] + 3;
  return length > 0.75 * slots ? [0, slots] : [places[(widest + 1) % places.length] - 1, length];
}

function resultOf(steps, outputs, optimum) {
  let wrong = 0, all = 0, above = 0;
  const cost = (chance, bit) => -Math.log2(bit ? chance : 1 - chance);
  steps.forEach(({target}, t) => target?.forEach((bit, i) => {
    all += 1;
    wrong += Math.abs(outputs[t][i] - bit) >= 0.5;
    if (optimum) above += cost(outputs[t][i], bit) - cost(optimum[t][i], bit);
  }));
  if (optimum) return `On this sequence, the predictions cost ${Math.abs(above).toFixed(2)} bits ${above < 0 ? "less" : "more"} than those of the best predictor.`;
  const words = wrong ? `${wrong} of ${all} bits wrong.` : `All ${all} bits right.`;
  if (kind.bits(machine.fields) > 1) return words;
  const symbols = (row) => steps.map(({target}, t) => target ? row(target, t) : "").join("");
  return `${words} Output ${symbols((_, t) => outputs[t][0] >= 0.5 ? "1" : "0")}, target ${symbols((target) => target[0])}.`;
}

// Runs the machine on what is drawn. The step stays; the last step stays the last one.
function run() {
  const at = now && step < now.steps - 1 ? step : Infinity;
  const steps = kind.make(drawing, machine.fields), inputs = steps.map(({input}) => Float32Array.from(input));
  const inside = trace(machine, inputs), width = inside.logits.size, optimum = kind.optimum?.(drawing, machine.fields);
  const outputs = steps.map((_, t) => Array.from(inside.logits.values.subarray(t * width, (t + 1) * width), sigmoid));
  if (document.activeElement !== $("typed")) $("typed").value = drawing.vectors.map(([bit]) => bit).join("");
  show({
    ...inside,
    inputs: asArray(steps.map(({input}) => input)),
    targets: asArray(steps.map(({target}) => target ?? nothing(width))),
    outputs: asArray(outputs),
    optimum: optimum && asArray(optimum),
    due: asArray(steps.map(({target}) => [target ? 1 : 0])),
    steps: steps.length,
    result: resultOf(steps, outputs, optimum),
    phases: phasesOf(steps, machine.input_names),
    used: visited(inside.weights, machine.slots),
    input_names: machine.input_names,
    veiled: true,
  }, at);
}

attempt(async () => {
  await unpackMaps();
  data.machines.forEach(({name}, index) => $("choice").append(new Option(name, index)));
  $("choice").addEventListener("change", () => attempt(() => choose(Number($("choice").value))));
  await choose(0);
});
