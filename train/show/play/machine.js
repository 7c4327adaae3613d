"use strict";
// A Neural Turing Machine (Graves, Wayne and Danihelka 2014), as ntm_jax computes it, in
// float64. A machine is {config, params, slots, start}: its NTMConfig, arrays by path, the
// number of slots, and what its memory begins with, [slots x slot_size].

const SMALLEST_LENGTH = 1e-8, SMALLEST_WEIGHT = 1e-30, SMALLEST_SUM = 2 ** -32, LARGEST_FACTOR = 2 ** 52;

const sum = (values) => values.reduce((a, b) => a + b, 0);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const zeros = (size) => new Float64Array(size);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const activations = {tanh: Math.tanh, sigmoid, identity: (x) => x};

function softmax(logits) {
  const top = most(logits), powers = logits.map((x) => Math.exp(x - top)), total = sum(powers);
  return powers.map((power) => power / total);
}

function joined(arrays) {
  const all = zeros(sum(arrays.map((array) => array.length)));
  arrays.reduce((place, array) => { all.set(array, place); return place + array.length; }, 0);
  return all;
}

// x K + b, of the layer at that path, which may have no bias.
function dense(params, path, x) {
  const kernel = params[`${path}/kernel`], bias = params[`${path}/bias`], width = kernel.length / x.length;
  const y = bias ? Float64Array.from(bias) : zeros(width);
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < width; j++) y[j] += x[i] * kernel[i * width + j];
  }
  return y;
}

// --- controllers -------------------------------------------------------------------

// Each cell: [carry, x] to the new carry, of which the last array is the output.
const cells = {
  lstm: ([c, h], x, layer) => {
    const gate = (name, f) => {
      const own = layer(`i${name}`, x), past = layer(`h${name}`, h);
      return own.map((value, i) => f(value + past[i]));
    };
    const i = gate("i", sigmoid), f = gate("f", sigmoid), g = gate("g", Math.tanh), o = gate("o", sigmoid);
    const cell = c.map((old, j) => f[j] * old + i[j] * g[j]);
    return [cell, cell.map((value, j) => o[j] * Math.tanh(value))];
  },
  gru: ([h], x, layer) => {
    const [r, z, n] = ["r", "z", "n"].map((name) => [layer(`i${name}`, x), layer(`h${name}`, h)]);
    return [h.map((old, j) => {
      const reset = sigmoid(r[0][j] + r[1][j]), update = sigmoid(z[0][j] + z[1][j]);
      return (1 - update) * Math.tanh(n[0][j] + reset * n[1][j]) + update * old;
    })];
  },
};
const carries = {lstm: ["0", "1"], gru: [""]};

// Where a layer of a recurrent controller has its parameters.
const layerPath = (controller, layer) => controller.num_layers > 1 ? `controller/cells_${layer}` : "controller";

function initialCarry({config: {controller, initial_carry}, params}) {
  if (controller.kind === "feed_forward") return [];
  return Array.from({length: controller.num_layers}, (_, layer) => carries[controller.kind].map((part) => {
    if (initial_carry !== "learned") return zeros(controller.units);
    const places = [controller.num_layers > 1 ? String(layer) : "", part].filter((place) => place);
    return Float64Array.from(params[["initial/carry", ...places].join("/")]);
  }));
}

function control({config: {controller}, params}, carry, x) {
  const after = [];
  for (let i = 0; i < controller.num_layers; i++) {
    if (controller.kind === "feed_forward") {
      x = dense(params, `controller/Dense_${i}`, x).map(activations[controller.activation]);
    } else {
      after.push(cells[controller.kind](carry[i], x, (name, values) => dense(params, `${layerPath(controller, i)}/${name}`, values)));
      x = after[i].at(-1);
    }
  }
  return [after, x];
}

// --- heads -------------------------------------------------------------------------

// What each head of that kind emits, in its range: k, β, g, s, γ, and e and a of a writer.
function emitted({config, params}, kind, hidden) {
  const all = dense(params, `${kind}_heads`, hidden), count = config[`num_${kind}_heads`], width = all.length / count;
  const bound = config.head_clip ?? Infinity, m = config.slot_size, shifts = 2 * config.shift_range + 1;
  return Array.from({length: count}, (_, head) => {
    const own = all.slice(head * width, (head + 1) * width).map((x) => Math.min(Math.max(x, -bound), bound));
    const made = {
      key: own.slice(0, m).map(activations[config.key_activation]),
      strength: softplus(own[m]),
      gate: sigmoid(own[m + 1]),
      shift: softmax(own.slice(m + 2, m + 2 + shifts)),
      gamma: config.sharpening === "learned" ? 1 + softplus(own[m + 2 + shifts]) : 1,
    };
    if (kind === "write") {
      made.erase = own.slice(-2 * m, -m).map(sigmoid);
      made.add = own.slice(-m).map(activations[config.add_activation]);
    }
    return made;
  });
}

// --- addressing: equations 5 to 9 --------------------------------------------------

function softmaxOfProduct(factor, values) {
  const bounded = Math.min(factor, LARGEST_FACTOR);
  return softmax(values.map((value) => bounded * value));
}

const inverse = (squares) => 1 / Math.sqrt(squares + SMALLEST_LENGTH ** 2);

function contentWeights(memory, key, strength) {
  const m = key.length, cosines = zeros(memory.length / m), length = inverse(sum(key.map((x) => x * x)));
  for (let slot = 0; slot < cosines.length; slot++) {
    let product = 0, squares = 0;
    for (let i = 0; i < m; i++) {
      const content = memory[slot * m + i];
      product += content * key[i];
      squares += content * content;
    }
    cosines[slot] = product * length * inverse(squares);
  }
  return softmaxOfProduct(strength, cosines);
}

function circularShift(weights, shift) {
  const n = weights.length, reach = (shift.length - 1) / 2;
  return weights.map((_, slot) => {
    let moved = 0;
    for (let j = -reach; j <= reach; j++) moved += shift[j + reach] * weights[(slot - j + n) % n];
    return moved;
  });
}

function sharpen(weights, gamma) {
  const missing = Math.max(SMALLEST_SUM - sum(weights), 0), filled = weights.map((w) => w + missing), top = most(filled);
  return softmaxOfProduct(gamma, filled.map((w) => Math.log(w / top + SMALLEST_WEIGHT)));
}

function address(memory, previous, {key, strength, gate, shift, gamma}) {
  const content = contentWeights(memory, key, strength);
  return sharpen(circularShift(content.map((w, i) => gate * w + (1 - gate) * previous[i]), shift), gamma);
}

// --- memory: equations 2 to 4 ------------------------------------------------------

function read(memory, weights) {
  const m = memory.length / weights.length, vector = zeros(m);
  for (let slot = 0; slot < weights.length; slot++) {
    for (let i = 0; i < m; i++) vector[i] += weights[slot] * memory[slot * m + i];
  }
  return vector;
}

// Every head of `writers`, [weights, {erase, add}], erases before any of them adds.
function write(memory, writers) {
  const after = memory.slice();
  for (const [weights, {erase}] of writers) {
    for (let slot = 0, place = 0; slot < weights.length; slot++) {
      for (let i = 0; i < erase.length; i++) after[place++] *= 1 - weights[slot] * erase[i];
    }
  }
  for (const [weights, {add}] of writers) {
    for (let slot = 0, place = 0; slot < weights.length; slot++) {
      for (let i = 0; i < add.length; i++) after[place++] += weights[slot] * add[i];
    }
  }
  return after;
}

// --- the machine -------------------------------------------------------------------

// Which heads act in turn, [kind, indices]. Heads of one turn see the same memory.
function turns({order, num_read_heads, num_write_heads}) {
  const all = (count) => Array.from({length: count}, (_, i) => i);
  const reading = ["read", all(num_read_heads)], writing = ["write", all(num_write_heads)];
  if (order === "read_first") return [reading, writing];
  if (order === "write_first") return [writing, reading];
  return all(Math.max(num_read_heads, num_write_heads)).flatMap((i) =>
    [reading, writing].filter(([, heads]) => i < heads.length).map(([kind]) => [kind, [i]]));
}

function initialState(machine) {
  const {config, params, slots, start} = machine, m = config.slot_size;
  const parts = (path, count) => Array.from({length: count}, (_, i) => {
    const size = params[path].length / count;
    return Float64Array.from(params[path].subarray(i * size, (i + 1) * size));
  });
  const weights = {
    first_slot: () => zeros(slots).fill(1, 0, 1),
    uniform: () => zeros(slots).fill(1 / slots),
    none: () => zeros(slots),
  }[config.initial_weighting];
  const weighting = (kind, count) => weights ? Array.from({length: count}, weights) : parts(`initial/${kind}_focus`, count).map(softmax);
  return {
    memory: Float64Array.from(start),
    weights: {read: weighting("read", config.num_read_heads), write: weighting("write", config.num_write_heads)},
    reads: config.initial_read === "learned" ? parts("initial/reads", config.num_read_heads) : Array.from({length: config.num_read_heads}, () => zeros(m)),
    carry: initialCarry(machine),
  };
}

// The state after one step, the logits, and what the heads emitted.
function stepOf(machine, state, x) {
  const {config, params} = machine;
  const [carry, hidden] = control(machine, state.carry, joined([x, ...state.reads]));
  const heads = {read: emitted(machine, "read", hidden), write: emitted(machine, "write", hidden)};
  const previous = config.previous_weighting === "read" ? {read: state.weights.read, write: state.weights.read} : state.weights;
  const weights = {read: [], write: []}, reads = [];
  let memory = state.memory;
  for (const [kind, turn] of turns(config)) {
    for (const head of turn) weights[kind][head] = address(memory, previous[kind][head], heads[kind][head]);
    if (kind === "read") for (const head of turn) reads[head] = read(memory, weights.read[head]);
    else memory = write(memory, turn.map((head) => [weights.write[head], heads.write[head]]));
  }
  const logits = dense(params, "output", joined([hidden, ...reads]));
  return {state: {memory, weights, reads, carry}, logits, heads};
}

// All steps from the initial state: the logits, and arrays {shape: [T, ...], size, values}
// of what was inside. Of all heads together, those that write are first.
function trace(machine, inputs) {
  const arrays = {}, {slot_size: m, num_read_heads, num_write_heads} = machine.config;
  const both = num_write_heads + num_read_heads, shifts = 2 * machine.config.shift_range + 1;
  const shapes = {
    logits: [machine.config.output_size], memory: [machine.slots, m], weights: [both, machine.slots], reads: [num_read_heads, m],
    erase: [num_write_heads, m], add: [num_write_heads, m], key: [both, m], shift: [both, shifts], strength: [both], gate: [both], gamma: [both],
  };
  for (const [name, shape] of Object.entries(shapes)) {
    const size = shape.reduce((a, b) => a * b, 1);
    arrays[name] = {shape: [inputs.length, ...shape], size, values: zeros(inputs.length * size)};
  }
  let state = initialState(machine);
  inputs.forEach((x, t) => {
    const now = stepOf(machine, state, x), heads = [...now.heads.write, ...now.heads.read];
    const keep = (name, values) => arrays[name].values.set(joined(values), t * arrays[name].size);
    state = now.state;
    keep("logits", [now.logits]);
    keep("memory", [state.memory]);
    keep("weights", [...state.weights.write, ...state.weights.read]);
    keep("reads", state.reads);
    for (const name of ["erase", "add"]) keep(name, now.heads.write.map((head) => head[name]));
    for (const name of ["key", "shift"]) keep(name, heads.map((head) => head[name]));
    for (const name of ["strength", "gate", "gamma"]) keep(name, [heads.map((head) => head[name])]);
  });
  return arrays;
}
