"""Ops and shapes as a mapping writes them, with names for their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mapengine.inference.arrangement import Axis
from mapengine.inference.numbers import Expression, Numbers
from mapengine.inference.rules import Rule
from mapengine.inference.steps import Op

_LETTERS = "abcdefgklmnpqrstuvwxyz"


@dataclass
class RuleText:
    """Writes the body of rules. `size_of` is how many an index counts, as an expression."""

    numbers: Numbers
    size_of: Callable[[str], str]
    ties: dict[str, list[str]] = field(default_factory=dict)

    def ops(self, rule: Rule, cast: bool) -> list[str]:
        """Each op; casts only where no side says them for all."""
        hint = f"{rule.sources[0]} {rule.targets[0]}"
        return [self._op(op, hint, rule) for op in rule.ops if cast or op.name != "cast"]

    def told(self) -> list[str]:
        """Each tie once, with a target that has it and how many more do."""
        return [
            f"{note} ({keys[0]}{f' and {len(keys) - 1} more' if len(keys) > 1 else ''})"
            for note, keys in self.ties.items()
        ]

    def _op(self, op: Op, hint: str, rule: Rule) -> str:
        match op.name:
            case "cast":
                return f"{{cast: {op.word}}}"
            case "transpose" | "permute":
                return f"{{{op.name}: [{', '.join(map(str, op.order))}]}}"
            case "dequantize":
                format, dtype = op.word.split()
                block = f", block: [{op.sizes[0]}, {op.sizes[1]}]" if op.sizes else ""
                return f"{{dequantize: {{format: {format}{block}, to: {dtype}}}}}"
            case "mul" | "add":
                return f"{{{op.name}: {self._scalar(op, rule)}}}"
            case "rope_permute" | "rope_unpermute":
                return self._rope(op, hint, rule)
            case "rearrange":
                return f'{{rearrange: "{self._brackets(op, hint)}"}}'
        where = "over" if op.name in ("concat", "stack", "same", "mean") else "into"
        words = [f"{where}: {op.fan}"] if op.fan else []
        if op.name == "mean" and op.word:
            words.append(f"in: {op.word}")
        if op.sizes:
            words.append(f"sizes: [{', '.join(self._part(size, hint) for size in op.sizes)}]")
        if op.name not in ("same", "copy", "mean"):
            words.append(f"dim: {op.dim}")
        return f"{{{op.name}: {{{', '.join(words)}}}}}" if words else op.name

    def _scalar(self, op: Op, rule: Rule) -> str:
        """A number that is added or a factor; that of the ranks by its name, where it is theirs."""
        ranked = any(family.pattern.ranked for family in rule.first.instance.sources)
        ranks = self.numbers.values.get("ranks")
        return "ranks" if ranked and op.word == str(ranks) else op.word

    def _rope(self, op: Op, hint: str, rule: Rule) -> str:
        heads = self.numbers.named(op.heads, hint, "head") or Expression(str(op.heads))
        self._tie(rule, f"{op.heads} heads", heads)
        words = [f"heads: {heads.text}"]
        if op.rotary_dim:
            words.append(f"rotary_dim: {self.numbers.expression(op.rotary_dim, 'rotary dim').text}")
        return f"{{{op.name}: {{{', '.join(words)}}}}}"

    def _part(self, size: int, hint: str) -> str:
        return self.numbers.expression(size, hint).text

    def _tie(self, rule: Rule, what: str, chosen: Expression) -> None:
        if chosen.others:
            note = f"{what} is {chosen.text}, or {', '.join(chosen.others)}"
            self.ties.setdefault(note, []).append(rule.targets[0])

    def _brackets(self, op: Op, hint: str) -> str:
        """The axes of a `rearrange`: one of each bracket is new, the others have a size."""
        names: dict[int, str] = {}
        left, right = op.axes
        for axis in left:
            largest = max(
                axis, key=lambda digit: (not op.sizes[digit], op.sizes[digit]), default=None
            )
            for digit in axis:
                names[digit] = self._digit(op, digit, digit == largest, names, hint)
        return " -> ".join(
            " ".join(_bracket(axis, names) for axis in side) for side in (left, right)
        )

    def _digit(self, op: Op, digit: int, free: bool, names: dict[int, str], hint: str) -> str:
        taken = {*names.values(), *self.numbers.values}
        if free:
            return next(letter for letter in _LETTERS if letter not in taken)
        size = op.sizes[digit]
        for wanted in ("head", "expert", "group", "rank"):
            found = self.numbers.named(size, hint, wanted)
            if found and found.text not in names.values():
                return found.text
        return str(size)

    def shapes(self, rule: Rule, shapes: Sequence[tuple[int, ...]]) -> str:
        """The shape of each source; one where they are all the same."""
        each = [
            self._axes(rule, shape, key)
            for shape, key in zip(shapes, rule.sources or rule.targets, strict=True)
        ]
        if rule.ops and rule.ops[0].name == "dequantize" and rule.ops[0].sizes:
            each[1][-2:] = [  # a number for each block, the last of which may be partial
                f"({text} + {block - 1}) // {block}"
                for text, block in zip(each[0][-2:], rule.ops[0].sizes, strict=True)
            ]
        texts = [f"[{', '.join(axes)}]" for axes in each]
        return texts[0] if len(set(shapes)) == 1 else f"[{', '.join(texts)}]"

    def _axes(self, rule: Rule, shape: tuple[int, ...], key: str) -> list[str]:
        """Each axis, as the first op that cuts or joins it says what it is made of."""
        hint = f"{key} {rule.targets[0]}"
        texts = []
        known: dict[int, str] = {}
        for op in rule.ops:
            if op.name in ("transpose", "permute", "rearrange", "unstack", "stack"):
                if op.name == "unstack" and op.fan and op.dim not in known:
                    known[op.dim] = self.size_of(op.fan)
                break
            if op.dim not in known and op.name in (
                "concat",
                "split",
                "rope_permute",
                "rope_unpermute",
            ):
                text = self._cut(op, shape[op.dim], hint)
                if text:
                    known[op.dim] = text
        for dim, size in enumerate(shape):
            if dim in known:
                texts.append(known[dim])
            else:
                chosen = self.numbers.expression(size, hint)
                self._tie(rule, f"the {size} of a shape", chosen)
                texts.append(chosen.text)
        return texts

    def _cut(self, op: Op, size: int, hint: str) -> str | None:
        """An axis that an op cuts into equal parts, or into ranks."""
        if op.name == "concat" and op.fan == "rank":
            ranks = round(self._ranks())
            return f"{self.numbers.expression(size * ranks, hint).text} // ranks"
        if op.name == "split" and op.fan and not op.sizes:
            count = self.size_of(op.fan)
            parts = self.numbers.values.get(count) or (int(count) if count.isdigit() else 0)
            if parts and size % parts == 0:
                return f"{count} * {self.numbers.expression(size // parts, hint).factor}"
        if op.name == "split" and op.sizes:
            return " + ".join(self.numbers.expression(part, hint).text for part in op.sizes)
        if op.name.startswith("rope"):
            heads = self.numbers.named(op.heads, hint, "head")
            each = self.numbers.named(size // op.heads, "head dim", "dim")
            if heads and each and "head" in each.text:
                self.numbers.used.update((heads.text, each.text))
                return f"{heads.text} * {each.text}"
        return None

    def _ranks(self) -> int:
        return self.numbers.values["ranks"]


def _bracket(axis: Axis, names: dict[int, str]) -> str:
    words = " ".join(names[digit] for digit in axis)
    return words if len(axis) == 1 else f"({words})" if axis else "1"
