"""The script knows the sizes of the published models and ImageNet's names: it is given others.

Left out are the photograph, the image processor, the comparison of the model's output on one with
the published model's, and the upload.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import MagicMock, patch

import torch
import transformers.modeling_utils  # noqa: F401 - looks for PIL, so before it is stood in for
from transformers import ConvNextForImageClassification

URL = "https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth"


def convert(source, output, depths, widths, names):
    with patch.dict(sys.modules, {"PIL": MagicMock()}):
        script = import_module("transformers.models.convnext.convert_convnext_to_pytorch")
    listed = Path(source).with_name(f"{Path(source).name}-names.json")
    listed.write_text(json.dumps(dict(enumerate(names))))
    official = script.get_convnext_config

    def smaller(url):
        config, _ = official(url)
        config.hidden_sizes, config.depths = widths, depths
        return config, (1, len(names))

    script.hf_hub_download = lambda *_, **__: listed
    script.get_convnext_config = smaller
    script.prepare_img = MagicMock()
    pixels = MagicMock(pixel_values=torch.zeros(1, 3, 64, 64))
    script.ConvNextImageProcessor = lambda size: MagicMock(return_value=pixels)
    stored = torch.load(Path(source, "model.pth"))
    with (
        patch.object(torch.hub, "load_state_dict_from_url", return_value=stored),
        patch.object(torch, "allclose", return_value=True),
        patch.object(ConvNextForImageClassification, "push_to_hub"),
    ):
        script.convert_convnext_checkpoint(URL, output)
