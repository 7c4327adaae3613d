"use strict";
// The sequences of our tasks, made from what a reader draws.
//
// A drawing has `vectors` (a list of lists of bits), the task's other numbers by name, and
// `priorities` if the task has them. A task says, given its fields and the drawing:
// - `bits`: how many bits a vector has;
// - `numbers`: what a reader sets, each with its name, label, first value, and bounds. The
//   drawing has the number of `slots` too, and a sequence has at most `MOST_STEPS`;
// - `count`: how many vectors these numbers make;
// - `make`: the steps of the sequence, each with its input and its target, null if no
//   answer is due;
// - `draw`: random vectors, if they are other than random bits;
// - `optimum`: the best possible predictions, if there are better ones than the targets;
// - `label`: what a vector is called; `group`: how many make an item; `about`: the task in
//   words.

const MOST_STEPS = data.most_steps;
const nothing = (size) => Array(size).fill(0);
const due = (input, target) => ({input, target});
const given = (input) => ({input, target: null});

// At most as many as the memory has slots.
const lengthOf = (label, start, most) => ({name: "length", label, start, low: () => 1, high: ({slots}) => Math.min(slots, most)});
const half = Math.floor((MOST_STEPS - 1) / 2);

const repeatCopy = {
  about: "The machine is shown vectors of bits and how often to repeat them. Then it outputs them that often, and an end marker in the top row.",
  label: "vector",
  bits: ({num_bits}) => num_bits,
  numbers: [
    lengthOf("Vectors", 6, half - 1),
    {name: "repeats", label: "Repeats", start: 4, low: () => 1, high: ({length}, {repeat_code}) =>
      Math.floor((MOST_STEPS - length - 2) / (length + (repeat_code === "pulses" ? 1 : 0)))},
  ],
  count: ({length}) => length,
  make({vectors, repeats}, {num_bits, repeat_code}) {
    const still = nothing(num_bits + 2), pulses = repeat_code === "pulses";
    return [
      ...vectors.map((vector) => given([...vector, 0, 0])),
      given([...nothing(num_bits), 1, pulses ? 0 : normalised(repeats)]),
      ...Array(pulses ? repeats : 0).fill(given([...nothing(num_bits), 0, 1])),
      ...Array(repeats).fill(vectors).flat().map((vector) => due(still, [...vector, 0])),
      due(still, [...nothing(num_bits), 1]),
    ];
  },
};

// Mean 0 and variance 1 over the repeats of the paper's training, 1 to 10.
function normalised(repeats) {
  return (repeats - 5.5) / Math.sqrt(99 / 12);
}

const kinds = {
  copy: {
    about: "The machine is shown vectors of bits and a delimiter. Then it outputs the same vectors, from its memory.",
    label: "vector",
    bits: ({num_bits}) => num_bits,
    numbers: [lengthOf("Vectors", 12, half)],
    count: ({length}) => length,
    make({vectors}, {num_bits}) {
      return [
        ...vectors.map((vector) => given([...vector, 0])),
        given([...nothing(num_bits), 1]),
        ...vectors.map((vector) => due(nothing(num_bits + 1), vector)),
      ];
    },
  },
  repeat_copy: repeatCopy,
  associative_recall: {
    about: "The machine is shown items, and then one of them again. It outputs the item that came after that one.",
    label: "vector",
    group: ({item_length}) => item_length,
    bits: ({num_bits}) => num_bits,
    numbers: [
      {name: "items", label: "Items", start: 5, low: () => 2, high: ({slots}, {item_length}) =>
        Math.min(slots, Math.floor((MOST_STEPS - 2 - 2 * item_length) / (item_length + 1)))},
      {name: "query", label: "Item asked for", start: 2, low: () => 1, high: ({items}) => items - 1},
    ],
    count: ({items}, {item_length}) => items * item_length,
    make({vectors, query}, {num_bits, item_length}) {
      const item = (number) => vectors.slice((number - 1) * item_length, number * item_length);
      const shown = (number) => item(number).map((vector) => given([...vector, 0, 0]));
      const count = vectors.length / item_length;
      return [
        ...Array.from({length: count}, (_, i) => [given([...nothing(num_bits), 1, 0]), ...shown(i + 1)]).flat(),
        given([...nothing(num_bits), 0, 1]),
        ...shown(query),
        given([...nothing(num_bits), 0, 1]),
        ...item(query + 1).map((vector) => due(nothing(num_bits + 2), vector)),
      ];
    },
  },
  dynamic_ngrams: {
    about: "At every bit, the machine predicts the next one. Which bit is likely depends on the bits just before it, by a table that is new in each sequence.",
    label: "bit",
    bits: () => 1,
    numbers: [{name: "length", label: "Bits", start: 60, low: (_, {order}) => Math.max(order, 2), high: () => MOST_STEPS + 1}],
    count: ({length}) => length,
    make({vectors}, {order}) {
      return vectors.slice(0, -1).map((bit, t) => t >= order - 2 ? due(bit, vectors[t + 1]) : given(bit));
    },
    // More bits of the drawing's table: for each context the chance of a 1, of Beta(1/2, 1/2).
    draw(drawing, count, {order}, random) {
      drawing.table ??= Array.from({length: 2 ** (order - 1)}, () => Math.sin(random() * Math.PI / 2) ** 2);
      const bits = drawing.vectors.map(([bit]) => bit), before = bits.length;
      while (bits.length < before + count) {
        const context = bits.slice(bits.length - (order - 1)).reduce((all, bit) => 2 * all + bit, 0);
        bits.push(Number(random() < (bits.length < order - 1 ? 0.5 : drawing.table[context])));
      }
      return bits.slice(before).map((bit) => [bit]);
    },
    // The best prediction at each step from the bits so far: (n1 + 1/2) / (n0 + n1 + 1).
    optimum({vectors}, {order}) {
      const seen = Array.from({length: 2 ** (order - 1)}, () => [0.5, 0.5]);
      let context = 0;
      return vectors.slice(0, -1).map(([bit], t) => {
        context = (2 * context + bit) % seen.length;
        const [noughts, ones] = seen[context];
        if (t >= order - 2) seen[context][vectors[t + 1][0]] += 1;
        return [ones / (noughts + ones)];
      });
    },
  },
  priority_sort: {
    about: "The machine is shown vectors of bits, each with a priority, which the sliders set. Then it outputs the vectors, highest priority first.",
    label: "vector",
    priorities: true,
    bits: ({num_bits}) => num_bits,
    numbers: [
      lengthOf("Vectors", 20, half),
      {name: "answers", label: "Answers", start: 16, low: () => 1, high: ({length}) => length},
    ],
    count: ({length}) => length,
    make({vectors, priorities, answers}, {num_bits}) {
      const order = vectors.map((_, i) => i).sort((a, b) => priorities[b] - priorities[a]);
      return [
        ...vectors.map((vector, i) => given([...vector, priorities[i], 0])),
        given([...nothing(num_bits + 1), 1]),
        ...order.slice(0, answers).map((i) => due(nothing(num_bits + 2), vectors[i])),
      ];
    },
  },
  reverse_string: {
    about: "The machine is shown a string of two symbols, 0 and 1. Then it outputs the string from its end to its start.",
    label: "symbol",
    bits: () => 1,
    numbers: [lengthOf("Symbols", 12, half)],
    count: ({length}) => length,
    make({vectors}) {
      return [
        ...vectors.map(([symbol]) => given([1 - symbol, symbol, 0])),
        ...[...vectors].reverse().map((symbol) => due([0, 0, 1], symbol)),
      ];
    },
  },
};

function randomVectors(kind, drawing, count, fields, random) {
  if (kind.draw) return kind.draw(drawing, count, fields, random);
  return Array.from({length: count}, () => Array.from({length: kind.bits(fields)}, () => Number(random() < 0.5)));
}

// From -1 to 1, in hundredths, as they are shown.
const randomPriority = (random) => Math.round(200 * random() - 100) / 100;

// Sets the numbers within their bounds, and as many vectors as they want: what was drawn
// stays, what is new is random.
function fit(kind, drawing, fields, random) {
  for (const {name, low, high} of kind.numbers) {
    drawing[name] = Math.min(Math.max(Math.round(drawing[name]) || 0, low(drawing, fields)), high(drawing, fields));
  }
  const count = kind.count(drawing, fields), more = count - drawing.vectors.length;
  drawing.vectors = more > 0 ? [...drawing.vectors, ...randomVectors(kind, drawing, more, fields, random)] : drawing.vectors.slice(0, count);
  if (kind.priorities) drawing.priorities = drawing.vectors.map((_, i) => drawing.priorities[i] ?? randomPriority(random));
}

// Numbers from 0 to 1 that the seed determines (mulberry32).
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
