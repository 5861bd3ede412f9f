from transformers.models.llama import convert_llama_weights_to_hf as script


def convert(source, output, vocab, version, shards, instruct=False):
    script.write_model(
        output,
        source,
        llama_version=version,
        vocab_size=vocab,
        num_shards=shards,
        instruct=instruct,
    )
