// The trace of one step: its keys, its indices, its ops with the shapes between them, its files.

/** An element with classes and content. Text is only ever set as text. */
function make(tag, classes, ...content) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  element.append(...content.filter((part) => part !== null));
  return element;
}

function sizeText(count) {
  for (const [unit, size] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= size) return `${Number((count / size).toPrecision(3))} ${unit}`;
  }
  return `${count} B`;
}

const trace = {
  panel: document.getElementById("trace"),
  from: null,

  open(rule, step, key) {
    if (this.panel.hidden) this.from = document.activeElement;
    const made = rule.keys("made", step);
    const card = document.getElementById(`rule-${rule.id}`);
    this.panel.replaceChildren(
      this.header(rule, step, key ?? made[0] ?? rule.keys("taken", step)[0]),
      this.indices(rule, step),
      this.list("taken", rule.tensors("taken", step), key),
      this.drawn(card, rule.kind.at(step)),
      this.list("made", rule.tensors("made", step), key),
      this.said(card),
    );
    this.panel.hidden = false;
    document.body.classList.add("tracing");
    this.panel.scrollTop = 0;
    const hash = `#${encodeURIComponent(key ?? made[0] ?? "")}`;
    if (location.hash !== hash) history.replaceState(null, "", hash);
  },

  close() {
    if (this.panel.hidden) return;
    this.panel.hidden = true;
    document.body.classList.remove("tracing");
    history.replaceState(null, "", "#top");
    if (this.from && this.from.isConnected) this.from.focus();
  },

  header(rule, step, title) {
    const button = (text, label, act, off) => {
      const one = make("button", "", text);
      one.type = "button";
      one.setAttribute("aria-label", label);
      one.disabled = off;
      one.addEventListener("click", act);
      return one;
    };
    return make(
      "header", "",
      make("div", "buttons",
        button("‹", "the step before", () => this.open(rule, step - 1), step === 0),
        make("span", "small", `${step + 1} of ${rule.steps}`),
        button("›", "the next step", () => this.open(rule, step + 1), step + 1 === rule.steps),
        button("✕", "close", () => this.close(), false),
      ),
      make("h2", "", make("code", "", title)),
    );
  },

  indices(rule, step) {
    const chips = rule.indices(step).map(([name, value]) =>
      make("span", "chip index", make("b", "", name), ` ${value}`),
    );
    return make("p", "indices", ...chips);
  },

  list(side, tensors, marked) {
    const words = { taken: "takes", made: "makes" };
    const list = make("ol", "");
    const add = (some) => some.forEach((one) => list.append(this.tensor(one, marked)));
    const first = Math.max(12, tensors.findIndex((one) => one.key === marked) + 1);
    add(tensors.slice(0, first));
    const title = make("h3", "", `${words[side]} ${tensors.length}`);
    const section = make("section", `side ${side}`, title, list);
    if (tensors.length > first) {
      const more = make("button", "more", `${tensors.length - first} more`);
      more.addEventListener("click", () => (more.remove(), add(tensors.slice(first))));
      section.append(more);
    }
    if (!tensors.length && side === "taken") list.append(make("li", "none", "what the mapping says"));
    return section;
  },

  tensor(one, marked) {
    const rank = one.rank.map(([name, value]) => `${name} ${value}`).join(" · ");
    const spec = one.dtype ? `${one.dtype} [${one.shape.join(", ")}] · ${sizeText(one.nbytes)}` : "";
    const file = one.file === null ? make("span", "none", "in no file") : make("code", "file", one.file);
    return make(
      "li", one.key === marked ? "marked" : "",
      make("code", "", one.key),
      make("span", "small", spec, spec && " · ", file, rank && ` · ${rank}`),
    );
  },

  drawn(card, kind) {
    const pipe = card.querySelector(`.pipe[data-kind="${kind}"]`);
    if (!pipe) return make("p", "none", "this kind of tensors is not drawn");
    const copy = pipe.cloneNode(true);
    copy.hidden = false;
    return copy;
  },

  said(card) {
    const text = card.querySelector(".text").cloneNode(true);
    return make("section", "", make("h3", "", "the rule"), text);
  },
};
