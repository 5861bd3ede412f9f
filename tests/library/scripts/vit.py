"""What the script asks of a model of timm's is answered from the checkpoint; timm is not there.

Left out are the comparison of the two models' outputs on a photograph, the names of ImageNet's
classes, and the image processor.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import torch
import transformers.modeling_utils  # noqa: F401 - looks for timm and PIL, so before they are stood in for
from safetensors.torch import load_file
from torch import nn

ABSENT = ["timm", "timm.data", "PIL"]


class PatchEmbed(SimpleNamespace): ...


class TimmModel(SimpleNamespace):
    def eval(self): ...

    def state_dict(self):
        return dict(self.state)

    def __call__(self, pixels):
        return torch.empty(1, self.num_classes)

    def forward_features(self, pixels):
        return torch.empty(1, *self.state["pos_embed"].shape[1:])


def timm_model(source, heads):
    stored = Path(source, "model.safetensors")
    state = load_file(stored) if stored.exists() else torch.load(Path(source, "model.pth"))
    patch_size = state["patch_embed.proj.weight"].shape[2:]
    side = int((state["pos_embed"].shape[1] - 1) ** 0.5) * patch_size[0]
    attention = SimpleNamespace(num_heads=heads)
    mlp = SimpleNamespace(fc1=SimpleNamespace(out_features=len(state["blocks.0.mlp.fc1.bias"])))
    block = SimpleNamespace(ls1=nn.Identity(), ls2=nn.Identity(), mlp=mlp, attn=attention)
    return TimmModel(
        state=state,
        fc_norm=nn.Identity(),
        global_pool="token",
        blocks=[block] * sum(key.endswith("norm1.weight") for key in state),
        patch_embed=PatchEmbed(patch_size=patch_size, img_size=(side, side)),
        embed_dim=state["cls_token"].shape[2],
        num_classes=len(state.get("head.bias", ())),
    )


def convert(source, output, heads):
    with patch.dict(sys.modules, {name: MagicMock() for name in ABSENT}):
        script = import_module("transformers.models.vit.convert_vit_timm_to_pytorch")
    model = timm_model(source, heads)
    labels = [f"LABEL_{i}" for i in range(model.num_classes)]
    pixels = {"pixel_values": torch.zeros(1, 3, *model.patch_embed.img_size)}
    script.timm.create_model = lambda name, pretrained: model
    script.timm.layers.PatchEmbed = PatchEmbed
    script.ImageNetInfo = lambda subset: SimpleNamespace(
        num_classes=lambda: len(labels), index_to_label_name=labels.__getitem__
    )
    script.prepare_img = MagicMock()
    script.ViTImageProcessor = lambda size: MagicMock(return_value=pixels)
    with patch.object(torch, "allclose", return_value=True):
        script.convert_vit_checkpoint("vit", output)
