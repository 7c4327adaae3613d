// The page of one run: asks the server every second and shows what is new.

import {Chart, colour, spark} from "./chart.js";
import {$, ask, duration, element, repeat, short, whole, words} from "./fields.js";
import {update} from "./machine.js";

const COMMON = ["step", "kind", "seed"];
const entries = new Map(); // by kind, step and seed
let replaced = null, last = -1;

const charts = ["loss", "errors"].map((id) => new Chart($(id), $(`${id}-readout`), $(`${id}-title`).textContent, look));

// Shows the same updates in both charts.
function look(view) {
  for (const chart of charts) { chart.view = view; chart.draw(); }
}

$("log").addEventListener("change", () => { for (const chart of charts) { chart.log = $("log").checked; chart.draw(); } });
$("in").addEventListener("click", () => charts[0].zoom(0.5));
$("out").addEventListener("click", () => charts[0].zoom(2));
$("whole").addEventListener("click", () => look(null));

// The entries after the last but one step: some of the last step may not have been
// written when it was first seen. Returns whether anything is new, and whether the run
// has gone back.
async function fetchMetrics() {
  let found = await ask(`api/metrics?since=${last - 1}`);
  const back = replaced !== null && found.replaced !== replaced;
  if (back) {
    entries.clear();
    found = await ask("api/metrics?since=-1");
    last = -1;
  }
  replaced = found.replaced;
  const before = entries.size;
  for (const entry of found.entries) {
    entries.set(`${entry.kind} ${entry.step} ${entry.seed}`, entry);
    last = Math.max(last, entry.step);
  }
  return {news: back || entries.size > before, back};
}

const ofKind = (kind) => [...entries.values()].filter((entry) => entry.kind === kind);

function bySeed(list) {
  const seeds = new Map();
  for (const entry of list) seeds.set(entry.seed, [...seeds.get(entry.seed) ?? [], entry]);
  return [...seeds].sort(([a], [b]) => a - b);
}

function curves(list, name, label, {dashed = false, offset = 0} = {}) {
  const seeds = bySeed(list);
  return seeds.map(([seed, own], i) => ({
    name: seeds.length > 1 ? `${label}, seed ${seed}` : label,
    colour: colour(i + offset),
    dashed,
    points: own.filter((entry) => name in entry).map((entry) => [entry.step, entry[name]]),
  }));
}

// A name from the file as the title of a chart.
function titled(name) {
  const said = words(name);
  return `${said[0].toUpperCase()}${said.slice(1)} per sequence`;
}

function showCurves() {
  const train = ofKind("train"), validation = ofKind("validation");
  if (!train.length) return;
  const [loss] = Object.keys(train[0]).filter((name) => !COMMON.includes(name));
  const wrong = Object.keys(train[0]).find((name) => name.startsWith("wrong_"));
  const seeds = bySeed(train).length, offset = seeds > 1 ? 0 : 1;
  $("loss-title").textContent = titled(loss);
  $("errors-title").textContent = titled(wrong ?? "error");
  charts[0].set([...curves(train, loss, "training"), ...curves(validation, loss, "validation", {dashed: true, offset})]);
  charts[1].set([...curves(train, wrong, "training"), ...curves(validation, "error", "validation error", {dashed: true, offset})]);
}

// A table of the newest entry of a kind, for each seed, with a small curve of the first.
function showTable(table, kind, fields) {
  const seeds = bySeed(ofKind(kind)).slice(0, 8);
  if (!seeds.length) return;
  const names = Object.keys(seeds[0][1].at(-1)).filter((name) => !COMMON.includes(name));
  const head = element("tr", {}, element("th", {text: "", scope: "col"}),
    ...seeds.map(([seed]) => element("th", {text: `seed ${seed}`, scope: "col"})), element("th", {text: "so far", scope: "col"}));
  const lines = names.map((name) => {
    const canvas = element("canvas", {class: "spark", role: "img", "aria-label": `curve of ${words(name)}`});
    const cells = seeds.map(([seed, own]) => element("td", {text: short(own.at(-1)[name]), title: String(own.at(-1)[name]), "data-name": `${kind}.${name}.${seed}`}));
    return [element("tr", {}, element("th", {text: words(name), scope: "row"}), ...cells, element("td", {}, canvas)), canvas, name];
  });
  table.replaceChildren(element("caption", {text: fields(seeds[0][1].at(-1))}),
    element("thead", {}, head), element("tbody", {}, ...lines.map(([line]) => line)));
  for (const [, canvas, name] of lines) spark(canvas, seeds[0][1].map((entry) => [entry.step, entry[name]]));
}

function showStatus(status) {
  const parts = [status.state === "complete" ? "complete" : status.step ? "training" : "waiting for the first report"];
  parts.push(`update ${whole(status.step)} of ${whole(status.steps)}`);
  if (status.sequences_per_second !== null && status.state !== "complete") parts.push(`${whole(status.sequences_per_second)} sequences a second`);
  if (status.seconds_left !== null) parts.push(`at most ${duration(status.seconds_left)} left`);
  if (status.seconds_since_report !== null && status.state !== "complete") parts.push(`last report ${duration(status.seconds_since_report)} ago`);
  $("status").textContent = parts.join(" · ");
  $("status").dataset.step = status.step;
  $("progress").max = status.steps;
  $("progress").value = status.state === "complete" ? status.steps : status.step;
  $("title").textContent = status.name === status.task ? status.name : `${status.name}: ${status.task}`;
  document.title = `${status.name}, update ${whole(status.step)}`;
}

async function refresh() {
  showStatus(await ask("api/status"));
  const {news, back} = await fetchMetrics().catch((error) => {
    if (error.status === 404) return {}; // before the first report
    throw error;
  });
  if (news) {
    showCurves();
    const at = (entry) => `Update ${whole(entry.step)}.`;
    showTable($("numbers"), "train", at);
    showTable($("health"), "health", (entry) => `${at(entry)} Means over heads, sequences and steps.`);
  }
  await update(await ask("api/checkpoints"), back);
}

$("up").hidden = !location.pathname.startsWith("/runs/");
repeat(refresh, 1, $("problem"));
