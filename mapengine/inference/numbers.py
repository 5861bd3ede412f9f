"""Numbers of shapes and ops in the names of config fields, as plain as may be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from mapengine.inference.names import likeness, words

_SIZES = frozenset({
    "dim", "hidden", "ffn", "vocab", "head", "expert", "position", "patch", "channel", "kernel",
    "state", "group", "rank", "label", "conv", "embed", "key", "value", "inter", "table",
})  # fmt: skip
_NEVER = frozenset({"eos", "bos", "pad", "layer", "top", "token", "version", "window", "multiple"})
_OFTEN_SMALL = frozenset(
    {"kernel", "patch", "channel", "conv", "group", "label", "state", "expert"}
)
_SMALL = 4
"""Numbers up to this one are many things: only a name that means such a size is taken for one."""
_FACTORS = (2, 3, 4)
_MORE = (1, 2)


@dataclass(frozen=True, slots=True)
class Expression:
    """Its text, what else would give the number as plainly, and whether it is one term."""

    text: str
    others: tuple[str, ...] = ()
    atom: bool = True

    @property
    def factor(self) -> str:
        return self.text if self.atom else f"({self.text})"


class Numbers:
    """The names of whole numbers; `used` are those that stand in an expression."""

    def __init__(self, values: Mapping[str, int], first: Collection[str] = ()) -> None:
        self.values = dict(values)
        self.used: set[str] = set()
        self._first = first  # names that are taken before others of the same value

    def expression(self, number: int, hint: str = "") -> Expression:
        """The number in names, those that are like the hint first; itself where there are none."""
        exact = sorted(self._exact(number), key=lambda name: -self._fit(name, hint))
        if exact:
            return self._chosen(exact, hint)
        if number <= _SMALL:
            return Expression(str(number))
        made = sorted(self._made(number), key=lambda one: (one[0], -self._fit(one[1], hint)))
        if not made:
            return Expression(str(number))
        level, text = made[0]
        others = tuple(other for n, other in made[1:] if n == level)
        self._use(text)
        return Expression(text, others[:3], atom=False)

    def named(self, number: int, hint: str, wanted: str) -> Expression | None:
        """A name that has the number and a word of what is wanted, the likest to the hint first."""
        exact = [n for n, value in self.values.items() if value == number and wanted in words(n)]
        exact = [n for n in exact if "dim" not in words(n) or wanted == "dim"]
        return (
            self._chosen(sorted(exact, key=lambda n: -likeness(n, hint)), hint) if exact else None
        )

    def _chosen(self, exact: list[str], hint: str) -> Expression:
        """The best name; the others are as good where they fit the hint as well."""
        best = self._fit(exact[0], hint)
        self.used.add(exact[0])
        return Expression(
            exact[0], tuple(n for n in exact[1:] if self._fit(n, hint) > best - 0.2)[:3]
        )

    def _use(self, text: str) -> None:
        self.used.update(
            name for name in self.values if name in text.replace("(", "").replace(")", "").split()
        )

    def _fit(self, text: str, hint: str) -> float:
        size = 0.3 if words(text) & _SIZES else 0.0
        before = 0.25 if text in self._first else 0.0
        return size + before + (likeness(text, hint) if hint else 0.0)

    def _exact(self, number: int) -> list[str]:
        exact = [n for n, v in self.values.items() if v == number and not words(n) & _NEVER]
        return exact if number > _SMALL else [n for n in exact if words(n) & _OFTEN_SMALL]

    def _made(self, number: int) -> Iterator[tuple[int, str]]:
        """Expressions of two names or more, each with how far-fetched it is."""
        yield from self._of_heads(number)
        sizes = {
            n: v
            for n, v in self.values.items()
            if v > 1 and words(n) & _SIZES and not words(n) & _NEVER
        }
        counts = {n for n in sizes if words(n) & {"position", "vocab"}}
        yield from ((4, f"{n} + {k}") for n in counts for k in _MORE if sizes[n] + k == number)
        for name, value in ((n, v) for n, v in sizes.items() if n not in counts):
            yield from ((2, f"{k} * {name}") for k in _FACTORS if k * value == number)
            yield from ((4, f"{name} // {k}") for k in _FACTORS if value == number * k)
            for other, divisor in ((n, v) for n, v in sizes.items() if n not in counts):
                if name < other and value * divisor == number:
                    yield (1 if _heads(name, other) else 3), f"{name} * {other}"
                if name != other and value % divisor == 0 and value // divisor == number:
                    many = words(other) & {"head", "key"} == {"head"}
                    yield (2 if many else 5), f"{name} // {other}"

    def _of_heads(self, number: int) -> Iterator[tuple[int, str]]:
        """What queries, keys and values come to together, or those of one group of heads."""
        heads = {
            n: v
            for n, v in self.values.items()
            if words(n) & {"head", "group"} and "dim" not in words(n)
        }
        each = {n: v for n, v in self.values.items() if words(n) == {"head", "dim"}}
        for (name, count), (dim, size) in product(heads.items(), each.items()):
            yield from ((3, f"3 * {name} * {dim}") for _ in (1,) if 3 * count * size == number)
            for fewer, groups in heads.items():
                if groups < count and (count + 2 * groups) * size == number:
                    yield 2, f"({name} + 2 * {fewer}) * {dim}"
                if 1 < groups < count and count % groups == 0 and count // groups * size == number:
                    yield 1, f"{name} // {fewer} * {dim}"

        parts = {n: v for n, v in self.values.items() if words(n) > {"head", "dim"}}
        for (name, count), (a, one), (b, other) in product(
            heads.items(), parts.items(), parts.items()
        ):
            if a < b and count * (one + other) == number:
                yield 2, f"{name} * ({a} + {b})"


def _heads(one: str, other: str) -> bool:
    """Whether one name counts heads and the other says how large one is."""
    return "head" in words(one) & words(other) and "dim" in words(one) ^ words(other)
