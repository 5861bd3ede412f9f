"""A whole mapping file out of rules, fields and indices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mapengine.inference.contents import Checkpoint
from mapengine.inference.fields import Fields
from mapengine.inference.files import FilesEntry
from mapengine.inference.indices import Indices
from mapengine.inference.names import words
from mapengine.inference.numbers import Numbers
from mapengine.inference.op_text import RuleText
from mapengine.inference.rules import Condition, Rule
from mapengine.inference.sample import Sample
from mapengine.inference.writing import example_lines, field_line, quoted, rule_lines
from mapengine.specs import DTYPES

_BEYOND = re.compile(r"\{@([A-Za-z0-9_]+)( [+-] [0-9]+)?\}")


_CONSTANTS = (
    "  # the same for every model, as far as this example tells: nothing in the source says them",
)


class Draft:
    """Writes the parts of a mapping; names that a part uses are kept, the others left out."""

    def __init__(
        self, source: Sample, target: Sample, fields: Fields, numbers: Numbers, indices: Indices
    ) -> None:
        self.source, self.target = source, target
        self.fields, self.numbers, self.indices = fields, numbers, indices
        self.rule_text = RuleText(numbers, self.size_of)
        self.notes: list[str] = []

    def text(
        self, name: str, title: str, rules: Sequence[Rule], dropped: Sequence[str],
        unused: str = "not in the target",
    ) -> str:  # fmt: skip
        """The file. The rules come first, as they say which names are wanted."""
        tensors = list(rule_lines([self._rule(rule, self._cast(rules)) for rule in rules]))
        dims = [f"{index}: {self.size_of(index)}" for index in self.indices.sizes]
        lines = [
            "mapengine: 1",
            f"name: {name}",
            f"title: {quoted(title)}",
            "",
            *self._source(dropped, unused),
            *self._target(rules),
            *self._companions(),
            "",
            "config:",
            *self._config(),
            "",
            *([f"dims: {{{', '.join(dims)}}}", ""] if dims else []),
            *(["tensors:", *tensors] if tensors else ["tensors: []"]),
            "",
            *example_lines(self._example()),
            "",
        ]
        return "\n".join(lines)

    def size_of(self, index: str) -> str:
        """How many an index counts: the config name that says so, or the number."""
        size = self.indices.sizes[index]
        for wanted in sorted(words(index)):
            found = self.numbers.named(size, f"num {index}", wanted)
            if found is not None:
                if found.others:
                    self._note(f"dims.{index} is {found.text}; or {', '.join(found.others)}")
                return found.text
        return str(size)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _rule(
        self, rule: Rule, cast: bool
    ) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str], str]:
        body: dict[str, str] = {}
        if rule.conditions:
            body["when"] = " and ".join(self._condition(one) for one in rule.conditions)
        families = rule.first.instance.sources
        shapes = [self.source.spec(one.members()[0]).shape for one in families]
        if families:
            body["shape"] = self.rule_text.shapes(rule, shapes)
            dtypes = [self.source.spec(one.members()[0]).dtype for one in families]
            if len({*dtypes}) > 1 or any(op.name == "dequantize" for op in rule.ops):
                body["dtype"] = f"[{', '.join(dtypes)}]"
            if ops := self.rule_text.ops(rule, cast):
                body["ops"] = f"[{', '.join(ops)}]"
        else:
            spec = self.target.spec(rule.first.instance.targets[0].members()[0])
            body["value"] = rule.ops[0].word
            body["shape"] = self.rule_text.shapes(rule, [spec.shape])
            body["dtype"] = spec.dtype
        sources, targets = (tuple(map(self._filled, side)) for side in (rule.sources, rule.targets))
        return sources, targets, body, "; ".join(rule.notes)

    def _filled(self, text: str) -> str:
        """A key with names where it counts from the end of an index."""

        def hole(match: re.Match[str]) -> str:
            size, more = self.size_of(match[1]), match[2] or ""
            if size.isdigit():
                return str(int(size) + int(more.replace(" ", "") or 0))
            return f"{{{size}{more}}}"

        return _BEYOND.sub(hole, text)

    def _condition(self, one: Condition) -> str:
        size, values = self.indices.sizes[one.index], list(one.values)
        if values == list(range(values[0], size)):
            return f"{one.index} >= {self._bound(values[0])}"
        if values == list(range(len(values))):
            return f"{one.index} < {self._bound(len(values))}"
        step = values[1] - values[0] if len(values) > 1 else 0
        if step > 1 and values == list(range(values[0], size, step)) and values[0] < step:
            return f"{one.index} % {step} == {values[0]}"
        return "(" + " or ".join(f"{one.index} == {value}" for value in values) + ")"

    def _bound(self, number: int) -> str:
        found = self.numbers.named(number, "first dense", "dense")
        return found.text if found else str(number)

    def _cast(self, rules: Sequence[Rule]) -> bool:
        """Whether each rule says its own cast, as they are not all to one dtype."""
        return self._dtype(rules) is None

    def _dtype(self, rules: Sequence[Rule]) -> str | None:
        """The dtype that all floating tensors of the target have, where some had another."""
        if not any(op.name == "cast" for rule in rules for op in rule.ops):
            return None
        dtypes = {self.target.spec(address).dtype for address in self.target.addresses}
        floating = {dtype for dtype in dtypes if DTYPES[dtype].floating}
        return floating.pop() if len(floating) == 1 else None

    def _source(self, dropped: Sequence[str], why: str) -> list[str]:
        one = self.source.checkpoint
        lines = ["source:", *_config_place(one)]
        entries = [text for entry in one.entries for text in self._entry(entry, one)]
        lines.append(
            f"  tensors: {entries[0] if len(entries) == 1 else '[' + ', '.join(entries) + ']'}"
        )
        unused = [
            path for path, name in self._only_source().items() if name not in self.numbers.used
        ]
        ignored, configs = [quoted(text) for text in dropped], [quoted(path) for path in unused]
        if ignored or configs:
            lines.append("  ignore:")
        if ignored:
            lines.append(f"    tensors: [{', '.join(ignored)}]    # {why}")
        if configs:
            lines.append(f"    config: [{', '.join(configs)}]")
        return lines

    def _only_source(self) -> dict[str, str]:
        """The fields that only the source has, and that no path of the target comes from."""
        return {
            one.source: name
            for name, one in self.fields.listed.items()
            if one.source is not None and not one.targets
        }

    def _entry(self, entry: FilesEntry, one: Checkpoint) -> list[str]:
        """The file patterns of an entry: with ranks and layers in it as far as they count."""
        if not entry.widths:
            return [quoted(entry.pattern)]
        rank = [f"{{rank:0{w}}}" if w > 1 else "{rank}" for w in entry.widths]
        if not entry.prefixed:
            return [json_text(entry.pattern.format(*rank))]
        return self._prefixed(entry, one, rank)

    def _prefixed(self, entry: FilesEntry, one: Checkpoint, rank: list[str]) -> list[str]:
        """Files whose keys hang below the number in their name, by index or one by one."""
        index = next((i for p, i in self.indices.places.items() if p == ("source", "part.")), None)
        place = next(i for i in range(len(entry.widths)) if i != entry.rank)
        numbers = sorted({values[place] for values in one.entries[entry]})
        texts: list[str] = []
        for number in numbers:
            hole = f"{number:0{entry.widths[place]}}"
            prefix = f"part.{number}."
            if index is not None:
                inside = 0 <= number - index.offset < self.indices.sizes[index.name]
                plain = index.hole if inside else self._filled(self.indices.beyond(index, number))
                prefix = f"part.{plain}."
                if not plain.isdigit():
                    hole = f"{plain[:-1]}:0{entry.widths[place]}}}"
            holes = [hole if i == place else rank[i] for i in range(len(rank))]
            text = (
                f"{{files: {json_text(entry.pattern.format(*holes))}, prefix: {json_text(prefix)}}}"
            )
            if text not in texts:
                texts.append(text)
        return texts

    def _target(self, rules: Sequence[Rule]) -> list[str]:
        one = self.target.checkpoint
        lines = ["target:", *_config_place(one)]
        names = [quoted(entry.pattern) for entry in one.entries]
        lines.append(f"  tensors: {names[0] if len(names) == 1 else '[' + ', '.join(names) + ']'}")
        if dtype := self._dtype(rules):
            lines.append(f"  dtype: {dtype}")
        config = one.configs.get(one.main)
        classes = config.get("architectures") if isinstance(config, dict) else None
        if isinstance(classes, list) and classes and isinstance(classes[0], str):
            lines.append(f"  model: {classes[0]}")
        return lines

    def _companions(self) -> list[str]:
        both = set(self.source.checkpoint.companions) & set(self.target.checkpoint.companions)
        return [f"files: [{', '.join(map(quoted, sorted(both)))}]"] if both else []

    def _config(self) -> list[str]:
        """The fields, but for those of the source alone that nothing uses."""
        kept = [self.fields.listed[name] for name in self._kept()]
        constants = [field_line(one) for one in kept if one.constant]
        if constants:
            constants[:0] = ["", *_CONSTANTS]
        return [*(field_line(one) for one in kept if not one.constant), *constants]

    def _kept(self) -> list[str]:
        kept = []
        for name, one in self.fields.listed.items():
            used = name in self.numbers.used or name == "ranks"
            if one.targets or used:
                kept.append(name)
        return kept

    def _example(self) -> dict[str, object]:
        listed = [self.fields.listed[name] for name in self._kept()]
        said = {one.name: one.value for one in listed if one.source is not None}
        asked = {
            one.name: one.value for one in listed if one.compute and not isinstance(one.value, str)
        }
        return {
            **said,
            **{n: v for n, v in asked.items() if "(" in (self.fields.listed[n].compute or "")},
        }


def _config_place(one: Checkpoint) -> list[str]:
    if one.at:
        return [f"  config: {{at: {quoted(one.at)}}}"]
    return [f"  config: {quoted(one.main)}"] if one.main else []


def json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
