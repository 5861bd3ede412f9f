from scripts import Tokenizer
from transformers.models.mistral import convert_mistral_weights_to_hf as script


def convert(source, output, vocab, v3=False):
    script.tokenizer_class = lambda path: Tokenizer(vocab)
    script.write_model(output, source, "7B", tokenizer_path="", is_v3=v3)
