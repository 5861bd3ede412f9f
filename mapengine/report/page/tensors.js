"use strict";
// Rules to tensors. The data hold index ranges; keys are spelled out when they are asked for.

const sizeOf = (range) => (typeof range === "number" ? range : range.length);
const valueAt = (range, i) => (typeof range === "number" ? String(i) : range[i]);

/** Values in runs, `[3, a, 1, b]`, by position. */
class Runs {
  constructor(flat) {
    this.starts = [];
    this.values = [];
    let at = 0;
    for (let i = 0; i < flat.length; i += 2) {
      this.starts.push(at);
      this.values.push(flat[i + 1]);
      at += flat[i];
    }
    this.length = at;
  }

  at(position) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return this.values[low];
  }
}

/** The members of a product of ranges, as positions, the last range fastest. */
function unravel(place, ranges) {
  const positions = new Array(ranges.length);
  for (let i = ranges.length - 1; i >= 0; i--) {
    const size = sizeOf(ranges[i]);
    positions[i] = place % size;
    place = Math.floor(place / size);
  }
  return positions;
}

const product = (ranges) => ranges.reduce((count, range) => count * sizeOf(range), 1);

/** One side of a rule: what its keys are, step by step. */
class Side {
  constructor(data, loops) {
    this.patterns = data.keys;
    this.fans = data.fans;
    this.fanRanges = data.fans.map(([, range]) => range);
    this.rankRanges = data.ranks.map(([, range]) => range);
    this.ranks = data.ranks;
    this.ranges = [...loops.map(([, range]) => range), ...this.fanRanges];
    this.fanned = Array.from({ length: product(this.fanRanges) }, (_, i) =>
      unravel(i, this.fanRanges),
    );
    this.copies = product(this.rankRanges);
  }

  /** The keys where the loops are at `positions`, without their ranks. */
  keys(positions) {
    const found = [];
    for (const parts of this.patterns) {
      for (const fan of this.fanned) found.push(this.fill(parts, positions.concat(fan)));
    }
    return found;
  }

  fill(parts, positions) {
    let key = "";
    for (const part of parts) {
      if (typeof part === "string") key += part;
      else if (part.length === 1) key += valueAt(this.ranges[part[0][0]], positions[part[0][0]]);
      else if (typeof part[1] === "number") key += positions[part[0][0]] + part[1];
      else key += part[1][this.place(part[0], positions)];
    }
    return key;
  }

  place(indices, positions) {
    return indices.reduce((at, i) => at * sizeOf(this.ranges[i]) + positions[i], 0);
  }
}

/** A rule, and its steps: each takes some tensors and makes some. */
class Rule {
  constructor(data, passage) {
    this.id = data.id;
    this.passage = passage;
    this.loops = data.loops;
    this.loopRanges = data.loops.map(([, range]) => range);
    this.steps = data.steps;
    this.kinds = data.kinds;
    this.kind = new Runs(data.traces);
    this.sides = { taken: new Side(data.taken, data.loops), made: new Side(data.made, data.loops) };
    this.sets = { taken: new Runs(data.from), made: new Runs(data.to) };
    this.at = data.at && this.starts(data.at);
    this.texts = null;
  }

  /** Where runs of steps begin: their number, and their place in the loops' product. */
  starts(flat) {
    let step = 0;
    const numbered = [];
    for (let i = 0; i < flat.length; i += 2) {
      numbered.push(flat[i + 1], [step, flat[i]]);
      step += flat[i + 1];
    }
    return new Runs(numbered);
  }

  positions(step) {
    let place = step;
    if (this.at) {
      const [first, start] = this.at.at(step);
      place = start + step - first;
    }
    return unravel(place, this.loopRanges);
  }

  /** `[["layer", "3"], ...]` */
  indices(step) {
    const positions = this.positions(step);
    return this.loops.map(([name, range], i) => [name, valueAt(range, positions[i])]);
  }

  keys(side, step) {
    return this.sides[side].keys(this.positions(step));
  }

  /** Every tensor of one side of a step: key, rank, dtype, shape, bytes and file. */
  tensors(side, step) {
    const { specs, files, sets } = this.passage;
    const of = this.sides[side];
    const kinds = new Runs(this.kinds[this.kind.at(step)][side]);
    const where = new Runs(sets[this.sets[side].at(step)]);
    const found = [];
    for (const key of this.keys(side, step)) {
      for (let copy = 0; copy < of.copies; copy++) {
        const spec = kinds.length ? specs[kinds.at(found.length)] : ["", [], 0];
        const file = where.length ? where.at(found.length) : -1;
        const rank = unravel(copy, of.rankRanges).map((at, i) => [
          of.ranks[i][0],
          valueAt(of.rankRanges[i], at),
        ]);
        const [dtype, shape, nbytes] = spec;
        found.push({ key, rank, dtype, shape, nbytes, file: file < 0 ? null : files[file] });
      }
    }
    return found;
  }

  /** Of each step the keys of both sides in small letters, to search in. */
  searched() {
    if (!this.texts) {
      this.texts = [];
      for (let step = 0; step < this.steps; step++) {
        const positions = this.positions(step);
        const keys = [...this.sides.taken.keys(positions), ...this.sides.made.keys(positions)];
        this.texts.push(keys.join("\n").toLowerCase());
      }
    }
    return this.texts;
  }
}

const DATA = JSON.parse(document.getElementById("data").textContent);
const RULES = DATA.passages.flatMap((passage) =>
  passage.rules.map((rule) => new Rule(rule, passage)),
);

// For the console: every step of the plan, spelled out.
globalThis.report = {
  data: DATA,
  *steps() {
    for (const rule of RULES) {
      for (let step = 0; step < rule.steps; step++) {
        const [taken, made] = ["taken", "made"].map((side) => rule.tensors(side, step));
        yield { rule: rule.id, indices: Object.fromEntries(rule.indices(step)), taken, made };
      }
    }
  },
};
