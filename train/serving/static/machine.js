// The machine at one moment of its training: an answer, and the page of a checkpoint.

import {$, ask, element, whole} from "./fields.js";

let sequence = null, known = {pages: [], answers: [], checkpoints: [], sequence: false};
let moments = [], answers = new Map(), shownAnswer = null, shownPage = null, coming = null, timer = null;

const newest = () => moments.length - 1;
const stepNow = () => moments[$("moment").valueAsNumber];

// Takes what there is now; `replaced` is true if the run has gone back to a checkpoint.
export function update(found, replaced) {
  if (replaced) { answers = new Map(); shownAnswer = null; }
  known = found;
  $("machine-problem").textContent = known.problem ? `The machine cannot be shown: ${known.problem}` : "";
  const at = stepNow(), all = [...new Set([...known.answers, ...known.pages])].sort((a, b) => a - b);
  moments = all;
  $("moment").max = Math.max(newest(), 0);
  if ($("follow").checked) $("moment").value = Math.max(newest(), 0);
  else if (at !== undefined) $("moment").value = Math.max(moments.findLastIndex((step) => step <= at), 0);
  return show();
}

async function show() {
  const step = stepNow();
  if (step === undefined) return;
  const said = `update ${whole(step)} of ${whole(moments.at(-1))}`;
  $("when").textContent = said;
  $("moment").setAttribute("aria-valuetext", said);
  showPage(known.pages.findLast((page) => page <= step), step);
  await showAnswer(known.answers.findLast((answer) => answer <= step));
}

// --- the answer ----------------------------------------------------------------------

async function showAnswer(step) {
  if (step === undefined || step === shownAnswer || !known.sequence) return;
  try {
    sequence ??= await ask("api/sequence");
    if (!answers.has(step)) answers.set(step, (await ask(`api/answer?step=${step}`)).outputs);
  } catch (error) {
    if (error.status === 404) return; // gone
    throw error;
  }
  if (step !== known.answers.findLast((answer) => answer <= stepNow())) return;
  shownAnswer = step;
  (sequence.words ? showWords : showChannels)(sequence, answers.get(step), step);
}

// The outputs of every channel, as pictures.
function showChannels({targets, mask}, outputs, step) {
  const due = targets.flatMap((row, t) => mask[t] ? row : []);
  const low = Math.min(0, ...due), high = Math.max(1, ...due);
  if (!$("answers").childElementCount) for (const name of ["target", "answer"]) {
    const canvas = element("canvas", {role: "img"});
    $("answers").append(element("div", {class: "row"}, element("span", {text: name}), canvas));
  }
  const [target, answer] = document.querySelectorAll("#answers canvas");
  paint(target, targets, mask, low, high);
  paint(answer, outputs, mask, low, high);
  target.setAttribute("aria-label", `target: ${targets[0].length} channels over ${targets.length} steps`);
  answer.setAttribute("aria-label", `answer at update ${step}`);
  answer.dataset.step = step;
}

// The category of every step that has an answer, in words; wrong ones are in colour.
function showWords({targets, mask, words}, outputs, step) {
  const due = targets.flatMap((_, t) => mask[t] ? [t] : []);
  const row = (name, said) => element("tr", {}, element("th", {text: name, scope: "row"}),
    ...due.map((t) => element("td", {text: words[said[t]], class: said[t] === targets[t] ? "" : "wrong"})));
  const table = element("table", {"data-step": step}, row("target", targets), row("answer", outputs));
  $("answers").replaceChildren(element("div", {class: "wide", tabindex: 0, role: "region", "aria-label": "Target and answer"}, table));
}

function paint(canvas, rows, mask, low, high) {
  const [steps, channels] = [rows.length, rows[0].length], context = canvas.getContext("2d");
  canvas.width = steps;
  canvas.height = channels;
  canvas.style.height = `${Math.min(Math.max(channels * 0.55, 1.2), 6)}rem`;
  const image = context.createImageData(steps, channels);
  for (let t = 0; t < steps; t++) for (let i = 0; i < channels; i++) {
    if (!mask[t]) continue;
    const share = Math.min(Math.max((rows[t][i] - low) / (high - low), 0), 1);
    image.data.set([...Array(3).fill(Math.round(255 * (1 - share))), 255], 4 * ((channels - 1 - i) * steps + t));
  }
  context.putImageData(image, 0, 0);
}

// --- the page of a checkpoint ----------------------------------------------------------

function showPage(page, step) {
  const waiting = known.checkpoints.findLast((at) => at <= step);
  if (page === undefined) {
    $("checkpoint").textContent = waiting === undefined ? "There was no checkpoint yet, or it is gone."
      : `The page of update ${whole(waiting)} is being made. The first takes longest.`;
    return;
  }
  const being = waiting > page ? ` That of update ${whole(waiting)} is being made.` : "";
  const now = shownPage === null ? "" : `Checkpoint of update ${whole(shownPage)}.`;
  $("checkpoint").textContent = now + being || `Loading the page of update ${whole(page)}.`;
  if (page === shownPage || coming) return;
  coming = element("iframe", {src: `page?step=${page}`, title: "Memory and heads, step by step", class: "behind"});
  coming.dataset.step = page;
  const frame = coming;
  frame.addEventListener("load", () => swap(frame, page));
  $("frames").append(frame);
}

// Puts a page that has loaded in the place of the one before, at the same step of it.
async function swap(frame, page) {
  const inside = frame.contentDocument, old = $("frames").querySelector("iframe:not(.behind)");
  for (let i = 0; i < 100 && !inside.querySelector("#where")?.textContent; i++) await new Promise((done) => setTimeout(done, 30));
  const slider = inside.querySelector("#step"), before = old?.contentDocument?.querySelector("#step");
  if (!slider) { // no page: the server has dropped that checkpoint
    frame.remove();
    coming = null;
    return;
  }
  slider.value = before?.value ?? slider.max;
  slider.dispatchEvent(new Event("input"));
  const fit = () => { frame.style.height = `${inside.body.scrollHeight + 4}px`; };
  new ResizeObserver(fit).observe(inside.body);
  old?.remove();
  frame.classList.remove("behind");
  fit();
  shownPage = page;
  coming = null;
  if (timer === null) show(); // the slider may have moved meanwhile
}

// --- time ------------------------------------------------------------------------------

function play(on) {
  clearInterval(timer);
  timer = null;
  if (on) {
    $("follow").checked = false;
    if ($("moment").valueAsNumber === newest()) $("moment").value = 0;
    timer = setInterval(() => {
      if (coming) return; // each checkpoint is seen
      $("moment").value = $("moment").valueAsNumber + 1;
      if ($("moment").valueAsNumber >= newest()) play(false);
      show();
    }, 300);
    show();
  }
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
}

$("moment").addEventListener("input", () => {
  $("follow").checked = $("moment").valueAsNumber === newest();
  show();
});
$("follow").addEventListener("change", () => { if ($("follow").checked) { play(false); $("moment").value = newest(); show(); } });
$("play").addEventListener("click", () => play(timer === null));
