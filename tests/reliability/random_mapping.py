"""Mappings at random, each with a checkpoint it fits, and what must come of that, there and back.

The document is put together from the whole of the language; what comes of it is worked out here by
plain torch and plain Python beside it, and by nothing of the engine.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from torch import Tensor

from reliability.random_files import Form, Quoted, form_at_random
from reliability.random_ops import Spelling
from reliability.random_rules import Rules, Scope

_WORDS = ["silu", "gelu_new", "größe", "no", "1e5", "null", "a b", ""]


@dataclass
class Trial:
    """A mapping, its source, and what must come of it."""

    text: str
    form: Form
    files: dict[str, dict[str, Tensor]]
    config: dict[str, Any] | None
    there: dict[str, Tensor]
    config_there: dict[str, Any] | None
    config_back: dict[str, Any] | None
    target_config: str
    layout_there: str | None
    layout_back: str | None
    companions: dict[str, bytes]
    words: set[str]


@dataclass
class Fields:
    """The fields of a config, and what the config says before, there, and when it came back."""

    chance: random.Random
    target_layouts: list[str]
    said: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    there: dict[str, Any] = field(default_factory=dict)
    back: dict[str, Any] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def _path(self, name: str) -> str:
        return self.chance.choice([name, f"model.{name}", f"a.b.{name}"])

    def _target(self, path: str) -> Any:
        """A path on the target: of each layout one, now and then."""
        if self.target_layouts and self.chance.random() < 0.5:
            return {name: path if name == self.target_layouts[-1] else f"{path}_of_{name}"
                    for name in self.target_layouts}  # fmt: skip
        return path

    def size(self, name: str, value: int) -> None:
        """A field that expressions name: it is on both sides."""
        source, target = self._path(f"n_{name}"), self._path(f"num_{name}")
        self.said[name] = {"source": source, "target": self._target(target)}
        if self.chance.random() < 0.2:
            source = target
            self.said[name] = target
        self._put(source, target, value, value)

    def _put(self, source: str, target: str | None, before: Any, after: Any) -> None:
        put(self.before, source, before)
        put(self.back, source, before)
        if target:
            put(self.there, target, after)

    def one_more(self, sizes: Mapping[str, int]) -> None:
        """A field of some kind, which no rule asks for."""
        kinds = [self._value, self._default, self._absent, self._computed, self._translated,
                 self._typed, self._left_out, self._carried, self._twice]  # fmt: skip
        self.chance.choice(kinds)(f"f{len(self.said)}", sizes)

    def _any(self) -> Any:
        chance = self.chance
        return chance.choice([
            chance.randint(-(2**40), 2**40), chance.random(), 1e-5, 1.0, True, False,
            chance.choice(_WORDS), [1, 2.5, "x"], [], 0,
        ])  # fmt: skip

    def _value(self, name: str, sizes: Mapping[str, int]) -> None:
        value = self._any()
        self.said[name] = {"target": self._path(name), "value": value}
        put(self.there, self.said[name]["target"], value)

    def _default(self, name: str, sizes: Mapping[str, int]) -> None:
        """Absent from the source; on the way back it is said."""
        value, source, target = (
            self.chance.randint(0, 99),
            self._path(f"s_{name}"),
            self._path(name),
        )
        self.said[name] = {"source": source, "target": target, "default": value}
        put(self.there, target, value)
        put(self.back, source, value)

    def _absent(self, name: str, sizes: Mapping[str, int]) -> None:
        default = {"source": None, "target": None}  # null is left out, there and back
        self.said[name] = {
            "source": f"s_{name}", "target": name, "default": default, "optional": True
        }  # fmt: skip

    def _computed(self, name: str, sizes: Mapping[str, int]) -> None:
        if sizes:
            size, value = self.chance.choice([*sizes.items()])
            self.said[name] = {
                "target": name,
                "compute": f"{size} * 2 + 1 if {size} > 3 else {size}",
            }
            put(self.there, name, value * 2 + 1 if value > 3 else value)

    def _translated(self, name: str, sizes: Mapping[str, int]) -> None:
        values = {"one": "uno", "two": "due", "three": 3}
        word = self.chance.choice([*values])
        self.said[name] = {"source": f"s_{name}", "target": name, "values": values}
        self._put(f"s_{name}", name, word, values[word])

    def _typed(self, name: str, sizes: Mapping[str, int]) -> None:
        self.said[name] = {"source": f"s_{name}", "target": name, "type": "int"}
        self._put(f"s_{name}", name, 4096, 4096)
        self.before[f"s_{name}"] = "4096"

    def _left_out(self, name: str, sizes: Mapping[str, int]) -> None:
        """Ignored on the source: it goes nowhere, and does not come back."""
        put(self.before, f"old.{name}", self._any())
        self.words.add("ignore")

    def _carried(self, name: str, sizes: Mapping[str, int]) -> None:
        self.said.setdefault("carry", []).append(f"kept_{name}")
        value = self._any()
        self._put(f"kept_{name}", f"kept_{name}", value, value)

    def _twice(self, name: str, sizes: Mapping[str, int]) -> None:
        value = self._any()
        self.said[name] = {"source": [f"p_{name}", f"q.{name}"], "target": [name, f"copy.{name}"]}
        for path in (f"p_{name}", f"q.{name}"):
            put(self.before, path, value)
            put(self.back, path, value)
        put(self.there, name, value)
        put(self.there, f"copy.{name}", value)


def put(config: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        config = config.setdefault(step, {})
    config[last] = value


def trial(seed: str) -> Trial:
    """A trial; equal seeds give equal ones."""
    chance = random.Random(seed)
    form = form_at_random(chance)
    targets = ["v1", "v2"] if chance.random() < 0.2 else []
    fields = Fields(chance, targets)
    sizes = {name: chance.randint(1, 9) for name in chance.sample(["hidden", "heads", "ffn"], 2)}
    layers, ranks = chance.randint(1, 3), chance.randint(2, 3) if form.ranked else None
    has_config = chance.random() < 0.9
    if not has_config:
        sizes = {}
    counted = {"layers": layers} if has_config else {}
    for name, value in {**sizes, **counted}.items():
        fields.size(name, value)
    for _ in range(chance.randint(0, 6) if has_config else 0):
        fields.one_more(sizes)
    dims = {
        "layer": range(layers), "expert": range(chance.randint(2, 4)), "part": range(3),
        "w": ["w1", "w3"], "u": ["up", "gate"], "group": range(2), "slot": ["weight", "bias"],
    }  # fmt: skip
    spell = Spelling(chance, sizes)
    most = chance.choice([4, 7, 7, 7, 60])
    rules = Rules(chance, spell, dims, ranks, most)
    written = _tensors(chance, rules, form, targets)
    said = {name: [*dims[name]] if isinstance(dims[name], list) else len(dims[name])
            for name in dims if name in rules.used}  # fmt: skip
    said["layer"] = "layers" if has_config else layers
    if ranks:
        said["rank"] = ranks
    document = _document(chance, form, fields, targets, written, said, has_config)
    companions = {f"tokenizer{i}.json": chance.randbytes(chance.choice([0, 10, 70_000]))
                  for i in range(chance.randint(0, 2))}  # fmt: skip
    if companions:
        document["files"] = [*companions, "not_there.txt"]
    where = document["target"].get("config")
    return Trial(
        yaml.dump(document, Dumper=Quoted, sort_keys=False, allow_unicode=True),
        form, form.deal(chance, rules.source),
        fields.before if has_config else None, rules.target,
        fields.there if has_config else None, fields.back if has_config else None, where,
        "v2" if targets else None, "+".join([*filter(None, [form.layout]), *targets[1:]]) or None,
        companions,
        rules.words | fields.words | form.words,
    )  # fmt: skip


def _tensors(chance: random.Random, rules: Rules, form: Form, targets: list[str]) -> list[Any]:
    """The rules: at the top, and in scopes."""
    top, block = Scope(), Scope(form.block, "layers.{layer}.", {"layer": rules.dims["layer"]})
    rules.used.add("layer")
    written = [rules.rule(top, plain=True)]
    written += [rules.rule(top) for _ in range(chance.randint(0, 3))]
    inner = [rules.rule(block, plain=True)]
    inner += [rules.rule(block) for _ in range(chance.randint(0, 4))]
    if chance.random() < 0.3:
        deep = Scope(f"{form.block}sub.", "layers.{layer}.sub.", block.loops)
        inner.append({"scope": "sub.", "tensors": [rules.rule(deep), rules.rule(deep)]})
    if chance.random() < 0.3:
        inner.append(rules.constant(block))
    written.append({"scope": f"{form.block} -> layers.{{layer}}.", "tensors": inner})
    for i, name in enumerate(name for name in form.layouts if name != form.layout):
        written.append({f"of_others{i} -> other{i}": {"layout": name}})
    if targets and not form.ranked:
        written.append({"never -> never": {"layout": "+".join([*form.layouts[:1], targets[0]])}})
    if not form.ranked and chance.random() < 0.2:
        written.append({"absent.{layer} -> missing.{layer}": {"optional": True}})
    chance.shuffle(written)
    return written


def _document(
    chance: random.Random, form: Form, fields: Fields, targets: list[str], written: list[Any],
    dims: dict[str, Any], has_config: bool,
) -> dict[str, Any]:  # fmt: skip
    source, target = dict(form.side), dict[str, Any]()
    target["tensors"] = chance.choice(["model.safetensors", ["pytorch_model.bin"], "out.pth"])
    if has_config:
        source["config"] = form.config
        target["config"] = chance.choice(["config.json", "hparams.yaml"])
    if "ignore" in fields.words:
        source["ignore"] = {"config": ["old."]}
    if targets:
        target["layouts"] = {name: {} for name in targets}
    document: dict[str, Any] = {"mapengine": 1, "name": "soak", "source": source, "target": target}
    if fields.said:
        document["config"] = fields.said
    return {**document, "dims": dims, "tensors": written}
