"""Every source tensor is used once or ignored by name, and every one a rule wants is there."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence

from mapengine.binding.binding import Binding
from mapengine.binding.inventory import Address
from mapengine.errors import Problem
from mapengine.fold import fold, suggest_key
from mapengine.language.mapping import Rule
from mapengine.planning.expand import Step

_SHOWN = 6
_SWAPPED = "the checkpoint has what stands right of the arrow: swap the sides;"
# How quantised weights are mostly spelt: used for a hint alone, never for a decision.
_QUANTISED = ("weight_scale_inv", "qweight", "qzeros", "g_idx", "scales", "weight_scale", "_blocks")


def drop_absent(steps: Sequence[Step], binding: Binding) -> tuple[Step, ...]:
    """The steps without those of optional rules of which no tensor is there, word by word."""
    there: dict[tuple[int, tuple[str, ...]], bool] = {}
    for step in steps:
        if step.rule.optional and step.sources.members:
            group = _group(step)
            any_there = any(address in binding.tensors for address in step.sources.members)
            there[group] = there.get(group, False) or any_there
    return tuple(s for s in steps if not s.rule.optional or there.get(_group(s), True))


def _group(step: Step) -> tuple[int, tuple[str, ...]]:
    return id(step.rule), tuple(v for v in step.values if isinstance(v, str))


def check_coverage(steps: Sequence[Step], binding: Binding) -> Iterator[Problem]:
    """A problem for the tensors that are missing, one for those left over, one for each clash."""
    users: dict[Address, Rule] = {}
    clashes: dict[tuple[str, str], Problem] = {}
    missing: dict[Address, Rule] = {}
    for step in steps:
        for address in step.sources.members:
            if address in users:
                rule, other = step.rule, users[address]
                message = f"{address[0]} is used twice: by {other.path} ({other.where}) too"
                help = "one rule makes several of it: a -> b, c with ops: [copy]"
                problem = Problem("ME312", message, rule.where, rule.path, help)
                clashes.setdefault((rule.path, other.path), problem)
            users[address] = step.rule
            if address not in binding.tensors:
                missing.setdefault(address, step.rule)
    yield from clashes.values()
    if not _can_tell(binding):
        return
    left = [
        key
        for key, rank in binding.tensors
        if (key, rank) not in users and not binding.ignores(key)
    ]
    if missing:
        yield _missing(missing, left, binding)
    if left:
        yield _left_over(left, binding)


def _can_tell(binding: Binding) -> bool:
    """Whether what is missing or left over is news: not if files, or the sizes, are wrong."""
    needed: set[str] = set()
    for rule in binding.mapping.rules:
        needed.update(*(p.names for p in (*rule.sources, *rule.targets)))
        needed.update(*(when.names for when in rule.when))
    for size in binding.mapping.dims.values():
        needed |= frozenset() if isinstance(size, tuple) else size.names
    files = any(problem.code.startswith("ME51") for problem in binding.problems)
    return not files and not needed & binding.names.failed


def _missing(missing: dict[Address, Rule], left: list[str], binding: Binding) -> Problem:
    rule = next(iter(missing.values()))
    count = len(missing)
    head = "1 tensor is missing" if count == 1 else f"{count} tensors are missing"
    keys = _keys(missing, binding)
    rules = {id(one): one for one in missing.values()}.values()
    near = _SWAPPED if _is_swapped(rule, left) else suggest_key(fold(keys)[0][0], left)
    help = f"{near} {_sizes(binding, rules)}".lstrip()
    message = f"{head} from the checkpoint{_listed(keys)}"
    return Problem("ME310", message, rule.where, rule.path, help)


def _is_swapped(rule: Rule, left: list[str]) -> bool:
    """Whether the checkpoint has what the rule would make."""
    made = [re.compile(fnmatch.translate(pattern.wildcard())) for pattern in rule.targets]
    return bool(left) and all(any(map(one.match, left)) for one in made)


def _keys(missing: Iterable[Address], binding: Binding) -> list[str]:
    """The keys that are missing everywhere; with their ranks, those missing in some files."""
    there = {key for key, _ in binding.tensors}
    keys: dict[str, None] = {}
    for key, rank in missing:
        part = ", ".join(f"{n} {value}" for n, value in zip(binding.ranks, rank, strict=True))
        keys[f"{key} of {part}" if key in there else key] = None
    return list(keys)


def _left_over(left: list[str], binding: Binding) -> Problem:
    count = len(left)
    head = "1 tensor of the checkpoint matches" if count == 1 else f"{count} tensors match"
    help = "a rule, or ignore.tensors"
    if any(key.endswith(_QUANTISED) for key in left):
        help = "this looks like a quantised checkpoint: it wants dequantising first"
    message = f"{head} no rule{_listed(left)}"
    return Problem(
        "ME314", message, binding.mapping.sides[binding.read.name].where, "tensors", help
    )


def _listed(keys: list[str]) -> str:
    folded = fold(keys)
    lines = [f"\n  {pattern}" + (f"  ×{n}" if n > 1 else "") for pattern, n in folded[:_SHOWN]]
    more = len(folded) - _SHOWN
    return ":" + "".join(lines) + (f"\n  and {more} more such groups" if more > 0 else "")


def _sizes(binding: Binding, rules: Iterable[Rule]) -> str:
    """Where the indices' ranges come from, to tell a wrong size from a missing file."""
    used = frozenset[str]().union(*(p.names for r in rules for p in (*r.sources, *r.targets)))
    told = []
    for index, size in binding.mapping.dims.items():
        if index in used and not isinstance(size, tuple) and size.names:
            goes = f"{index} goes to {size.text}, " if size.text not in size.names else ""
            told.append(goes + binding.names.sources(size))
    files = ", ".join(f.name for f in binding.files[:6])
    return "; ".join([*told, f"files read: {files}" + ("..." if len(binding.files) > 6 else "")])
