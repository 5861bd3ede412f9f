"""Small models in float32 and adapters of them, and what PEFT would make of the two together."""

import json
import math
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import mapengine
from mapengine import api
from mapengine.adapters.model import Model, counts_of_files
from mapengine.checkpoints.example_files import write_example
from mapengine.planning.example import example_settings

PREFIX = "base_model.model."


def whole(mapping, layout):
    """The mapping with an example of one file, not of one for each of several devices."""
    ones = dict.fromkeys(counts_of_files(mapping, layout), 1)
    return replace(mapping, example={**mapping.example, **ones})


def write_model(mapping, layout, folder):
    """The mapping's example in float32; what must be set to run it."""
    folder.mkdir(parents=True)
    settings = write_example(mapping, layout, folder)
    for path in tensor_files(folder):
        save(path, {key: wide(one) for key, one in load(path).items()})
    for path in folder.glob("*.json"):  # some say what the tensors are
        path.write_text(path.read_text().replace('"bfloat16"', '"float32"'))
    return dict(settings.values)


def wide(tensor):
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def tensor_files(folder):
    kinds = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
    return sorted(path for path in folder.iterdir() if path.suffix in kinds)


def load(path):
    """The tensors of a file by key, nested dicts joined with `/`; other things in it are left."""
    if path.suffix == ".safetensors":
        return load_file(path)
    return dict(flattened(torch.load(path, weights_only=False)))


def flattened(state, above=""):
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            yield above + key, value
        elif isinstance(value, dict):
            yield from flattened(value, f"{above}{key}/")


def save(path, tensors):
    if path.suffix == ".safetensors":
        save_file(tensors, path, {"format": "pt"})
        return
    state = torch.load(path, weights_only=False)
    for key, tensor in tensors.items():
        inner = state
        *parents, last = key.split("/")
        for parent in parents:
            inner = inner[parent]
        inner[last] = tensor
    torch.save(state, path)


@dataclass(frozen=True)
class Checkpoint:
    """A folder of tensor files whose keys are told in a rule's words: without root, with prefix."""

    folder: Path
    files: dict[str, str]
    root: str

    @staticmethod
    def read_by(plan, folder):
        binding = plan.binding
        return Checkpoint.of(folder, binding.files, binding.read.root_in(binding.layout))

    @staticmethod
    def written_by(plan, folder):
        binding = plan.binding
        return Checkpoint.of(folder, binding.outputs, binding.write.root_in(binding.layout))

    @staticmethod
    def of(folder, files, root):
        return Checkpoint(folder, {file.name: file.prefix for file in files}, root)

    def load(self):
        return {
            prefix + key.removeprefix(self.root): one
            for name, prefix in self.files.items()
            for key, one in load(self.folder / name).items()
            if key.startswith(self.root)
        }

    def copied(self, folder, change):
        """The same in another folder, its tensors what `change` makes of them all."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("mapengine.json"))
        changed = change(self.load())
        for name, prefix in self.files.items():
            told = {key: prefix + key.removeprefix(self.root) for key in load(folder / name)}
            save(folder / name, {key: changed[one] for key, one in told.items() if one in changed})
        return replace(self, folder=folder)


@dataclass
class Lora:
    """An adapter as PEFT writes it: factors by module, its config, and tensors that are whole."""

    config: dict
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    whole: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def tensors(self):
        found = {PREFIX + key: one for key, one in self.whole.items()}
        for module, (a, b) in self.factors.items():
            names = ("lora_A.weight", "lora_B.weight")
            if module in self.tables:
                names = ("lora_embedding_A", "lora_embedding_B")
            found |= {f"{PREFIX}{module}.{name}": f for name, f in zip(names, (a, b), strict=True)}
        return found

    def write(self, folder):
        folder.mkdir(parents=True)
        tensors = {key: one.contiguous() for key, one in self.tensors.items()}
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(self.config))
        return folder

    @staticmethod
    def read(folder):
        lora = Lora(json.loads((folder / "adapter_config.json").read_text()))
        tensors = load(next(iter(tensor_files(folder))))
        for key, one in tensors.items():
            name = key.removeprefix(PREFIX)
            module, found, rest = name.rpartition(".lora_")
            if not found:
                lora.whole[name] = one
            elif rest in ("A.weight", "embedding_A"):
                lora.factors[module] = one, tensors[key.replace("_A", "_B")]
                lora.tables |= {module} if rest == "embedding_A" else set()
        return lora

    def pattern(self, name, module, default):
        """As PEFT looks a module up in rank_pattern and alpha_pattern."""
        for key, value in (self.config.get(name) or {}).items():
            if re.match(rf"(.*\.)?({key})$", module):
                return value
        return default

    def delta(self, module):
        """The update of a module's weight, as it is stored, in float64."""
        a, b = (one.double() for one in self.factors[module])
        rank = self.pattern("rank_pattern", module, self.config["r"])
        alpha = self.pattern("alpha_pattern", module, self.config["lora_alpha"])
        assert a.shape[0] == rank
        scale = alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)
        product = (b.flatten(1) @ a.flatten(1)).reshape(b.shape[0], *a.shape[1:])
        turned = module in self.tables or (self.config.get("fan_in_fan_out") and a.ndim == 2)
        return scale * (product.T if turned else product)

    def merged(self, weights):
        """The weights with the adapter in them; a file's own prefix stands before a key."""
        merged = dict(weights)
        for key, one in self.whole.items():
            merged[key.replace(".base_layer", "")] = one
        for module in self.factors:
            key = f"{module}.weight"
            merged[key] = (merged[key].double() + self.delta(module)).to(merged[key].dtype)
        return merged


def config(rank=4, alpha=8, **more):
    """What PEFT writes, as far as it matters."""
    own = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": [],
        "bias": "none",
    }
    return {**own, **more}


def random_lora(weights, modules, rank=4, alpha=8, *, seed=0, ranks=None, tables=(), **more):
    """Factors for these modules, as large as the weights themselves are."""
    generator = torch.Generator().manual_seed(seed)
    lora = Lora(config(rank, alpha, **more), tables=frozenset(tables))
    for module in modules:
        out, *ins = weights[f"{module}.weight"].shape
        if module in tables or (more.get("fan_in_fan_out") and len(ins) == 1):
            (out,), ins = ins, [out]
        r = (ranks or {}).get(module, rank)
        a = torch.randn(r, *ins, generator=generator) / 10
        b = torch.randn(out, r, *[1] * (len(ins) - 1), generator=generator) / 10
        lora.factors[module] = (a, b)
    if ranks:
        lora.config["rank_pattern"] = {f"^{re.escape(m)}": rank for m, rank in ranks.items()}
    return lora


def matrices(weights):
    """The modules that PEFT could adapt, by the keys of their weights."""
    return [key[: -len(".weight")] for key, one in weights.items()
            if key.endswith(".weight") and one.ndim == 2]  # fmt: skip


def deviation(one, other):
    """The largest difference of two models' tensors, beside the largest value of the tensor."""
    assert one.keys() == other.keys()
    worst = 0.0
    for key in one:
        assert one[key].dtype == other[key].dtype, key
        a, b = one[key].double(), other[key].double()
        assert a.shape == b.shape, key
        worst = max(worst, float((a - b).abs().max() / a.abs().max()))
    return worst


def both_ways(job, lora, folder):
    """A merged model mapped, a mapped one merged with the adapter mapped, and that adapter."""
    adapter = lora.write(folder / "adapter")
    plan = api.plan(job)
    merged = Checkpoint.read_by(plan, Path(job.source)).copied(folder / "merged", lora.merged)
    for one, output in (
        (replace(job, source=merged.folder), "then"),
        (job, "base"),
        (replace(job, adapter=adapter), "new"),
    ):
        mapengine.run(one, folder / output, sync=False)
    new = Lora.read(folder / "new")
    then, base = (Checkpoint.written_by(plan, folder / name).load() for name in ("then", "base"))
    return then, new.merged(base), new


def example(name, layout, reverse, folder):
    """The job that maps an example in float32, forwards or back."""
    mapping = whole(api.load(name), layout)
    chosen = "+".join(sorted(layout)) or None
    values = write_model(mapping, layout, folder / "model")
    job = mapengine.Job(mapping, folder / "model", values, layout=chosen)
    if not reverse:
        return job
    mapengine.run(job, folder / "there", sync=False)
    values = example_settings(mapping, layout, "target").values
    values = {n: one for n, one in values.items() if mapping.fields[n].compute is None}
    return replace(job, source=folder / "there", values=values, reverse=True)


def groups(job, weights, folder):
    """The modules that may be adapted, in groups that one adapter can have; and what may not."""
    plan = api.plan(job)
    model = Model.of(
        plan.mapping, plan.binding.names.inventory, job.settings, plan.binding.layout, job.read
    )
    rules = {module: model.users[f"{module}.weight"][0].rule for module in matrices(weights)}
    lora = random_lora(weights, rules).write(folder / "all")
    paths = {rule.path for rule in plan.mapping.rules}
    problems = refusal(replace(job, adapter=lora))
    refused = {one.path: one for one in problems if one.path in paths}
    found = {}
    for number, path in enumerate(sorted({r.path for r in rules.values()} - refused.keys())):
        modules = [module for module, rule in rules.items() if rule.path == path]
        alone = random_lora(weights, modules).write(folder / str(number))
        made = api.plan(replace(job, adapter=alone)).configs["adapter_config.json"]
        found.setdefault(made["fan_in_fan_out"], []).extend(modules)
    return list(found.values()), [(rules_of(model, path), why) for path, why in refused.items()]


def rules_of(model, path):
    return next(rule for rule in model.binding.mapping.rules if rule.path == path)


def refusal(job):
    """Why an adapter is refused, or nothing."""
    try:
        api.plan(job)
    except mapengine.MapengineError as error:
        return error.problems
    return ()
