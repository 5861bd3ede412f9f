from transformers.models.olmo import convert_olmo_weights_to_hf as script


def convert(source, output):
    script.write_model(output, source)
