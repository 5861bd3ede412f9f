// Searching, filtering, the tables that are made when they are looked at, and the keyboard.

const AT_ONCE = 100;
const HITS = 4;
const search = document.getElementById("search");
const filter = document.getElementById("filter");
const cards = RULES.map((rule) => document.getElementById(`rule-${rule.id}`));
let found = RULES.map(() => null); // of each rule the steps that match, null for all

// -- the tensors of a rule ----------------------------------------------------------------------

function keysText(keys) {
  const shown = keys.slice(0, 2).map((key) => make("code", "", key));
  return keys.length > 2 ? [...shown, make("span", "small", `and ${keys.length - 2} more`)] : shown;
}

function row(rule, step) {
  const tr = make("tr", "");
  const indices = rule.indices(step).map(([name, value]) => `${name} ${value}`).join(" · ");
  const files = new Set(rule.tensors("made", step).map((one) => one.file).filter(Boolean));
  const button = make("button", "", indices || "the only one");
  button.type = "button";
  tr.append(
    make("td", "", button),
    make("td", "", ...keysText(rule.keys("taken", step))),
    make("td", "", ...keysText(rule.keys("made", step))),
    make("td", "small", [...files].slice(0, 2).join(", ") + (files.size > 2 ? ", …" : "")),
  );
  tr.addEventListener("click", () => trace.open(rule, step));
  return tr;
}

/** The steps of a rule as a table, so many at once. */
function fillTable(rule, steps) {
  const box = cards[RULES.indexOf(rule)].querySelector(".tensors");
  const body = make("tbody", "");
  const names = ["indices", "takes", "makes", "in"].map((name) => make("th", "", name));
  const table = make("table", "", make("thead", "", make("tr", "", ...names)), body);
  const more = make("button", "more");
  const count = steps ? steps.length : rule.steps;
  let shown = 0;
  const show = () => {
    const end = Math.min(shown + AT_ONCE, count);
    for (; shown < end; shown++) body.append(row(rule, steps ? steps[shown] : shown));
    more.hidden = shown === count;
    more.textContent = `${Math.min(AT_ONCE, count - shown)} more of ${count - shown}`;
  };
  more.addEventListener("click", show);
  show();
  box.replaceChildren(make("div", "scroll", table), more);
}

const details = cards.map((card) => card.querySelector("details"));
details.forEach((one, i) =>
  one.addEventListener("toggle", () => one.open && fillTable(RULES[i], found[i])),
);

// -- searching and filtering --------------------------------------------------------------------

/** A test for texts that hold every word; `*` stands for anything. */
function matcher(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const tests = words.map((word) => {
    if (!word.includes("*")) return (text) => text.includes(word);
    const escaped = word.split("*").map((part) => part.replace(/[^\w]/g, "\\$&"));
    const pattern = new RegExp(escaped.join(".*"));
    return (text) => pattern.test(text);
  });
  return (text) => tests.every((test) => test(text));
}

function passes(card, wanted) {
  const { ops, exact, constant, noted } = card.dataset;
  if (wanted.startsWith("op ")) return ops.split(" ").includes(wanted.slice(3));
  const tests = {
    moved: () => ops !== "",
    copied: () => ops === "" && constant === undefined && exact === "exact",
    changed: () => exact !== "" && exact !== "exact",
    noted: () => noted !== undefined,
  };
  return wanted === "" || tests[wanted]();
}

function hits(rule, steps, matches) {
  return steps.slice(0, HITS).map((step) => {
    const keys = [...rule.keys("made", step), ...rule.keys("taken", step)];
    const key = keys.find((one) => matches(one.toLowerCase())) ?? keys[0];
    const button = make("button", "hit", key);
    button.type = "button";
    button.addEventListener("click", () => trace.open(rule, step, key));
    return button;
  });
}

function showCard(rule, i, query, matches) {
  const card = cards[i];
  let steps = null;
  if (query) {
    const texts = rule.searched();
    steps = [];
    for (let step = 0; step < texts.length; step++) if (matches(texts[step])) steps.push(step);
  }
  found[i] = steps;
  card.hidden = !passes(card, filter.value) || (steps !== null && !steps.length);
  const box = card.querySelector(".hits");
  box.hidden = card.hidden || steps === null;
  if (!box.hidden) {
    const more = steps.length > HITS ? [make("span", "small", `and ${steps.length - HITS} more`)] : [];
    box.replaceChildren(...hits(rule, steps, matches), ...more);
  }
  if (details[i].open) fillTable(rule, steps);
  return card.hidden ? 0 : (steps ?? { length: rule.steps }).length;
}

function showFields(query, matches) {
  let shown = 0;
  for (const line of document.querySelectorAll(".fields tbody tr")) {
    line.hidden = query !== "" && !matches(line.textContent.toLowerCase());
    shown += line.hidden ? 0 : 1;
  }
  document.getElementById("config").hidden = shown === 0;
  return shown;
}

function update() {
  const query = search.value.trim();
  const matches = matcher(query);
  const counts = RULES.map((rule, i) => showCard(rule, i, query, matches));
  const fields = showFields(query, matches);
  for (const group of document.querySelectorAll(".group")) {
    group.hidden = !group.querySelector(".rule:not([hidden])");
  }
  const rules = counts.filter(Boolean).length;
  const steps = counts.reduce((sum, count) => sum + count, 0);
  const all = `${rules} of ${RULES.length} rules`;
  const match = `${steps.toLocaleString("en")} match${steps === 1 ? "" : "es"} in ${rules} rule${rules === 1 ? "" : "s"}`;
  const also = `, ${fields} field${fields === 1 ? "" : "s"}`;
  const told = document.getElementById("found");
  told.textContent = query ? match + also : all;
  told.dataset.query = query;
  document.getElementById("nothing").hidden = rules + (query ? fields : 0) > 0;
}

let waiting = 0;
search.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(update, 80);
});
filter.addEventListener("change", update);

// -- files --------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function bar(part) {
  const svg = document.createElementNS(SVG, "svg");
  const rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("class", "bar-of");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  rect.setAttribute("width", String(Math.max(part * 100, 0.5)));
  rect.setAttribute("height", "8");
  svg.append(rect);
  return svg;
}

function fillShards() {
  const body = document.getElementById("shards");
  if (!body) return;
  const files = DATA.passages.at(-1).written;
  const most = files.reduce((largest, [, size]) => Math.max(largest, size), 1);
  let shown = 0;
  const more = make("button", "more");
  const show = () => {
    for (const [name, size, count] of files.slice(shown, shown + AT_ONCE)) {
      const cells = [make("code", "", name), count.toLocaleString("en"), sizeText(size)];
      const kinds = ["", "number", "number"];
      const line = make("tr", "", ...cells.map((cell, i) => make("td", kinds[i], cell)));
      line.append(make("td", "wide", bar(size / most)));
      body.append(line);
    }
    shown = Math.min(shown + AT_ONCE, files.length);
    more.hidden = shown === files.length;
    more.textContent = `${files.length - shown} more`;
  };
  more.addEventListener("click", show);
  show();
  body.parentElement.parentElement.after(more);
}

// -- where the page opens, and the keyboard -----------------------------------------------------

function openKey(key) {
  const low = key.toLowerCase();
  for (const side of ["made", "taken"]) {
    for (const rule of RULES) {
      const step = rule.searched().findIndex(
        (text, at) => text.includes(low) && rule.keys(side, at).includes(key),
      );
      if (step >= 0) return trace.open(rule, step, key);
    }
  }
  return undefined;
}

function openHash() {
  let key = "";
  try {
    key = decodeURIComponent(location.hash.slice(1));
  } catch {
    return;
  }
  if (key && !document.getElementById(key)) openKey(key);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && !trace.panel.hidden) {
    trace.close();
  } else if (event.key === "Escape" && search.value) {
    search.value = "";
    update();
  }
});
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  update();
  const first = document.querySelector(".rule:not([hidden]) .hits:not([hidden]) .hit");
  if (first) first.click();
});
window.addEventListener("hashchange", openHash);
fillShards();
update();
openHash();
document.documentElement.classList.add("ready");
