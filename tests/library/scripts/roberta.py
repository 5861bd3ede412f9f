"""fairseq is not needed for what the script does to tensors.

What the script reads of fairseq's model are its arguments and its parameters: they come from the
checkpoint here, under the names that they have in fairseq's memory whatever the file calls them.
Left out is the comparison of the two models' outputs.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import torch
from scripts import module_of

ABSENT = ["fairseq", "fairseq.models", "fairseq.models.roberta", "fairseq.modules"]


def in_memory(state):
    for key, tensor in state.items():
        key = key.removeprefix("decoder.").removeprefix("encoder.")
        key = key.replace("layernorm_embedding", "emb_layer_norm")
        key = key if key.startswith("classification_heads") else f"encoder.{key}"
        fused = "qkv" if ".in_proj_" in key else ""
        for word, part in zip(fused, tensor.chunk(3) if fused else [], strict=True):
            yield key.replace("in_proj_", f"{word}_proj."), part.clone()
        if not fused:
            yield key, tensor


def fairseq_roberta(source):
    """As much as the script asks for of what fairseq's `from_pretrained` gives."""
    stored = torch.load(Path(source, "model.pt"))
    model = module_of({key: tensor.float() for key, tensor in in_memory(stored["model"])})
    tokens = model.encoder.sentence_encoder.embed_tokens
    tokens.num_embeddings = len(tokens.weight)
    if hasattr(model.encoder, "lm_head"):
        model.encoder.lm_head.weight = tokens.weight  # one parameter in fairseq
    heads = model.classification_heads.children() if hasattr(model, "classification_heads") else ()
    for one in (model, *heads):
        one.forward = MagicMock(return_value=torch.zeros(1))
    if heads:
        model.classification_heads = torch.nn.ModuleDict(model.classification_heads._modules)
    return MagicMock(model=model, args=SimpleNamespace(**stored["args"]))


def convert(source, output, classifier=False):
    with patch.dict(sys.modules, {name: MagicMock(__version__="0.9.0") for name in ABSENT}):
        name = "transformers.models.roberta.convert_roberta_original_pytorch_checkpoint_to_pytorch"
        script = import_module(name)
    script.FairseqRobertaModel = MagicMock()
    script.FairseqRobertaModel.from_pretrained = fairseq_roberta
    kind = script.RobertaForSequenceClassification if classifier else script.RobertaForMaskedLM
    with patch.object(kind, "forward", return_value=torch.zeros(1)):
        script.convert_roberta_checkpoint_to_pytorch(source, output, classifier)
    # The script leaves two biases behind, the head's own as it was made, and the decoder's. What is
    # on the Hub was loaded, which makes them one, and saved again.
    kind.from_pretrained(output).save_pretrained(output)
