// The list of runs, each with a small curve.

import {spark} from "./chart.js";
import {$, ask, element, pathOf, repeat, short, whole} from "./fields.js";

const cards = new Map(); // by the path of the run

function card(path) {
  const made = {name: element("strong"), where: element("div", {class: "soft"}), canvas: element("canvas", {class: "spark", role: "img"})};
  const link = element("a", {href: `/runs/${pathOf(path)}/`}, made.name, made.where, made.canvas);
  return {...made, line: element("li", {}, link)};
}

async function refresh() {
  const {runs} = await ask("/api/runs");
  const there = new Set(runs.map(({path}) => path));
  for (const [path, {line}] of cards) if (!there.has(path)) { line.remove(); cards.delete(path); }
  for (const run of runs) {
    if (!cards.has(run.path)) {
      cards.set(run.path, card(run.path));
      $("runs").append(cards.get(run.path).line);
    }
    const {name, where, canvas} = cards.get(run.path), newest = run.curve?.at(-1);
    name.textContent = run.name;
    where.textContent = run.error ?? `${run.task}, ${run.state}, update ${whole(run.step)} of ${whole(run.steps)}`
      + (newest ? `, loss ${short(newest[1])}` : "");
    canvas.setAttribute("aria-label", newest ? `loss down to ${short(newest[1])}` : "no loss yet");
    spark(canvas, run.curve ?? [], {log: true});
  }
}

repeat(refresh, 2, $("problem"));
