"""The script downloads its file, and knows the published sizes: it is given a file, and a size."""

from pathlib import Path

from scripts import Tokenizer
from transformers.models.rwkv import convert_rwkv_checkpoint_to_hf as script


class Words(Tokenizer):
    def __len__(self):
        return self.vocab_size


def convert(source, output, vocab, layers, hidden):
    script.PreTrainedTokenizerFast = lambda tokenizer_file: Words(vocab)
    script.hf_hub_download = lambda folder, name: Path(folder, name)
    script.NUM_HIDDEN_LAYERS_MAPPING["tiny"] = layers
    script.HIDEN_SIZE_MAPPING["tiny"] = hidden
    script.convert_rmkv_checkpoint_to_hf_format(
        source, "RWKV-4.pth", output, size="tiny", tokenizer_file="tokenizer.json"
    )
