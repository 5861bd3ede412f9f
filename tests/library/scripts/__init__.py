"""One file a mapping: how its official script is called, under transformers 4.45.2."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file


class Tokenizer:
    """As much of one as the scripts ask for: what they make of it is no tensor."""

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def save_pretrained(self, folder): ...


def module_of(state):
    """A tree of modules with these tensors as parameters, for a script that copies them over."""
    from torch.nn import Module, ModuleList, Parameter

    below = {}
    module = Module()
    for key, tensor in state.items():
        first, _, rest = key.partition(".")
        if rest:
            below.setdefault(first, {})[rest] = tensor
        else:
            setattr(module, first, Parameter(tensor, requires_grad=False))
    for name, inner in below.items():
        module.add_module(name, module_of(inner))
    if below and all(name.isdecimal() for name in below):
        return ModuleList(module.get_submodule(str(i)) for i in range(len(below)))
    return module


def rewrite(source, output, tensors, config):
    """Both files of a checkpoint as functions make them of what was read: where no script is."""
    Path(output).mkdir(parents=True)
    held = load_file(f"{source}/model.safetensors")
    save_file(tensors(held), f"{output}/model.safetensors")
    read = json.loads(Path(source, "config.json").read_text())
    Path(output, "config.json").write_text(json.dumps(config(read)))
